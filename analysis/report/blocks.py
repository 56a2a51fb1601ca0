"""Which panels stand together: those of a task, or, with a single model, those of all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from microtome.analysis.report.canvas import slug
from microtome.analysis.report.frames import ITEM, in_order

Panel = tuple[str, str]  # task, model


@dataclass(frozen=True)
class Block:
    """The panels of one picture. `heading` is their task; with one model in all, panels are named by task."""

    heading: str
    name: str
    panels: list[Panel]

    def title(self, panel: Panel) -> str:
        return panel[1] if self.heading else panel[0]


def blocks(frame: pd.DataFrame, models: Sequence[str]) -> list[Block]:
    """A block per task, its panels in the order of `models`; a single block when there is one model.

    `name` tells blocks apart in the names of files.
    """
    pairs = [(str(task), str(model)) for task, model in frame[ITEM].drop_duplicates().to_numpy()]
    if len(models) == 1:
        return [Block("", slug(models[0]), pairs)]
    return [
        Block(task, f"{at}-{slug(task)}", [(task, model) for model in models if (task, model) in pairs])
        for at, task in enumerate(in_order(frame["task"]), 1)
    ]


def of(frame: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """The rows of one panel."""
    task, model = panel
    return frame[(frame["task"] == task) & (frame["model"] == model)]
