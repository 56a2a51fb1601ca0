"""How many bytes the caches of a plan will take: everything is tokenised, nothing is guessed."""

from collections.abc import Container, Mapping

from microtome.jobs.data.code_version import READING, code_version
from microtome.jobs.kinds.extraction.prepared import prepare
from microtome.jobs.kinds.extraction.settings import ExtractJob
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.models.source import ModelSource
from microtome.jobs.suite.plan import Plan
from microtome.store.artifacts.store import Store
from microtome.store.errors import MissingError, model_packages

TOKENISING = (*READING, "jobs/kinds", "jobs/models", "store/cache")  # the code that decides a size


def cache_bytes(plan: Plan, store: Store) -> dict[str, int | None]:
    """id of each extraction -> bytes of its cache, uncompressed; None where it has never been computed, and
    the model, the data, or the packages that tokenise are not here.

    A checkpoint that is not trained yet has the tokenizer and the shape of the model it starts from.
    """
    jobs = {job.id: job for job in plan.jobs}
    done = plan.done(store)
    by_content: dict[tuple[str, str, str], int | None] = {}
    by_job: dict[str, int | None] = {}
    for job in plan.jobs:
        if job.kind != "extract":
            continue
        if job.refused:
            by_job[job.id] = None
            continue
        model = start_of(job.sources.start, jobs, done)
        key = model.identity, job.inputs["data"], job.config.model_dump_json()
        if key not in by_content:
            by_content[key] = _bytes(job, model, store)
        by_job[job.id] = by_content[key]
    return by_job


def start_of(model: ModelSource, jobs: Mapping[str, AnyJob], done: Container[str]) -> ModelSource:
    """The model that a checkpoint which is not in the store yet will be made from; else the model itself."""
    while model.artifact is not None and model.artifact in jobs:
        maker = jobs[model.artifact]
        if maker.id in done:
            break
        start: ModelSource | None = maker.sources.start
        if start is None:
            return model
        model = start
    return model


def _bytes(job: ExtractJob, model: ModelSource, store: Store) -> int | None:
    """Remembered by what decides it, so that a second plan tokenises nothing."""
    what = {
        "cache bytes": job.inputs["data"],
        "model": model.identity,
        "settings": job.config.all_settings(),
        "code": code_version(TOKENISING),
    }
    remembered = store.digests.recall(what)
    if remembered is not None:
        return int(remembered)
    try:
        with model_packages("tokenising"):
            size = prepare(job, model.description(store), model.name).bytes()
    except MissingError:
        return None
    store.digests.remember(what, str(size))
    return size
