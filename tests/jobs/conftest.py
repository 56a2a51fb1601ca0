"""Jobs made and run the way the executor does it."""

import pytest
import yaml

from microtome.jobs.kinds.extract import ExtractConfig, extract_job
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models.source import find_model
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store


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
