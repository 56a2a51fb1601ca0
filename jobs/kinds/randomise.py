"""Random weights: a model's architecture and tokenizer with nothing learned, the floor of every analysis."""

from pydantic import Field

from microtome.jobs.kinds.job import Job, ModelSources, slug
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import Planning
from microtome.jobs.models.source import CHECKPOINT, ModelSource
from microtome.jobs.process.logs import log_progress
from microtome.jobs.process.provenance import provenance
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config, Seed


class RandomConfig(Config):
    """How the weights are drawn: as the architecture initialises them."""

    seed: Seed = Field(0, description="of the weights")


RandomJob = Job[RandomConfig, ModelSources]


def randomise_job(name: str, config: RandomConfig, model: ModelSource) -> RandomJob:
    """The job that makes the model `name` from the architecture and the tokenizer of `model`."""
    return KIND.job(
        slug(name),
        config,
        ModelSources(model),
        inputs={"model": model.identity},
        needs=(model.artifact,) if model.artifact else (),
        labels={"model": name, "seed": config.seed},
        private=model.private,
        refused=model.architecture.refusal() if model.architecture else "",
    )


def plan_model(planning: Planning, name: str, source: str, config: RandomConfig) -> ModelSource:
    """Add the job that makes a model of a suite from the architecture of `source`; returns the model."""
    model = planning.model(source)
    job = planning.add(randomise_job(name, config, model))
    return ModelSource(name, job.id, artifact=job.id, private=job.private, architecture=model.architecture)


def randomise(job: RandomJob, store: Store, staging: Staging) -> None:
    """Write a checkpoint that was never trained."""
    import transformers

    from microtome.jobs.models import loading
    from microtome.jobs.models.finite import check_weights

    config, source = job.config, job.sources.model
    folder = source.description(store)
    transformers.set_seed(config.seed)
    model = transformers.AutoModel.from_config(loading.load_config(folder))
    check_weights(model, "as this architecture draws them")
    model.save_pretrained(staging.path / CHECKPOINT)
    loading.load_tokenizer(folder, source.name).save_pretrained(staging.path / CHECKPOINT)
    staging.provenance.update(provenance())
    log_progress(f"{sum(p.numel() for p in model.parameters())} random parameters")


KIND = Kind(
    name="randomise",
    title="drawing of random weights",
    stage="training",
    version=1,
    settings=RandomConfig,
    sources=ModelSources,
    run=randomise,
)
