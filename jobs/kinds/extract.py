"""Extraction: a checkpoint and a split give an activation cache."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from microtome.jobs.data.encoding import Encoder, Encoding
from microtome.jobs.data.examples import Example, Split, document_numbers
from microtome.jobs.data.fractions import sample
from microtome.jobs.kinds.job import Job, Sources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning, Step
from microtome.jobs.models.architecture import Architecture, architecture_of
from microtome.jobs.models.sites import site_layouts
from microtome.jobs.models.source import ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.source import TaskData, read_as_planned
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Staging, Store
from microtome.store.cache.attention_topk import LONGEST
from microtome.store.cache.description import CacheDescription, CachedSplit
from microtome.store.cache.examples import Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import COMPRESSIONS
from microtome.store.cache.layout import SITES, Layout
from microtome.store.cache.token_rows import TOKENS, TokenRows, token_rows, tokens_refusal
from microtome.store.cache.writer import BUFFERS, CacheWriter
from microtome.store.config import Config, Layer, OneOf, Seed, runtime
from microtome.store.errors import DtypeOverflowError, InputError
from microtome.store.files.checksums import FileRecord

Keep = Literal[
    "hidden", "attention", "query", "key", "value", "head_output", "attention_output", "mlp_output"
]
Tokens = Literal["all", "words", "first_subwords", "last_subwords", "labelled", "mean", "cls", "last"]

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # small batches stay in a processor's caches

WIDER = "bfloat16"  # dtype on disk that has the range of float32 in the size of float16
BEYOND_FLOAT16 = "beyond-float16"  # a file in the folder of those who write a cache

MIN_BATCH_TOKENS = 64  # of a forward pass, when memory runs out


class ExtractConfig(Config):
    """What a cache holds."""

    keep: tuple[Keep, ...] = Field(
        ("hidden", "attention"),
        min_length=1,
        json_schema_extra={"any_order": True},
        description="what to keep of each layer: hidden states, attentions, and sites in a block by name",
    )
    tokens: Tokens = Field(
        "all",
        description="what to keep hidden states and sites of: "
        + "; ".join(f"{name}: {about}" for name, about in TOKENS.items()),
    )
    hidden_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="hidden layers, 0 the embeddings; all if unset",
    )
    attention_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="attention layers from 0; all if unset",
    )
    attention_topk: int | None = Field(
        None,
        ge=1,
        description="of each row of attention keep so many of the largest weights and where they are; whole "
        "rows if unset. The log says how much of the rows that is",
    )
    site_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="blocks to keep sites of, from 0; all if unset",
    )
    examples: int | None = Field(
        None, ge=1, description="at most so many examples, a seeded sample; all if unset"
    )
    sample_seed: Seed = Field(0, description="of the sample")
    segments: Literal["together", "separate"] = Field(
        "together", description="encode the texts of a pair in one sequence or each on its own"
    )
    max_length: int | None = Field(None, ge=8, description="tokens per sequence; the task's own if unset")
    dtype: Literal["float16", "bfloat16", "float32", "int8"] = Field(
        "float16",
        description="on disk; values beyond float16 lead to bfloat16 by themselves. int8 has a scale for "
        "each row, and the log says how large its errors are",
    )
    compute: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32", description="dtype of weights and activations; auto: what the checkpoint is published in"
    )
    # A reader returns the same arrays whatever the next three are, so a cache in another form is found.
    format: Annotated[str, OneOf("part format", PART_FORMATS.keys)] = runtime("zarr", "of the parts")
    compression: Annotated[str, OneOf("compression", lambda: COMPRESSIONS)] = runtime(
        "none", "lz4 saves about a tenth, zstd a fifth; both lossless, both cost time"
    )
    part_megabytes: int = runtime(256, "size of a part, the unit of memory and of resuming", ge=1)
    batch_tokens: int | None = runtime(
        None, "tokens per forward pass with padding; if unset, what suits the device", ge=16
    )

    @model_validator(mode="after")
    def _layers_are_kept(self) -> "ExtractConfig":
        for what in ("hidden", "attention"):
            if what not in self.keep and getattr(self, f"{what}_layers") is not None:
                raise ValueError(f"{what}_layers has no effect, as keep leaves out {what}")
        sites = set(SITES) & set(self.keep)
        if self.site_layers is not None and not sites:
            raise ValueError(f"site_layers has no effect, as keep has none of {', '.join(SITES)}")
        if self.attention_topk is not None and "attention" not in self.keep:
            raise ValueError("attention_topk has no effect, as keep leaves out attention")
        if self.tokens != "all" and set(self.keep) == {"attention"}:
            raise ValueError("tokens has no effect, as attentions are kept of all tokens")
        return self


class View(Step):
    """One cut of every checkpoint: which splits, and what is kept of them."""

    splits: dict[Split, Annotated[int, Field(ge=1)] | None] = Field(
        min_length=1, description="split -> at most so many examples, a seeded sample"
    )
    options: ExtractConfig = ExtractConfig()

    @model_validator(mode="after")
    def _sizes_have_effect(self) -> "View":
        whole = any(size is None for size in self.splits.values())
        if self.options.examples is not None and not whole:
            raise ValueError("options.examples has no effect, as splits give every size")
        if self.options.sample_seed and whole and self.options.examples is None:
            raise ValueError("options.sample_seed has no effect on a split that is taken whole")
        return self


class SplitConfig(Config):
    """An ExtractConfig applied to one split of one task."""

    type: str
    labels: tuple[str, ...]
    split: str
    extract: ExtractConfig


@dataclass(frozen=True)
class ExtractSources(Sources):
    """The checkpoint and the data of the task."""

    checkpoint: ModelSource
    data: TaskData

    @property
    def start(self) -> ModelSource:
        return self.checkpoint


ExtractJob = Job[SplitConfig, ExtractSources]


def extract_job(
    task: Task,
    data: TaskData,
    checkpoint: ModelSource,
    split: str,
    config: ExtractConfig,
    labels: Mapping[str, Any],
) -> ExtractJob:
    """The job that caches what `checkpoint` does with a split. `labels` say which model this is of."""
    segments = config.segments if task.kind.texts == 2 else "together"
    if segments == "separate" and "attention" in config.keep:
        raise InputError("segments: separate keeps hidden states only; attentions are compared on pairs")
    unfit = _tokens_refusal(task, config.tokens, segments)
    if unfit:
        raise InputError(f"task {task.name}: {unfit}")
    settled = config.model_copy(
        update={
            "segments": segments,
            "keep": tuple(sorted(config.keep)),
            "max_length": config.max_length or task.recipe.max_length,
            "compute": _computed_in(config, checkpoint),
            "sample_seed": config.sample_seed if config.examples is not None else 0,  # there is no sample
        }
    )
    model = checkpoint.architecture
    parts = (
        "+".join(settled.keep),
        "separate" if segments == "separate" else "",
        settled.tokens if settled.tokens != "all" else "",
        f"top{settled.attention_topk}" if settled.attention_topk else "",
    )
    view = ".".join(filter(None, parts))
    return KIND.job(
        f"{slug(checkpoint.name)}.{task.name}.{split}.{view}",
        SplitConfig(type=task.type, labels=task.labels, split=split, extract=settled),
        ExtractSources(checkpoint, data),
        inputs={"checkpoint": checkpoint.identity, "data": data.digest(split)},
        needs=(checkpoint.artifact,) if checkpoint.artifact else (),
        labels={**labels, "task": task.name},
        private=task.credentialed or checkpoint.private,
        refused=_refusal(settled, model) if model else "",
    )


def _refusal(settled: ExtractConfig, model: Architecture) -> str:
    """Why this cannot be kept of a model; empty where it can."""
    length = int(settled.max_length or 0)
    if settled.attention_topk is not None and model.sinks:
        return (
            f"attention_topk does not fit {model.kind} models, whose attention sinks take an unknown share "
            "of what is left of a row"
        )
    if settled.attention_topk is not None and length > LONGEST:
        return f"attention_topk fits sequences of at most {LONGEST:,} tokens, and max_length is {length:,}"
    return model.refusal(keep=settled.keep, length=length)


def _tokens_refusal(task: Task, tokens: str, segments: str) -> str:
    """Why `tokens` cannot be kept of a task; empty where it can."""
    if segments == "separate" and tokens == "mean" and task.kind.unit == "text":
        return "tokens: mean does not fit segments: separate, where a text is in two sequences"
    return tokens_refusal(tokens, task.kind.unit)


def _computed_in(config: ExtractConfig, checkpoint: ModelSource) -> str:
    """The dtype that a pass computes in. An identity must not depend on a machine, so `auto` looks at what
    the checkpoint says of itself, and not at what this machine computes fast. What was trained here is in
    float32, whatever its base was published in."""
    if config.compute != "auto":
        return config.compute
    made_here = checkpoint.artifact is not None or checkpoint.architecture is None
    return "float32" if made_here or checkpoint.architecture is None else checkpoint.architecture.dtype


def plan(planning: Planning) -> None:
    """Every view of every checkpoint."""
    for checkpoint in planning.checkpoints:
        data = planning.finder.data(checkpoint.task)
        for name, view in planning.suite.named_steps(View).items():
            for split, size in view.splits.items():
                options = view.options
                if size is not None:
                    options = options.model_copy(update={"examples": size})
                job = extract_job(checkpoint.task, data, checkpoint.model, split, options, checkpoint.labels)
                checkpoint.caches[name, split] = planning.add(job).id


@dataclass(frozen=True)
class Prepared:
    """What a cache will hold, known before the first forward pass."""

    encodings: Sequence[Encoding]
    table: Examples
    layout: Layout
    rows: TokenRows | None  # what is kept of the tokens; None where all are
    tokenizer: Any
    sinks: bool  # whether rows of attention sum to less than one

    def bytes(self) -> int:
        """What the cache will take on disk, uncompressed; a few kB of headers per part aside."""
        counts = None if self.rows is None else self.rows.counts
        return int(self.layout.bytes_per_example(self.table.lengths, counts).sum()) + self.table.bytes()


def prepare(job: ExtractJob, folder: Path, name: str) -> Prepared:
    """Read and tokenise what an extraction job is to run through the model `name` in `folder`."""
    from microtome.jobs.models import loading

    config, options = job.config, job.config.extract
    task_type = TASK_TYPES[config.type]
    max_length = int(options.max_length or 0)
    model_config = loading.load_config(folder)
    loading.check_usable(model_config, max_length, options.keep)
    tokenizer = loading.load_tokenizer(folder, name)
    rows = read_as_planned(job.sources.data, config.split, job.inputs["data"])
    kept_rows = sample(len(rows), options.examples, options.sample_seed)
    examples = [rows[index] for index in kept_rows]
    encoder = Encoder(tokenizer, max_length=max_length)
    encode = encoder.encode_separately if options.segments == "separate" else encoder.encode
    encodings = [encode(example) for example in examples]
    labels = task_type.cached_labels(examples, task_type.classes(config.labels))
    documents = np.array(document_numbers(rows))[kept_rows]
    table = example_table(examples, encodings, labels, kept_rows, documents)
    return Prepared(
        encodings,
        table,
        cache_layout(model_config, options, loading.is_causal(model_config)),
        None if options.tokens == "all" else token_rows(table, options.tokens, task_type.unit),
        tokenizer,
        "attention" in options.keep and architecture_of(model_config.to_dict()).sinks,
    )


def extract(job: ExtractJob, store: Store, staging: Staging) -> None:
    """Tokenise everything, then fill and write the parts that are not there yet."""
    from microtome.jobs.models import loading

    config, options, source = job.config, job.config.extract, job.sources.checkpoint
    task, task_type = job.sources.data.task, TASK_TYPES[config.type]
    folder = source.folder(store, staging.scratch)
    prepared = prepare(job, folder, source.name)
    device, use = loading.best_device(), DeviceUse()
    if prepared.sinks:
        log_progress(
            "attention sinks: a learned weight takes a share of each row, so that rows sum to less than 1"
        )
    split = CachedSplit(
        task=task.name,
        split=config.split,
        unit=task_type.unit,
        classes=tuple(task_type.classes(config.labels)),
        credentialed=task.credentialed,
        segments=options.segments,
        max_length=int(options.max_length or 0),
        truncated_words=sum(e.truncated_words for e in prepared.encodings),
        compute=options.compute,
    )
    cut = sum(encoding.mentions_cut for encoding in prepared.encodings)
    if cut:
        log_progress(f"{cut} relations have a mention beyond max_length: probes leave them out")
    written = None
    while written is None:
        layout = replace(prepared.layout, dtype=_dtype_on_disk(options, staging.scratch))
        try:
            written = _write(replace(prepared, layout=layout), split, options, folder, device, staging)
        except DtypeOverflowError as error:
            if layout.dtype != "float16":
                raise
            (staging.scratch / BEYOND_FLOAT16).touch()
            log_progress(f"{error}: the cache is written in {WIDER}, from its first part on")
        except _WrittenWider:
            log_progress(f"another process met values beyond float16: the cache is written in {WIDER}")
    if not written:
        return
    description, staging.files = written
    description.write(staging.outputs)
    staging.provenance.update(provenance(), **use.noted())


def _write(
    prepared: Prepared,
    split: CachedSplit,
    options: ExtractConfig,
    folder: Path,
    device: Any,
    staging: Staging,
) -> tuple[CacheDescription, dict[str, FileRecord]] | tuple[()]:
    """Fill and write the parts that are not there yet; what the manifest says of them, or nothing if another
    process has finished this cache."""
    from microtome.jobs.models import loading

    with CacheWriter(
        staging.path,
        staging.scratch,
        prepared.layout,
        prepared.table,
        rows=prepared.rows,
        part_format=options.format,
        compression=options.compression,
        part_bytes=options.part_megabytes << 20,
        allocate=pinned_memory if device.type == "cuda" else None,
        written=staging.send_progress,
    ) as writer:
        count, parts = len(prepared.encodings), len(writer.parts)
        log_progress(f"{count} examples in {parts} {writer.form.format} parts, {len(writer.missing())} to do")
        for others_are_done in (False, True):
            if others_are_done:
                staging.wait_for_others()  # what is missing now was claimed by a process that died
            if staging.overtaken:
                return ()
            if writer.missing():
                attentions = "attention" in options.keep
                model = loading.load_backbone(folder, device, attentions=attentions, compute=options.compute)
                compute_parts(writer, prepared.encodings, model, prepared.tokenizer, options.batch_tokens)
        return writer.finish(split)


def _dtype_on_disk(options: ExtractConfig, scratch: Path) -> str:
    """All parts of a cache have one dtype, whichever processes write them: a file in the folder that they
    share says that float16 does not do."""
    beyond = options.dtype == "float16" and (scratch / BEYOND_FLOAT16).exists()
    return WIDER if beyond else options.dtype


class _WrittenWider(Exception):
    """Another process that writes parts of the same cache met values beyond float16."""


def compute_parts(
    writer: CacheWriter, encodings: Sequence[Encoding], model: Any, tokenizer: Any, batch_tokens: int | None
) -> None:
    """Fill and write every part that nobody else does; one is written while the next is computed."""
    import torch

    from microtome.jobs.models.batching import takes_segments
    from microtome.jobs.models.forward import ForwardPass

    tokens = batch_tokens or _tokens_that_fit(writer, encodings, model)
    forward = ForwardPass(
        model,
        writer.layout,
        encodings,
        with_segments=takes_segments(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        rows=writer.rows,
    )
    for buffer in writer.claims():
        if writer.layout.dtype == "float16" and (writer.scratch / BEYOND_FLOAT16).exists():
            raise _WrittenWider
        ready = None
        while ready is None:
            try:
                ready = forward.fill(buffer, tokens)
            except torch.OutOfMemoryError:
                if tokens <= MIN_BATCH_TOKENS:
                    raise
                tokens //= 2
                torch.cuda.empty_cache()
                log_progress(f"out of memory: {tokens} tokens per forward pass from here on")
        writer.submit(buffer, ready)
        log_progress(f"part {buffer.number + 1}/{len(writer.parts)}")
    writer.wait()
    if writer.layout.dtype == "int8" and forward.errors.squares:
        log_progress(str(forward.errors))
    if forward.mass.sums:
        log_progress(str(forward.mass))


def _tokens_that_fit(writer: CacheWriter, encodings: Sequence[Encoding], model: Any) -> int:
    """Tokens per forward pass: what suits the device, or on a GPU less, if that takes more memory than is
    free beside two parts."""
    import torch

    from microtome.jobs.models.memory import fitting_tokens

    most = BATCH_TOKENS[model.device.type]
    if model.device.type == "cpu":
        return most  # so few tokens fit wherever the weights do
    free = torch.cuda.mem_get_info(model.device)[0] - BUFFERS * writer.largest_part()
    longest = max(length for encoding in encodings for length in encoding.sequences)
    tokens = fitting_tokens(model, longest, most, free)
    if tokens < most:
        log_progress(f"{tokens} tokens per forward pass, so that {longest} tokens of a text fit into memory")
    return tokens


def pinned_memory(size: int) -> np.ndarray:
    """uint8 [size] that a GPU can copy into while the program goes on."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()


