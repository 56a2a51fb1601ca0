"""Extraction: a checkpoint and a split give an activation cache."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from microtome.jobs.data.encoding import Encoder, Encoding
from microtome.jobs.data.examples import Example
from microtome.jobs.data.fractions import sample
from microtome.jobs.data.source import TaskData, read_as_planned
from microtome.jobs.kinds.job import Job, slug
from microtome.jobs.models.source import ModelSource
from microtome.jobs.run.logs import report
from microtome.jobs.run.provenance import provenance
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.artifacts.store import Staging, Store
from microtome.store.cache.examples import Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import COMPRESSIONS
from microtome.store.cache.layout import Layout
from microtome.store.cache.writer import CacheWriter, PartBuffer
from microtome.store.config import Config, Layer, OneOf, Seed, runtime
from microtome.store.errors import InputError

Keep = Literal["hidden", "attention"]

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # small batches stay in a processor's caches

MIN_BATCH_TOKENS = 64  # of a forward pass, when memory runs out


class ExtractConfig(Config):
    """What a cache holds."""

    keep: tuple[Keep, ...] = Field(
        ("hidden", "attention"),
        min_length=1,
        json_schema_extra={"any_order": True},
        description="what to keep of each layer",
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
    examples: int | None = Field(
        None, ge=1, description="at most so many examples, a seeded sample; all if unset"
    )
    sample_seed: Seed = Field(0, description="of the sample")
    segments: Literal["together", "separate"] = Field(
        "together", description="encode the texts of a pair in one sequence or each on its own"
    )
    max_length: int | None = Field(None, ge=8, description="tokens per sequence; the task's own if unset")
    dtype: Literal["float16", "float32"] = Field("float16", description="on disk")
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
        return self


class SplitConfig(Config):
    """An ExtractConfig applied to one split of one task."""

    type: str
    labels: tuple[str, ...]
    split: str
    extract: ExtractConfig


def extract_job(
    task: Task,
    data: TaskData,
    checkpoint: ModelSource,
    split: str,
    config: ExtractConfig,
    labels: dict[str, Any],
) -> Job:
    """The job that caches what `checkpoint` does with a split. `labels` say which model this is of."""
    segments = config.segments if task.kind.texts == 2 else "together"
    if segments == "separate" and "attention" in config.keep:
        raise InputError("segments: separate keeps hidden states only; attentions are compared on pairs")
    settled = config.model_copy(
        update={
            "segments": segments,
            "keep": tuple(sorted(config.keep)),
            "max_length": config.max_length or task.recipe.max_length,
            "sample_seed": config.sample_seed if config.examples is not None else 0,  # there is no sample
        }
    )
    model = checkpoint.architecture
    view = "+".join(settled.keep) + (".separate" if segments == "separate" else "")
    return Job(
        kind="extract",
        slug=f"{slug(checkpoint.name)}.{task.name}.{split}.{view}",
        config=SplitConfig(type=task.type, labels=task.labels, split=split, extract=settled),
        inputs={"checkpoint": checkpoint.identity, "data": data.digest(split)},
        sources={"checkpoint": checkpoint, "data": data},
        needs=(checkpoint.artifact,) if checkpoint.artifact else (),
        labels={**labels, "task": task.name},
        private=task.credentialed or checkpoint.private,
        refused=model.refusal(length=int(settled.max_length or 0)) if model else "",
    )


@dataclass(frozen=True)
class Prepared:
    """What a cache will hold, known before the first forward pass."""

    encodings: Sequence[Encoding]
    table: Examples
    layout: Layout
    tokenizer: Any

    def bytes(self) -> int:
        """What the cache will take on disk, uncompressed; a few kB of headers per part aside."""
        return int(self.layout.bytes_per_example(self.table.lengths).sum()) + self.table.bytes()


def prepare(job: Job, folder: Path, name: str) -> Prepared:
    """Read and tokenise what an extraction job is to run through the model `name` in `folder`."""
    from microtome.jobs.models import loading

    config: SplitConfig = job.config  # type: ignore[assignment]
    options = config.extract
    data: TaskData = job.sources["data"]
    kind = TASK_TYPES[config.type]
    max_length = int(options.max_length or 0)
    model_config = loading.load_config(folder)
    loading.check_usable(model_config, max_length)
    tokenizer = loading.load_tokenizer(folder, name)
    rows = read_as_planned(data, config.split, job.inputs["data"])
    chosen = sample(len(rows), options.examples, options.sample_seed)
    examples = [rows[index] for index in chosen]
    encoder = Encoder(tokenizer, max_length=max_length)
    encode = encoder.encode_separately if options.segments == "separate" else encoder.encode
    encodings = [encode(example) for example in examples]
    labels = kind.cached_labels(examples, kind.classes(config.labels))
    return Prepared(
        encodings,
        example_table(examples, encodings, labels, chosen),
        cache_layout(model_config, options, loading.is_causal(model_config)),
        tokenizer,
    )


def extract(job: Job, store: Store, staging: Staging) -> None:
    """Tokenise everything, then fill and write the parts that are not there yet."""
    from microtome.jobs.models import loading

    config: SplitConfig = job.config  # type: ignore[assignment]
    options = config.extract
    source: ModelSource = job.sources["checkpoint"]
    task: Task = job.sources["data"].task
    kind = TASK_TYPES[config.type]
    folder = source.folder(store, staging.scratch)
    prepared = prepare(job, folder, source.name)
    device = loading.best_device()
    with CacheWriter(
        staging.path,
        staging.scratch,
        prepared.layout,
        prepared.table,
        part_format=options.format,
        compression=options.compression,
        part_bytes=options.part_megabytes << 20,
        allocate=pinned_memory if device.type == "cuda" else None,
    ) as writer:
        count, parts = len(prepared.encodings), len(writer.parts)
        report(f"{count} examples in {parts} {writer.form.format} parts, {len(writer.missing())} to do")
        for others_are_done in (False, True):
            if others_are_done:
                staging.alone()  # what is missing now is of another process, that died
            if staging.overtaken:
                return
            if writer.missing():
                model = loading.load_backbone(folder, device)
                compute_parts(writer, prepared.encodings, model, prepared.tokenizer, options.batch_tokens)
        described, staging.files = writer.finish()
    staging.outputs["cache"] = described | {
        "task": task.name,
        "split": config.split,
        "unit": kind.unit,
        "classes": list(kind.classes(config.labels)),
        "credentialed": task.credentialed,
        "segments": options.segments,
        "max_length": options.max_length,
        "truncated_words": sum(e.truncated_words for e in prepared.encodings),
    }
    staging.provenance.update(provenance(), device=device.type)


def compute_parts(
    writer: CacheWriter, encodings: Sequence[Encoding], model: Any, tokenizer: Any, batch_tokens: int | None
) -> None:
    """Fill and write every part that nobody else does; one is written while the next is computed."""
    import torch

    from microtome.jobs.models.batching import takes_segments
    from microtome.jobs.models.forward import fill

    tokens = batch_tokens or BATCH_TOKENS[model.device.type]

    def filled(buffer: PartBuffer) -> Callable[[], None]:
        return fill(
            buffer,
            writer.layout,
            encodings,
            model,
            with_segments=takes_segments(model, tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            batch_tokens=tokens,
        )

    for buffer in writer.claims():
        ready = None
        while ready is None:
            try:
                ready = filled(buffer)
            except torch.OutOfMemoryError:
                if tokens <= MIN_BATCH_TOKENS:
                    raise
                tokens //= 2
                torch.cuda.empty_cache()
                report(f"out of memory: {tokens} tokens per forward pass from here on")
        writer.submit(buffer, ready)
        report(f"part {buffer.number + 1}/{len(writer.parts)}")
    writer.wait()


def pinned_memory(size: int) -> np.ndarray:
    """uint8 [size] that a GPU can copy into while the program goes on."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()


def cache_layout(model_config: Any, options: ExtractConfig, causal: bool) -> Layout:
    """The shape of a model's activations, and what of it the options keep."""
    layers = model_config.num_hidden_layers
    hidden = options.hidden_layers if options.hidden_layers is not None else tuple(range(layers + 1))
    attention = options.attention_layers if options.attention_layers is not None else tuple(range(layers))
    return Layout(
        layers=layers,
        heads=model_config.num_attention_heads,
        dim=model_config.hidden_size,
        causal=causal,
        dtype=options.dtype,
        hidden_layers=hidden if "hidden" in options.keep else (),
        attention_layers=attention if "attention" in options.keep else (),
    )


def example_table(
    examples: Sequence[Example], encodings: Sequence[Encoding], labels: np.ndarray, chosen: Sequence[int]
) -> Examples:
    """What the cache says of its examples: tokens, alignment, labels."""

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
        rows=np.array(chosen, np.int64),
    )
