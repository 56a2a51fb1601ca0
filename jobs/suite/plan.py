"""From a suite to jobs with identities, in an order in which they can run."""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from microtome.jobs.data import source as data_source
from microtome.jobs.data.corpora import Corpus, CorpusSpec, find_corpus
from microtome.jobs.data.examples import SPLITS
from microtome.jobs.data.source import TaskData, find_data
from microtome.jobs.kinds.adapt import adapt_job, new_architecture
from microtome.jobs.kinds.analyse import attention_job, probe_job, similarity_job
from microtome.jobs.kinds.answer import answer_job
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.kinds.generate import generate_job
from microtome.jobs.kinds.job import Job, slug
from microtome.jobs.kinds.randomise import RandomConfig, randomise_job
from microtome.jobs.models import source as model_source
from microtome.jobs.models.architecture import Architecture
from microtome.jobs.models.source import ModelSource, find_model
from microtome.jobs.suite.suite import Suite, View
from microtome.jobs.tasks import Task
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MissingError

UNKNOWN = "absent "  # begins the identity of what was never on this machine
Caches = dict[tuple[str, str], str]  # (view, split) -> id


@dataclass(frozen=True)
class Missing:
    """A model or a dataset that is not on this machine, why, and how to get it."""

    what: str
    name: str
    why: str
    how: str


@dataclass(frozen=True)
class Plan:
    """All jobs of a suite; a job comes after what it needs."""

    suite: Suite
    jobs: tuple[Job, ...]
    missing: tuple[Missing, ...]
    identities: Mapping[str, str]  # of what was found, for the store to remember

    def done(self, store: Store) -> set[str]:
        """The ids of the jobs whose artifacts are whole, and of artifacts that no job of the plan makes,
        such as a checkpoint that a suite starts from: they were there when it was planned."""
        made = {job.id for job in self.jobs}
        elsewhere = {need for job in self.jobs for need in job.needs if need not in made}
        whole = {
            id for id, artifact in store.find_all(job.request for job in self.jobs).items() if artifact.whole
        }
        return whole | elsewhere

    def unknown(self) -> list[str]:
        """What was never on this machine, so that the ids of the jobs that need it are not the real ones."""
        inputs = {identity for job in self.jobs for identity in job.inputs.values()}
        return sorted(i.removeprefix(UNKNOWN) for i in inputs if i.startswith(UNKNOWN))

    def wanted(self, kinds: Collection[str]) -> list[Job]:
        """The jobs of some kinds; of all kinds if none is named."""
        return [job for job in self.jobs if not kinds or job.kind in kinds]

    def blocked(self, done: Set[str], kinds: Collection[str] = (), how: str = "") -> dict[str, str]:
        """job id -> why it cannot be done: something is missing here, or is of a kind not asked for. `how` is
        the rest of the user's `suite run`, for the command that makes it."""
        reasons: dict[str, str] = {}
        by_id = {job.id: job for job in self.jobs}
        for job in self.jobs:
            if job.id in done:
                continue
            why = [job.refused] if job.refused else []
            why += [source.absent for source in job.sources.values() if getattr(source, "absent", "")]
            for need in job.needs:
                if need in reasons:
                    why.append(reasons[need])
                elif need in by_id and need not in done and kinds and by_id[need].kind not in kinds:
                    command = f"microtome suite run {self.suite.typed}{how} --only {by_id[need].kind}"
                    why.append(f"needs {by_id[need].kind} jobs that are not done; make them: {command}")
            if why:
                reasons[job.id] = why[0]
        return reasons


def make_plan(suite: Suite, store: Store) -> Plan:
    """Find every model and dataset, and name every job. Nothing is loaded, nothing is written.

    What is not on this machine is planned with the identity that the store remembers of it, so that
    results can be read where the model and the data are not.
    """
    finder = _Finder(store)
    jobs: dict[str, Job] = {}
    models = _models(suite, finder, jobs)
    for name in suite.tasks:
        task = suite.task(name)
        data = finder.data(task)
        started: dict[str, Caches] = {}
        for model in models.values():
            started[model.name] = _study(suite, task, data, model, jobs)
            base = suite.models[model.name].adapt
            if base is not None and base.base in started:
                labels = {"task": task.name, "model": model.name, "fraction": 0}
                start = f"{task.name}.{slug(model.name)}.f000"
                _comparisons(suite, start, started[base.base], started[model.name], labels, jobs)
    _language(suite, models, finder, jobs)
    _refuse_idle_steps(suite, {job.kind for job in jobs.values()})
    missing = (*finder.missing, *_refused(jobs.values()))
    return Plan(suite, tuple(jobs.values()), missing, finder.identities)


def _refused(jobs: Iterable[Job]) -> list[Missing]:
    """What no job can do with a model of the suite, once for each model and reason."""
    reasons = dict.fromkeys((str(job.labels["model"]), job.refused) for job in jobs if job.refused)
    return [Missing("model", model, why, "change that, or leave the model out") for model, why in reasons]


def _refuse_idle_steps(suite: Suite, planned: Set[str]) -> None:
    """InputError for steps that are asked for and compare or ask nothing."""
    for kind in ("probe", "attention", "similarity"):
        if getattr(suite, kind) and kind not in planned:
            raise InputError(
                f"suite '{suite.name}': {kind} plans no job, as no model is fine-tuned on a fraction above "
                f"0 and none is adapted from another. Leave it out (--set {kind}=[])"
            )


