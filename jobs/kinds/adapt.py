"""Adaptation: a language model goes on training on a corpus, or starts from nothing; gives a checkpoint."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from microtome.jobs.data.corpora import (
    Corpus,
    CorpusSpec,
    corpus_identity,
    find_corpus,
    is_held_out,
    read_documents,
)
from microtome.jobs.data.packing import pack
from microtome.jobs.kinds.job import Job, Sources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning
from microtome.jobs.kinds.records import AdaptRecord
from microtome.jobs.models.adapter import AdapterDescription
from microtome.jobs.models.architecture import Architecture
from microtome.jobs.models.lora import Lora
from microtome.jobs.models.source import CHECKPOINT, ModelSource
from microtome.jobs.process.device_use import DeviceUse
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.jobs.process.tracking import reporting
from microtome.jobs.training_settings import BatchSize, LearningRate, TrainingSettings, WeightDecay
from microtome.store.artifacts.digests import Digests
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed, runtime
from microtome.store.errors import InputError
from microtome.store.files.operations import folder_bytes
from microtome.store.results import write_rows

BLOCK_SIZES = {"clm": 512, "mlm": 128}
TOKENIZER_DOCUMENTS = 100_000  # that a new tokenizer is trained on


class NewModel(Config):
    """A small model from nothing, with a tokenizer trained on the corpus."""

    architecture: Literal["bert", "gpt2", "biogpt"] = Field(description="of a new model")
    vocabulary: int = Field(1200, ge=100, description="tokens of a new model, at most")
    dim: int = Field(64, ge=8, description="width of a new model's hidden states")
    layers: int = Field(4, ge=1, description="of a new model")
    heads: int = Field(4, ge=1, description="of a new model, per layer")
    max_length: int = Field(128, ge=16, description="positions of a new model")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "NewModel":
        if self.dim % self.heads:
            raise ValueError(f"{self.heads} heads cannot share a dim of {self.dim} equally")
        return self


class AdaptConfig(TrainingSettings):
    """What is trained on what."""

    objective: Literal["mlm", "clm"] = Field(description="masked or causal language modelling")
    base: str | None = runtime(None, "model to start from")
    new: NewModel | None = Field(None, description="or a model from nothing")
    lora: Lora | None = Field(None, description="train an adapter in place of all weights")
    corpus: CorpusSpec = runtime(..., "where the text comes from; its documents are the identity")
    learning_rate: LearningRate = 5e-5
    batch_size: BatchSize = 16
    weight_decay: WeightDecay = 0.01
    block_size: int | None = Field(
        None, ge=16, description="tokens per block; 512 for clm and 128 for mlm if unset"
    )
    join: bool = Field(False, description="let blocks run on from one document into the next")
    mask_share: float = Field(0.15, gt=0, lt=1, description="of the tokens, for mlm")
    heldout_share: float = Field(0.1, gt=0, lt=1, description="of the documents, never trained on")
    evaluate_every: int = Field(1, ge=1, description="epochs between scores on the held-out documents")
    seed: Seed = Field(1, description="of the held-out documents, masks, order and new weights")

    @model_validator(mode="after")
    def _consistent(self) -> "AdaptConfig":
        if self.new is not None and self.lora is not None:
            raise ValueError("an adapter needs a base model; a new one is trained whole")
        if self.lora is not None and self.processes > 1:
            raise ValueError(
                "processes is for training all weights; an adapter is trained by one (processes: 1)"
            )
        if self.objective == "clm" and self.mask_share != type(self).model_fields["mask_share"].default:
            raise ValueError("mask_share has no effect on objective: clm, which masks nothing")
        return self

    def settled(self) -> Self:
        """The usual size of blocks is the same, given or not."""
        usual = self.block_size == BLOCK_SIZES[self.objective]
        return self.model_copy(update={"block_size": None}) if usual else self

    @property
    def tokens_per_block(self) -> int:
        return self.block_size or BLOCK_SIZES[self.objective]


@dataclass(frozen=True)
class AdaptSources(Sources):
    """The model to start from, if there is one, and the text."""

    base: ModelSource | None
    corpus: Corpus

    @property
    def start(self) -> ModelSource | None:
        return self.base


AdaptJob = Job[AdaptConfig, AdaptSources]


def adapt_job(
    name: str,
    config: AdaptConfig,
    base: ModelSource | None,
    corpus: Corpus | None = None,
    *,
    digests: Digests | None = None,
) -> AdaptJob:
    """The job that makes the model `name`; the corpus of `config` is looked for if it is not given, with the
    `digests` that a store remembers."""
    if (base is None) == (config.new is None):
        raise InputError(f"model '{name}': adapt needs either a base model or a new one")
    corpus = corpus or find_corpus(config.corpus, digests)
    inputs = {"corpus": corpus.identity}
    if base is not None:
        inputs["model"] = base.identity
    shape = base.architecture if base is not None else None
    start = Architecture(shape.kind, shape.positions) if shape is not None else new_architecture(config)
    return KIND.job(
        slug(name),
        config,
        AdaptSources(base, corpus),
        inputs=inputs,
        needs=(base.artifact,) if base is not None and base.artifact else (),
        labels={"model": name, "seed": config.seed},
        private=base is not None and base.private,
        refused=start.refusal(length=config.tokens_per_block, length_named="block_size") if start else "",
    )


def new_architecture(config: AdaptConfig) -> Architecture | None:
    """That of a model from nothing."""
    return Architecture(config.new.architecture, config.new.max_length) if config.new is not None else None


def plan_model(planning: Planning, name: str, config: AdaptConfig) -> ModelSource:
    """Add the job that makes a model of a suite; returns the model."""
    base = planning.model(config.base) if config.base is not None else None
    job = planning.add(adapt_job(name, config, base, planning.finder.corpus(name, config.corpus)))
    architecture = base.architecture if base is not None else new_architecture(config)
    return ModelSource(name, job.id, artifact=job.id, private=job.private, architecture=architecture)


def adapt(job: AdaptJob, store: Store, staging: Staging) -> None:
    """Train on the corpus without its held-out documents; score those before, on the way and after."""
    import transformers

    from microtome.jobs.models import language, loading, lora, quantised, sharding, training
    from microtome.jobs.models.finite import check_scores

    config, base, corpus = job.config, job.sources.base, job.sources.corpus.spec
    weights = config.lora.base if config.lora is not None else "float32"
    quantised.refuse_where_it_cannot_be(weights)
    if corpus_identity(corpus, store.digests) != job.inputs["corpus"]:
        raise InputError("the corpus has changed since the plan; plan again")
    _refuse_an_empty_side(config, corpus)
    scratch = staging.scratch
    folder = base.folder(store, scratch) if base is not None else _new_model(config, corpus, scratch)
    loading.check_length(loading.load_config(folder), config.tokens_per_block, "block_size")
    transformers.set_seed(config.seed)
    tokenizer = loading.load_tokenizer(folder, base.name if base else "")
    language.check_objective(config.objective, folder, tokenizer)
    blocks = {
        side: pack(
            _side(config, corpus, held_out),
            tokenizer,
            config.tokens_per_block,
            scratch / f"{side}.tokens",
            join=config.join,
        )
        for side, held_out in (("heldout", True), ("training", False))
    }
    auto, use = language.AUTO[config.objective], DeviceUse()
    options = quantised.loading_options(weights, config.precision)
    model, untrained = loading.load_language_model(folder, auto, tokenizer.pad_token_id, **options)
    if untrained:
        log_progress(f"this checkpoint has no trained {', '.join(untrained)}: they start from nothing")
    if config.lora is not None:
        model = lora.attach(model, config.lora, config.objective, untrained)
    if not quantised.is_quantised(model):
        model.to(loading.best_device())
    trained, parameters = lora.trainable(model)
    log_progress(
        f"{len(blocks['training'])} blocks to train on, {trained} of {parameters} parameters are trained"
    )

    rng = np.random.default_rng(config.seed)
    scored_blocks = language.questions(blocks["heldout"], config.objective, tokenizer, config.mask_share, rng)

    def evaluate() -> dict[str, float]:
        return language.evaluate(
            model, scored_blocks, config.objective, tokenizer.pad_token_id, config.precision
        )

    before = evaluate()
    check_scores(before, "before training")
    log_progress(f"before: {_in_words(before)} on {len(scored_blocks)} held-out blocks")
    collator = language.collator(config.objective, tokenizer, config.mask_share, config.seed)
    features = language.Features(blocks["training"])
    run = f"adapt {staging.request.slug}"
    with reporting(run, private=staging.request.private) as tracker:
        schedule = training.Schedule(
            settings=config,
            metric="loss",
            keep_last=True,
            seed=config.seed,
            by_length=False,
            evaluate_every=config.evaluate_every,
            report_to=tracker,
            run=run,
        )
        history = training.train(
            model,
            features,
            collator,
            evaluate,
            schedule,
            scratch / "trainer",
            log_progress,
            saved=staging.send_progress,
        )
    after = {name: value for name, value in history[-1].items() if name != "epoch"}
    write_rows(staging.path, _rows(before, history, len(scored_blocks)))
    checkpoint = staging.path / CHECKPOINT
    tokenizer.save_pretrained(checkpoint)
    if config.lora is None:
        sharding.save_model(model, checkpoint)
    else:
        lora.save_adapter(model, checkpoint)
        size = (checkpoint / "adapter_model.safetensors").stat().st_size
        AdapterDescription(base=base.name if base else "", bytes=size).write(staging.outputs)
        log_progress(f"adapter of {size} bytes; its base has {parameters - trained} parameters")
    AdaptRecord(
        blocks={side: len(packed) for side, packed in blocks.items()},
        tokens={side: packed.tokens for side, packed in blocks.items()},
        trainable_parameters=trained,
        parameters=parameters,
        checkpoint_bytes=folder_bytes(checkpoint),
        history=history,
    ).write(staging.outputs)
    staging.provenance.update(provenance(), **use.noted())
    log_progress(f"after: {_in_words(after)}")


def _new_model(config: AdaptConfig, corpus: CorpusSpec, scratch: Path) -> Path:
    """Random weights, and a tokenizer trained on what is not held out."""
    from microtome.jobs.models import tiny_models as from_nothing

    assert config.new is not None
    sizes = config.new.model_dump(exclude={"architecture"})
    documents = list(islice(_side(config, corpus, held_out=False), TOKENIZER_DOCUMENTS))
    from_nothing.create(config.new.architecture, documents, scratch / "new", seed=config.seed, **sizes)
    return scratch / "new"


def _side(config: AdaptConfig, corpus: CorpusSpec, held_out: bool) -> Iterator[str]:
    """The documents that are held out, or those that are not, in the order of the corpus."""
    for document in read_documents(corpus):
        if is_held_out(document, config.heldout_share, config.seed) == held_out:
            yield document


def _refuse_an_empty_side(config: AdaptConfig, corpus: CorpusSpec) -> None:
    """A hash decides on each document, so that of a few all may fall on one side."""
    for held_out, purpose in ((True, "held out"), (False, "left to train on")):
        if next(_side(config, corpus, held_out), None) is None:
            raise InputError(
                f"no document of the corpus is {purpose} at heldout_share {config.heldout_share:g} and seed "
                f"{config.seed}; change one of them, or give more documents"
            )


def _rows(before: dict[str, float], history: Iterable[dict[str, float]], n: int) -> list[dict[str, Any]]:
    """One row per score: before, after every scored epoch but the last, and after."""
    stages = [("before", {"epoch": 0.0, **before}), *(("during", scores) for scores in history)]
    stages[-1] = ("after", stages[-1][1])
    return [
        {"split": "heldout", "stage": stage, "epoch": scores["epoch"], "metric": name, "value": value, "n": n}
        for stage, scores in stages
        for name, value in scores.items()
        if name != "epoch"
    ]


def _in_words(scores: dict[str, float]) -> str:
    perplexity = math.exp(min(scores["loss"], 700))
    return f"perplexity {perplexity:.2f}, token accuracy {scores['token_accuracy']:.4f}"


KIND = Kind(
    name="adapt",
    title="adaptation of a language model",
    stage="training",
    version=4,
    settings=AdaptConfig,
    sources=AdaptSources,
    run=adapt,
    needs_gpu=True,
    resumable=True,
)
