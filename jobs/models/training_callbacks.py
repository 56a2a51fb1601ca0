"""What happens between the steps of a training: states are saved, progress is said."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from microtome.jobs.models import sharding
from microtome.jobs.models.saving import StateWriter
from microtome.jobs.process import stopping


class Saving(TrainerCallback):
    """Has the state saved when the last one has some age. Asked to stop, saves after the step under way
    and does.

    After the last step of an epoch the scores come first: a state says that they are taken. Several
    processes save and stop after the same step: what one of them has heard counts for all.
    """

    def __init__(self, states: StateWriter) -> None:
        self.states = states
        self.stops = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.epoch % 1 and state.global_step < state.max_steps:
            control.should_save = self._due()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = self._due() and (state.global_step < state.max_steps or self.stops)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._listen()
        control.should_save = control.should_save or self.stops

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.stops:
            return
        self.states.wait()
        sharding.any_process(False)  # none ends before the state is written
        raise KeyboardInterrupt

    def _due(self) -> bool:
        self._listen()
        return self.stops or sharding.of_first(self.states.is_due())

    def _listen(self) -> None:
        self.stops = self.stops or sharding.any_process(bool(stopping.heard()))


class OwnDropout(TrainerCallback):
    """Each of several processes draws its own dropout; the first as a process that is alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        rank = sharding.group().rank
        if rank:
            torch.manual_seed(self.seed + rank * 1_000_003)


class LogProgress(TrainerCallback):
    def __init__(self, log_progress: Callable[[str], None]) -> None:
        self.log_progress = log_progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k.removeprefix("eval_"): v for k, v in (logs or {}).items() if isinstance(v, float)}
        wanted = (
            *("loss", "entity_f1", "accuracy", "pearson", "example_f1", "micro_f1"),
            *("perplexity", "masked_perplexity"),
        )
        text = " ".join(f"{k} {shown[k]:.4f}" for k in wanted if k in shown)
        if text:
            self.log_progress(f"epoch {state.epoch:.3g}/{args.num_train_epochs:g} {text}")


class Epochs(TrainerCallback):
    """Tells a collator that draws anew in every epoch which one it is."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.collator.epoch = int(state.epoch or 0)