def cache_layout(model_config: Any, options: ExtractConfig, causal: bool) -> Layout:
    """The shape of a model's activations, and what of it the options keep."""
    layers = model_config.num_hidden_layers
    hidden = options.hidden_layers if options.hidden_layers is not None else tuple(range(layers + 1))
    blocks = options.site_layers if options.site_layers is not None else tuple(range(layers))
    attention = options.attention_layers if options.attention_layers is not None else tuple(range(layers))
    return Layout(
        layers=layers,
        heads=model_config.num_attention_heads if "attention" in options.keep else 0,
        dim=model_config.hidden_size,
        causal=causal,
        dtype=options.dtype,
        hidden_layers=hidden if "hidden" in options.keep else (),
        attention_layers=attention if "attention" in options.keep else (),
        tokens=options.tokens,
        attention_topk=options.attention_topk if "attention" in options.keep else None,
        sites=site_layouts(model_config, options.keep, blocks),
    )


def example_table(
    examples: Sequence[Example],
    encodings: Sequence[Encoding],
    labels: np.ndarray,
    rows: Sequence[int],
    documents: np.ndarray,
) -> Examples:
    """What the cache says of its examples: tokens, alignment, labels, their `rows` in the split, and the
    document of each (see document_numbers)."""

    def flat(name: str, dtype: type) -> np.ndarray:
        return np.fromiter(itertools.chain.from_iterable(getattr(e, name) for e in encodings), dtype)

    def offsets(sizes: list[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    return Examples(
        offsets=offsets([len(e.input_ids) for e in encodings]),
        input_ids=flat("input_ids", np.int32),
        word_ids=flat("word_ids", np.int32),
        segment_ids=flat("segment_ids", np.int8),
        special_mask=flat("special_mask", np.bool_),
        word_offsets=offsets([e.words for e in examples]),
        labels=labels,
        spans=np.array([e.spans or ((0, 0), (0, 0)) for e in examples], np.int32).reshape(-1, 2, 2),
        rows=np.array(rows, np.int64),
        documents=documents.astype(np.int64),
    )


KIND = Kind(
    name="extract",
    title="caching of activations",
    stage="extraction",
    version=3,
    settings=SplitConfig,
    sources=ExtractSources,
    run=extract,
    step=View,
    named_steps=True,
    plan=plan,
    needs_gpu=True,
    resumable=True,
    shared=True,
)
