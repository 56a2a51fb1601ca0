"""Jobs made and run the way the executor does it."""

import huggingface_hub.constants
import pytest
import yaml
from huggingface_hub.utils import close_session

from microtome.jobs import hub
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models.source import find_model
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store
from tests.jobs.hub_emulator import HubEmulator


class Workbench:
    """Builds jobs from a small task and a model folder, runs them, opens what they made."""

    def __init__(self, root, tasks):
        self.store = Store(root)
        self.tasks = tasks

    def finetune(self, kind, model, fraction=100, seed=1, **recipe):
        task = load_task(str(self.tasks[kind]))
        recipe = task.recipe.model_copy(update=recipe)
        return finetune_job(task, find_data(task), find_model(str(model), self.store), fraction, seed, recipe)

    def extract(self, kind, model, split="test", **options):
        task = load_task(str(self.tasks[kind]))
        config = ExtractConfig.parse(options, where="test")
        return extract_job(task, find_data(task), find_model(str(model), self.store), split, config, {})

    def run(self, job):
        error, _ = run_job(job, self.store.root)
        assert error is None, f"{error}\n{self.store.log_path(job.request).read_text()}"
        return self.store.find(job.request)


@pytest.fixture
def bench(tmp_path, small_tasks):
    return Workbench(tmp_path / "store", small_tasks)


@pytest.fixture
def write_task(tmp_path):
    """write_task(kind, form, columns, target, labels, **recipe) -> a task file over <split>.data."""

    def write(kind, form, columns, target, labels, **recipe):
        data = {"format": form, "root": ".", "columns": columns, "target": target}
        data["files"] = {split: f"{split}.data" for split in ("train", "dev", "test")}
        task = {"name": kind, "type": kind, "title": "small", "labels": list(labels), "data": data}
        task |= {"licence": "mine", "obtain": "written by a test", "recipe": recipe}
        path = tmp_path / "task.yaml"
        path.write_text(yaml.safe_dump(task, sort_keys=False))
        return path

    return write


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The hub's local cache, empty, and nothing remembered of what the hub said; the hub may be asked."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.hub_model.cache_clear()
    yield tmp_path / "hub-cache"
    hub.hub_model.cache_clear()


@pytest.fixture
def hub_emulator(hub_cache, tmp_path, monkeypatch):
    """A hub on the loopback, which huggingface_hub asks. Waits between requests are noted, not waited for."""
    emulator = HubEmulator(tmp_path / "hub")
    emulator.waits = []
    constants = huggingface_hub.constants
    with emulator.serving():
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, emulator.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", emulator.address)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("time.sleep", emulator.waits.append)
        close_session()
        yield emulator
    close_session()
