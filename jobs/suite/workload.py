"""What a job of a plan gives a model to do: texts, operations, memory, disk. Configurations and tokenizers
are read for it, never weights, and what was counted once is remembered."""

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from microtome.jobs.data.code_version import READING, code_version
from microtome.jobs.data.corpora import read_documents
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import SPLITS
from microtome.jobs.kinds.adapt import AdaptJob
from microtome.jobs.kinds.extraction.parts import BATCH_TOKENS
from microtome.jobs.kinds.extraction.prepared import prepare
from microtome.jobs.kinds.extraction.settings import ExtractJob
from microtome.jobs.kinds.finetune import FinetuneJob
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.models.compute import (
    FROZEN_PASSES,
    TRAINING_PASSES,
    Generation,
    ModelShape,
    Texts,
    shape_of,
)
from microtome.jobs.models.source import ModelSource
from microtome.jobs.suite.disk import start_of
from microtome.jobs.suite.generation import answered, generated
from microtome.jobs.tasks.source import read_as_planned
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError, model_packages

COUNTING = (*READING, "jobs/kinds", "jobs/models", "jobs/suite")
SAMPLE = 1000  # documents of a corpus that are tokenised; of the rest the characters are counted
ADAPTER_SHARE = 0.01  # of the parameters that an adapter trains, about


@dataclass(frozen=True)
class Workload:
    """`tokens` that go through the model, a token of each epoch counted again; `flops` of all passes; `half`
    where they are in half precision; bytes of GPU memory at the peak; bytes on disk of what is made. `read`
    are the bytes of weights that are read from the GPU's memory, where that may take longest."""

    tokens: float
    flops: float
    half: bool
    memory: float
    disk: float
    read: float = 0


class Workloads:
    """Counts for the jobs of one plan; each text is tokenised once for all jobs that read it."""

    def __init__(self, jobs: Iterable[AnyJob], done: Container[str], store: Store) -> None:
        self._jobs: Mapping[str, AnyJob] = {job.id: job for job in jobs}
        self._done = done
        self._store = store
        self._counts: dict[str, Any] = {}

    def of(self, job: AnyJob, cache_bytes: int | None) -> Workload | None:
        """None where a job has no such work, or its model or its data are not here."""
        counted: dict[str, Callable[[Any, ModelSource, int | None], Workload | None]] = {
            "adapt": self._adapt,
            "finetune": self._finetune,
            "extract": self._extract,
            "generate": self._generation(generated),
            "answer": self._generation(answered),
        }
        start: ModelSource | None = job.sources.start
        if job.kind not in counted or start is None or job.refused or job.sources.absences():
            return None
        try:
            with model_packages("counting operations"):
                return counted[job.kind](job, start_of(start, self._jobs, self._done), cache_bytes)
        except MissingError:
            return None

    def _finetune(self, job: FinetuneJob, model: ModelSource, _: int | None) -> Workload:
        config, recipe = job.config, job.config.recipe
        shape = self._shape(model)
        splits = {split: self._split(job, model, split) for split in SPLITS}
        available = sum((splits[split] for split in recipe.train_on), Texts())
        texts = available.times(config.fraction / 100)
        if recipe.train_examples is not None and texts.sequences > recipe.train_examples:
            texts = texts.times(recipe.train_examples / texts.sequences)
        trained = texts.times(recipe.epochs if config.fraction else 0)
        scorings = max(1, round(recipe.epochs)) if config.fraction else 1
        scored = splits["dev"].times(scorings) + splits["test"]
        half = recipe.precision != "float32"
        flops = TRAINING_PASSES * shape.forward_flops(trained) + shape.forward_flops(scored)
        memory = shape.training_bytes(recipe.batch_size, recipe.max_length, half=half) // recipe.processes
        return Workload((trained + scored).tokens, flops, half, memory, 4 * shape.parameters)

    def _adapt(self, job: AdaptJob, model: ModelSource, _: int | None) -> Workload:
        config, shape = job.config, self._shape(model)
        length = config.tokens_per_block
        tokens = self._corpus_tokens(job, model)
        texts = Texts(tokens / length, tokens, tokens * length)
        trained = texts.times((1 - config.heldout_share) * config.epochs)
        scored = texts.times(
            config.heldout_share * (1 + max(1, round(config.epochs / config.evaluate_every)))
        )
        passes = TRAINING_PASSES if config.lora is None else FROZEN_PASSES
        flops = passes * shape.forward_flops(trained, predicts_tokens=True)
        flops += shape.forward_flops(scored, predicts_tokens=True)
        share = 1 if config.lora is None else ADAPTER_SHARE
        half = config.precision != "float32"
        memory = shape.training_bytes(
            config.batch_size, length, half=half, trained=share, predicts_tokens=True
        )
        memory //= config.processes
        return Workload((trained + scored).tokens, flops, half, memory, 4 * shape.parameters * share)

    def _extract(self, job: ExtractJob, model: ModelSource, cache_bytes: int | None) -> Workload | None:
        options, shape = job.config.extract, self._shape(model)
        key = {"data": job.inputs["data"], "settings": job.config.all_settings()}
        texts = self._counted("extraction", model, key, lambda: _extracted(job, model, self._store))
        memory = shape.extraction_bytes(
            options.batch_tokens or BATCH_TOKENS["cuda"],
            int(options.max_length or 0),
            min(options.part_megabytes * 2**20, cache_bytes or 0),
            half=options.compute != "float32",
            maps="attention" in options.keep,
        )
        flops = shape.forward_flops(texts)
        return Workload(texts.tokens, flops, options.compute != "float32", memory, cache_bytes or 0)

    def _generation(
        self, count: Callable[[Any, Path, str], Generation | None]
    ) -> Callable[[AnyJob, ModelSource, int | None], Workload | None]:
        def workload(job: AnyJob, model: ModelSource, _: int | None) -> Workload | None:
            inputs = {role: identity for role, identity in job.inputs.items() if role != "model"}
            key = {
                "generation of": model.identity,
                **inputs,
                "settings": job.config.all_settings(),
            }
            counted = self._remembered(
                key, lambda: _asdict(count(job, model.description(self._store), model.name))
            )
            if counted is None:
                return None
            texts = {name: Texts(**counted[name]) for name in ("prompts", "written")}
            generation, shape = Generation(**counted | texts), self._shape(model)
            tokens = (generation.prompts + generation.written).tokens
            return Workload(
                tokens,
                shape.generation_flops(generation),
                half=False,  # both load models in float32
                memory=shape.generation_bytes(generation, half=False),
                disk=0,
                read=shape.generation_reads(generation, half=False),
            )

        return workload

    def _shape(self, model: ModelSource) -> ModelShape:
        values = self._remembered(
            {"shape of": model.identity}, lambda: asdict(shape_of(model.description(self._store)))
        )
        return ModelShape(**values)

    def _split(self, job: FinetuneJob, model: ModelSource, split: str) -> Texts:
        recipe = job.config.recipe
        key = {"data": job.inputs[split], "length": recipe.max_length, "stride": recipe.stride}
        return self._counted("split", model, key, lambda: _fine_tuned(job, model, split, self._store))

    def _corpus_tokens(self, job: AdaptJob, model: ModelSource) -> float:
        what = {"corpus": job.inputs["corpus"], "model": model.identity}
        return float(self._remembered(what, lambda: _corpus_tokens(job, model, self._store)))

    def _counted(
        self, what: str, model: ModelSource, key: Mapping[str, Any], count: Callable[[], Texts]
    ) -> Texts:
        key = {"texts of": what, "model": model.identity, **key}
        return Texts(**self._remembered(key, lambda: asdict(count())))

    def _remembered(self, key: Mapping[str, Any], count: Callable[[], Any]) -> Any:
        """What was counted, from the store where it was counted before by the same code."""
        what = {**key, "code": code_version(COUNTING)}
        name = json.dumps(what, sort_keys=True, default=str, allow_nan=False)
        if name not in self._counts:
            text = self._store.digests.recall(what)
            if text is None:
                text = json.dumps(count(), allow_nan=False)
                self._store.digests.remember(what, text)
            self._counts[name] = json.loads(text)
        return self._counts[name]


