"""Adaptation: a language model goes on training on a corpus, or starts from nothing; gives a checkpoint."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from jobs.data.corpora import CorpusSpec, corpus_digest, read_corpus
from jobs.job import Job, slug
from jobs.logs import report
from jobs.models.source import CHECKPOINT, ModelSource
from jobs.provenance import provenance
from store.artifacts import Staging, Store
from store.config import Config, runtime
from store.errors import InputError
from store.results import write_rows


class NewModel(Config):
    """A small model from nothing, with a tokenizer trained on the corpus."""

    architecture: Literal["bert", "gpt2", "biogpt"]
    vocabulary: int = Field(1200, ge=100)
    dim: int = Field(64, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    max_length: int = Field(128, ge=16)


class AdaptConfig(Config):
    """What is trained on what."""

    objective: Literal["mlm", "clm"] = Field(description="masked or causal language modelling")
    base: str | None = Field(None, description="model to start from")
    new: NewModel | None = Field(None, description="or a model from nothing")
    corpus: CorpusSpec = runtime(..., "where the text comes from; its documents are the identity")
    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(16, ge=1)
    warmup: float = Field(0.0, ge=0, le=1, description="share of the steps with rising learning rate")
    block_size: int = Field(128, ge=16, description="tokens per block")
    mask_share: float = Field(0.15, gt=0, lt=1, description="of the tokens, for mlm")
    heldout_share: float = Field(0.1, gt=0, lt=1, description="of the documents, never trained on")
    seed: int = Field(1, ge=0)


def adapt_job(name: str, config: AdaptConfig, base: ModelSource | None) -> Job:
    """The job that makes the model `name`."""
    if (base is None) == (config.new is None):
        raise InputError(f"model '{name}': adapt needs either a base model or a new one")
    documents = read_corpus(config.corpus)
    inputs = {"corpus": corpus_digest(documents)}
    if base is not None:
        inputs["model"] = base.identity
    return Job(
        kind="adapt",
        slug=slug(name),
        config=config.model_copy(update={"base": None}),
        inputs=inputs,
        sources={"base": base, "corpus": config.corpus},
        needs=(base.artifact,) if base is not None and base.artifact else (),
        labels={"model": name, "seed": config.seed},
    )


def adapt(job: Job, store: Store, staging: Staging) -> None:
    """Train on the corpus without its held-out documents; score those before and after."""
    import transformers

    from jobs.models import language, loading, scratch, training

    config: AdaptConfig = job.config  # type: ignore[assignment]
    base: ModelSource | None = job.sources["base"]
    documents = read_corpus(job.sources["corpus"])
    if corpus_digest(documents) != job.inputs["corpus"]:
        raise InputError("the corpus has changed since the plan; plan again")
    heldout, training_documents = _split(documents, config.heldout_share, config.seed)

    if config.new is not None:
        folder = staging.scratch / "new"
        sizes = config.new.model_dump(exclude={"architecture"})
        scratch.create(config.new.architecture, training_documents, folder, seed=config.seed, **sizes)
    else:
        assert base is not None
        folder = base.folder(store)
    loading.check_length(loading.load_config(folder), config.block_size, "block_size")
    transformers.set_seed(config.seed)
    tokenizer = loading.load_tokenizer(folder, base.name if base else "")
    model = loading.load_language_model(folder, language.AUTO[config.objective], tokenizer.pad_token_id)
    causal = config.objective == "clm"
    rng = np.random.default_rng(config.seed)
    kept_out = language.blocks(tokenizer, heldout, config.block_size)
    asked = [(b, b) if causal else language.masked(b, tokenizer, config.mask_share, rng) for b in kept_out]

    def evaluate() -> dict[str, float]:
        return language.evaluate(model, asked, causal=causal, pad_token_id=tokenizer.pad_token_id)

    before = evaluate()
    report(f"before: perplexity {before['perplexity']:.2f} on {len(heldout)} held-out documents")
    features = [{"input_ids": b} for b in language.blocks(tokenizer, training_documents, config.block_size)]
    schedule = training.Schedule(
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        batch_size=config.batch_size,
        warmup=config.warmup,
        weight_decay=0.01,
        metric="loss",
        keep_last=True,
        seed=config.seed,
    )
    collator: Any = (
        language.CausalCollator(tokenizer.pad_token_id)
        if causal
        else language.MaskingCollator(tokenizer, config.mask_share)
    )
    history = training.train(
        model, features, collator, evaluate, schedule, staging.scratch / "trainer", report
    )
    after = evaluate()
    write_rows(
        staging.path,
        [
            {"split": "heldout", "stage": stage, "metric": name, "value": value, "n": len(heldout)}
            for stage, scores in (("before", before), ("after", after))
            for name, value in scores.items()
        ],
    )
    model.save_pretrained(staging.path / CHECKPOINT)
    tokenizer.save_pretrained(staging.path / CHECKPOINT)
    staging.outputs.update(blocks=len(features), history=history)
    staging.provenance.update(provenance())
    report(f"after: perplexity {after['perplexity']:.2f}")


def _split(documents: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """(held-out, training) documents, each in their order."""
    order = np.random.default_rng(seed).permutation(len(documents))
    kept_out = set(order[: max(1, round(share * len(documents)))].tolist())
    heldout = [document for i, document in enumerate(documents) if i in kept_out]
    return heldout, [document for i, document in enumerate(documents) if i not in kept_out]
