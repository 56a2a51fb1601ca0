"""How many bytes the caches of a plan will take: everything is tokenised, nothing is guessed."""

from collections.abc import Container, Mapping

from microtome.jobs.kinds.extract import SplitConfig, prepare
from microtome.jobs.kinds.job import Job
from microtome.jobs.models.source import ModelSource
from microtome.jobs.suite.plan import Plan
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError, model_packages


def cache_bytes(plan: Plan, store: Store) -> dict[str, int | None]:
    """id of each extraction -> bytes of its cache, uncompressed; None where the model, the data, or the
    packages that tokenise are not here.

    A checkpoint that is not trained yet has the tokenizer and the shape of the model it starts from.
    """
    jobs = {job.id: job for job in plan.jobs}
    done = plan.done(store)
    known: dict[tuple[str, str, str], int | None] = {}
    found: dict[str, int | None] = {}
    for job in plan.jobs:
        if job.kind != "extract":
            continue
        if job.refused:
            found[job.id] = None
            continue
        model = _origin(job.sources["checkpoint"], jobs, done)
        config: SplitConfig = job.config  # type: ignore[assignment]
        key = model.identity, job.inputs["data"], config.model_dump_json()
        if key not in known:
            known[key] = _bytes(job, model, store)
        found[job.id] = known[key]
    return found


def _origin(model: ModelSource, jobs: Mapping[str, Job], done: Container[str]) -> ModelSource:
    """The model that a checkpoint which is not in the store yet will be made from; else the model itself."""
    while model.artifact is not None and model.artifact in jobs:
        maker = jobs[model.artifact]
        if maker.id in done:
            break
        start = maker.sources.get("model") or maker.sources.get("base")
        if start is None:
            return model
        model = start
    return model


def _bytes(job: Job, model: ModelSource, store: Store) -> int | None:
    try:
        with model_packages("tokenising"):
            return prepare(job, model.description(store), model.name).bytes()
    except MissingError:
        return None
