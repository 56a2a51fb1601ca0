"""Finds what jobs are made from: models, data and corpora. Nothing is loaded, nothing is written."""

from dataclasses import replace

from microtome.jobs.data.corpora import Corpus, CorpusSpec, find_corpus
from microtome.jobs.data.examples import SPLITS
from microtome.jobs.models.source import ModelSource, find_model
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.source import TaskData, find_data
from microtome.store.artifacts.store import Store
from microtome.store.errors import Absence, AbsentError
from microtome.store.identity import digest


class Finder:
    """Finds each thing once, falls back on the identities that the store remembers, and notes what is absent.

    missing       what is not on this machine
    identities    of what was found, for the store to remember
    unidentified  names of what is not here and was not before: no identity of it is known, and that of a job
                  which needs it is not the real one
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered = store.remembered()
        self._models: dict[str, ModelSource] = {}
        self._data: dict[str, TaskData] = {}
        self.missing: list[Absence] = []
        self.identities: dict[str, str] = {}
        self.unidentified: list[str] = []

    def model(self, reference: str) -> ModelSource:
        """A model by any name that `find_model` takes."""
        if reference not in self._models:
            self._models[reference] = self._find_model(reference)
        return self._models[reference]

    def data(self, task: Task) -> TaskData:
        """The data of a task."""
        if task.name not in self._data:
            self._data[task.name] = self._find_data(task)
        return self._data[task.name]

    def corpus(self, model: str, spec: CorpusSpec) -> Corpus:
        """The corpus that a model is adapted on."""
        key = f"corpus:{model}"
        try:
            corpus = find_corpus(spec, self._store.digests)
        except AbsentError as error:
            absence = self._note(replace(error.absence, name=model))
            return Corpus(spec, self._identity(key), absence=absence)
        self.identities[key] = corpus.identity
        return corpus

    def _find_model(self, reference: str) -> ModelSource:
        key = f"model:{reference}"
        try:
            model = find_model(reference, self._store)
        except AbsentError as error:
            return ModelSource(reference, self._identity(key), absence=self._note(error.absence))
        if model.artifact is None:
            self.identities[key] = model.identity
        return model

    def _find_data(self, task: Task) -> TaskData:
        keys = {split: f"data:{task.name}:{split}" for split in SPLITS}
        try:
            data = find_data(task, self._store.digests)
        except AbsentError as error:
            identities = {split: self._identity(key) for split, key in keys.items()}
            absence = self._note(error.absence)
            return TaskData(task, task.data, {}, "remembered", absence=absence, identities=identities)
        self.identities |= {key: data.digest(split) for split, key in keys.items()}
        return data

    def _identity(self, key: str) -> str:
        if key in self._remembered:
            return self._remembered[key]
        self.unidentified.append(key)
        return digest({"unidentified": key})

    def _note(self, absence: Absence) -> Absence:
        self.missing.append(absence)
        return absence