def _asdict(generation: Generation | None) -> dict[str, Any] | None:
    return None if generation is None else asdict(generation)


def _texts(lengths: Iterable[int]) -> Texts:
    sizes = list(lengths)
    return Texts(len(sizes), sum(sizes), sum(size * size for size in sizes))


def _extracted(job: ExtractJob, model: ModelSource, store: Store) -> Texts:
    encodings = prepare(job, model.description(store), model.name).encodings
    return _texts(length for encoding in encodings for length in encoding.sequences)


def _fine_tuned(job: FinetuneJob, model: ModelSource, split: str, store: Store) -> Texts:
    recipe = job.config.recipe
    encoder = Encoder(_tokenizer(model.description(store), model.name), max_length=recipe.max_length)
    examples = read_as_planned(job.sources.data, split, job.inputs[split])
    encoder.encode_words(examples)
    if recipe.stride is None:
        return _texts(len(encoder.encode(example).input_ids) for example in examples)
    windows = (w for example in examples for w in encoder.windows(example, recipe.stride))
    return _texts(len(window.input_ids) for window in windows)


def _corpus_tokens(job: AdaptJob, model: ModelSource, store: Store) -> float:
    """The first documents are tokenised, and the characters of all of them counted."""
    tokenizer = _tokenizer(model.description(store), model.name)
    spec = job.sources.corpus.spec
    sample = list(islice(read_documents(spec), SAMPLE))
    tokens = sum(
        len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in sample
    )
    characters = sum(map(len, read_documents(spec)))
    return tokens * characters / max(1, sum(map(len, sample)))


def _tokenizer(folder: Path, name: str) -> Any:
    from microtome.jobs.models import loading

    return loading.load_tokenizer(folder, name)