def _models(suite: Suite, finder: "_Finder", jobs: dict[str, Job]) -> dict[str, ModelSource]:
    models: dict[str, ModelSource] = {}
    for name, spec in suite.models.items():
        shape: Architecture | None
        if spec.adapt is not None:
            start = spec.adapt.base
            base = None if start is None else models.get(start) or finder.model(start)
            corpus = finder.corpus(name, spec.adapt.corpus)
            job = adapt_job(name, spec.adapt, base, corpus)
            shape = base.architecture if base is not None else new_architecture(spec.adapt)
        elif spec.weights == "random":
            start = spec.source or name
            model = models.get(start) or finder.model(start)
            job = randomise_job(name, RandomConfig(seed=spec.seed), model)
            shape = model.architecture
        else:
            models[name] = replace(finder.model(spec.source or name), name=name)
            continue
        job = _add(jobs, job)
        models[name] = ModelSource(name, job.id, artifact=job.id, private=job.private, architecture=shape)
    return models


def _language(
    suite: Suite, models: Mapping[str, ModelSource], finder: "_Finder", jobs: dict[str, Job]
) -> None:
    """What is asked of the models as they are, without a head."""
    for step in suite.generate:
        for name in step.models or models:
            _add(jobs, generate_job(models[name], step.options, step.prompts))
    for question in suite.answer:
        task = suite.task(question.task)
        data = finder.data(task)
        for name in question.models or models:
            _add(jobs, answer_job(task, data, models[name], question.options))


def _study(suite: Suite, task: Task, data: TaskData, model: ModelSource, jobs: dict[str, Job]) -> Caches:
    """Every job of one model on one task; returns the caches of the model as it is."""
    before = _caches(suite.extract, task, data, model, {"model": model.name, "fraction": 0}, jobs)
    start = f"{task.name}.{slug(model.name)}.f000"
    labels: dict[str, Any] = {"task": task.name, "model": model.name, "fraction": 0}
    _probes(suite, start, before, labels, jobs)
    own = suite.models[model.name].fractions
    for seed in suite.seeds:
        for fraction in suite.fractions if own is None else own:
            job = _add(jobs, finetune_job(task, data, model, fraction, seed, task.recipe))
            if fraction == 0:
                continue
            labels = dict(job.labels)
            checkpoint = ModelSource(
                f"{slug(model.name)}.f{fraction:03g}.s{seed}",
                job.id,
                artifact=job.id,
                private=job.private,
                architecture=model.architecture,
            )
            after = _caches(suite.extract, task, data, checkpoint, labels, jobs)
            _probes(suite, job.slug, after, labels, jobs)
            _comparisons(suite, job.slug, before, after, labels, jobs)
    return before


def _caches(
    views: Mapping[str, View],
    task: Task,
    data: TaskData,
    checkpoint: ModelSource,
    labels: dict[str, Any],
    jobs: dict[str, Job],
) -> Caches:
    """(view, split) -> id of the cache."""
    found: Caches = {}
    for name, view in views.items():
        for split, size in view.splits.items():
            options = view.options if size is None else view.options.model_copy(update={"examples": size})
            found[name, split] = _add(jobs, extract_job(task, data, checkpoint, split, options, labels)).id
    return found


def _probes(suite: Suite, start: str, caches: Caches, labels: dict[str, Any], jobs: dict[str, Job]) -> None:
    for step in suite.probe:
        if step.tasks and labels["task"] not in step.tasks:
            continue
        train, test = caches[step.view, step.train], caches[step.view, step.test]
        dev = caches[step.view, step.dev] if step.dev else None
        _add(jobs, probe_job(f"{start}.{step.options.probe}", train, test, dev, step.options, labels))


def _comparisons(
    suite: Suite,
    start: str,
    before: Caches,
    after: Caches,
    labels: dict[str, Any],
    jobs: dict[str, Job],
) -> None:
    for step in suite.attention:
        key = step.view, step.split
        _add(jobs, attention_job(start, before[key], after[key], step.options, labels))
    for comparison in suite.similarity:
        key = comparison.view, comparison.split
        _add(jobs, similarity_job(start, before[key], after[key], comparison.options, labels))


def _add(jobs: dict[str, Job], job: Job) -> Job:
    return jobs.setdefault(job.id, job)


class _Finder:
    """Finds models and data, falls back on remembered identities, and notes what is missing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered = store.remembered()
        self.missing: list[Missing] = []
        self.identities: dict[str, str] = {}

    def model(self, reference: str) -> ModelSource:
        try:
            found = find_model(reference, self._store)
        except MissingError as error:
            self._note("model", model_source.hub_name(reference), error, model_source.how_to_get(reference))
            identity = self._identity(f"model:{reference}")
            return ModelSource(reference, identity, absent=str(error))
        if found.artifact is None:
            self.identities[f"model:{reference}"] = found.identity
        return found

    def data(self, task: Task) -> TaskData:
        keys = {split: f"data:{task.name}:{split}" for split in SPLITS}
        try:
            found = find_data(task, self._store.digests)
        except MissingError as error:
            self._note("dataset", task.name, error, data_source.how_to_get(task))
            known = {split: self._identity(key) for split, key in keys.items()}
            return TaskData(task, task.data, {}, "remembered", absent=str(error), known=known)
        self.identities.update({key: found.digest(split) for split, key in keys.items()})
        return found

    def corpus(self, model: str, spec: CorpusSpec) -> Corpus:
        key = f"corpus:{model}"
        try:
            found = find_corpus(spec, self._store.digests)
        except MissingError as error:
            self._note("corpus", model, error, spec.how_to_get())
            return Corpus(spec, self._identity(key), absent=str(error))
        self.identities[key] = found.identity
        return found

    def _identity(self, key: str) -> str:
        return self._remembered.get(key, UNKNOWN + key)

    def _note(self, what: str, name: str, error: MissingError, how: str) -> None:
        why = str(error).removesuffix(how).rstrip(". ")
        self.missing.append(Missing(what, name, why, how))
