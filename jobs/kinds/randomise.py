"""Random weights: a model's architecture and tokenizer with nothing learned, the floor of every analysis."""

from pydantic import Field

from microtome.jobs.kinds.job import Job, slug
from microtome.jobs.models.source import CHECKPOINT, ModelSource
from microtome.jobs.process.logs import report
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed


class RandomConfig(Config):
    """How the weights are drawn: as the architecture initialises them."""

    seed: Seed = Field(0, description="of the weights")


def randomise_job(name: str, config: RandomConfig, model: ModelSource) -> Job:
    """The job that makes the model `name` from the architecture and the tokenizer of `model`."""
    return Job(
        kind="randomise",
        slug=slug(name),
        config=config,
        inputs={"model": model.identity},
        sources={"model": model},
        needs=(model.artifact,) if model.artifact else (),
        labels={"model": name, "seed": config.seed},
        private=model.private,
        refused=model.architecture.refusal() if model.architecture else "",
    )


def randomise(job: Job, store: Store, staging: Staging) -> None:
    """Write a checkpoint that was never trained."""
    import transformers

    from microtome.jobs.models import loading
    from microtome.jobs.models.finite import check_weights

    config: RandomConfig = job.config  # type: ignore[assignment]
    source: ModelSource = job.sources["model"]
    folder = source.description(store)
    transformers.set_seed(config.seed)
    model = transformers.AutoModel.from_config(loading.load_config(folder))
    check_weights(model, "as this architecture draws them")
    model.save_pretrained(staging.path / CHECKPOINT)
    loading.load_tokenizer(folder, source.name).save_pretrained(staging.path / CHECKPOINT)
    staging.provenance.update(provenance())
    report(f"{sum(p.numel() for p in model.parameters())} random parameters")
