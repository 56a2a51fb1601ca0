"""How the learning rate goes, and which optimiser follows it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback

from microtome.jobs.training_settings import TrainingSettings

# Our names of schedules -> those of transformers.
SCHEDULES = {"linear": "linear", "constant": "constant_with_warmup", "cosine": "cosine"}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What the optimiser does. `metric` picks the epoch that is kept, unless `keep_last`.

    `by_length` puts sequences of similar length into one batch. Scores are taken every `evaluate_every`
    epochs, and after the last.
    """

    settings: TrainingSettings
    metric: str
    keep_last: bool
    seed: int
    by_length: bool = True
    evaluate_every: int = 1
    report_to: str = "none"  # a tracker that the Trainer has
    run: str = ""  # the name of this training there

    def steps(self, examples: int) -> int:
        """Optimisation steps of the whole training."""
        return math.ceil(self.settings.epochs * math.ceil(examples / self.settings.batch_size))

    def steps_per_cycle(self, examples: int) -> int:
        """Steps after which the learning rate begins anew."""
        return math.ceil(self.steps(examples) / self.settings.cycles)

    def rising_steps(self, examples: int) -> int:
        """Steps in which the learning rate rises, at the beginning of every cycle."""
        if self.settings.warmup_steps is not None:
            return self.settings.warmup_steps
        return math.ceil(self.settings.warmup * self.steps_per_cycle(examples))


def repeated(schedule: LambdaLR, steps: int) -> LambdaLR:
    """The first `steps` steps of a schedule, over and over."""
    factor = schedule.lr_lambdas[0]
    groups = len(schedule.optimizer.param_groups)
    return LambdaLR(schedule.optimizer, [lambda step: factor(step % steps)] * groups)


class NewAverages(TrainerCallback):
    """Lets the optimiser forget its averages where a cycle of the schedule begins anew."""

    def __init__(self, steps_per_cycle: int) -> None:
        self.steps_per_cycle = steps_per_cycle

    def on_step_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any
    ) -> None:
        if state.global_step and state.global_step % self.steps_per_cycle == 0:
            optimizer.state.clear()


def restarts(schedule: Schedule, examples: int) -> list[TrainerCallback]:
    """What begins every cycle after the first; nothing where there is but one."""
    one = schedule.settings.cycles == 1
    return [] if one else [NewAverages(schedule.steps_per_cycle(examples))]


def optimizer_class(settings: TrainingSettings) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """None where it is the Trainer's own."""
    return (torch.optim.Adam, {"lr": settings.learning_rate}) if settings.optimizer == "adam" else None
