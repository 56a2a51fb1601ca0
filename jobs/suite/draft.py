"""A small suite to start from: models on tasks, before and after fine-tuning, with every analysis."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from microtome.jobs.tasks import is_task_file, load_task, task_file

TEXT = """\
# yaml-language-server: $schema={schema}
name: {name}
description: {description}
models: {models}
tasks: {tasks}
# shares of the training data, in per cent: 0 is the model as it was published
fractions: [0, 100]
seeds: [1]
# what is kept of the layers, and of how many examples of a split at most
extract:
  layers: {{splits: {{train: 2000, dev: 500, test: 1000}}, options: {{keep: [hidden]{segments}}}}}
  heads: {{splits: {{test: 100}}, options: {{keep: [attention]}}}}
# what each layer knows of the labels, which heads change, and which layers are alike
probe: [{{view: layers, dev: dev}}]
attention: [{{view: heads}}]
similarity: [{{view: layers}}]
"""


def suite_text(name: str, tasks: Sequence[str], models: Sequence[str], folder: Path, schema: str) -> str:
    """The suite file that will stand in `folder`; its first line names the `schema`. Tasks are names or paths
    from here."""
    loaded = [load_task(task) for task in tasks]
    titles = ", ".join(task.name for task in loaded)
    # Two texts in one sequence see each other; a probe of a pair reads each as it stands alone.
    pairs = any(task.kind.unit == "segment_pair" for task in loaded)
    references = [
        os.path.relpath(task_file(task).absolute(), folder) if is_task_file(task) else task for task in tasks
    ]
    return TEXT.format(
        schema=schema,
        name=_yaml(name),
        description=_yaml(f"{', '.join(models)} on {titles}, before and after fine-tuning"),
        models=_yaml([*models]),
        tasks=_yaml(references),
        segments=", segments: separate" if pairs else "",
    )


def _yaml(value: str | list[str]) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
