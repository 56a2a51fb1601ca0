"""What a methods section says of a suite: its corpora and the settings of its tasks."""

import shlex
from collections.abc import Mapping

import pandas as pd

from microtome.jobs.kinds.records import FinetuneRecord
from microtome.jobs.suite.effective import DEFAULT, shown, task_settings
from microtome.jobs.suite.plan import Plan
from microtome.store.artifacts.store import Artifact


def corpora(plan: Plan, artifacts: Mapping[str, Artifact]) -> pd.DataFrame:
    """A row per task: its type, the training examples of the largest share that was trained on, its licence
    and its citation."""
    train: dict[str, int] = {}
    for job in plan.jobs:
        if job.kind == "finetune" and job.id in artifacts:
            task = str(job.labels["task"])
            train[task] = max(train.get(task, 0), FinetuneRecord.of(artifacts[job.id]).training_examples)
    tasks = [plan.suite.task(name) for name in plan.suite.tasks]
    return pd.DataFrame(
        [
            {
                "task": task.name,
                "type": task.type,
                "train": train.get(task.name),
                "licence": task.licence,
                "citation": task.citation,
            }
            for task in tasks
        ]
    )


def settings(plan: Plan) -> pd.DataFrame:
    """Every setting of a recipe that is not at its default, and where it was set."""
    suite, *changes = shlex.split(plan.suite.typed)
    overrides = [word for word in changes if word != "--set"]
    rows = [
        {"task": task, "setting": name, "value": shown(setting.value), "origin": setting.origin}
        for task, values in task_settings(suite, overrides).items()
        for name, setting in values.items()
        if setting.origin != DEFAULT
    ]
    return pd.DataFrame(rows, columns=["task", "setting", "value", "origin"])
