"""transformers' Trainer, with the task's own scores, the best epoch kept, and steps that are the same in
however many pieces and processes they are computed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from microtome.jobs.models import sharding
from microtome.jobs.models.finite import check_scores
from microtome.jobs.models.optimisation import Schedule, repeated
from microtome.jobs.models.saving import StateWriter
from microtome.store.errors import MicrotomeError

Scores = dict[str, float]
Collate = Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]
IGNORED = -100  # a target that the loss leaves out
BEST = "best.safetensors"  # beside the state that training goes on from


class MicroBatches:
    """Collates the examples of one optimisation step in pieces that go through the model one by one: each at
    most `size` examples, padded no further than its own longest. Of several processes, each takes every n-th
    example of the step.

    A process with fewer pieces than others repeats an example, since all have to go through the model equally
    often; the last `repeated` pieces of a batch count for nothing.
    """

    def __init__(self, collate: Collate, size: int) -> None:
        self.collate = collate
        self.size = size

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Any]:
        group = sharding.group()
        own = features[group.rank :: group.size]
        parts = [own[start : start + self.size] for start in range(0, len(own), self.size)]
        repeated = math.ceil(math.ceil(len(features) / group.size) / self.size) - len(parts)
        parts += [features[:1]] * repeated
        return {"pieces": [self.collate(part) for part in parts], "repeated": repeated}


def diverged(step: int, what: str, value: float) -> MicrotomeError:
    """Training that has left the numbers behind."""
    return MicrotomeError(
        f"training diverged: the {what} of step {step} is {value}; lower the learning rate, or warm up longer"
    )


@dataclass(frozen=True)
class BestEpoch:
    """The weights of the best epoch so far, on the CPU; of a sharded model the part of this process."""

    score: float
    weights: dict[str, torch.Tensor]

    @classmethod
    def of(cls, score: float, model: Any) -> "BestEpoch":
        parts = {name: sharding.own_part(value.detach()) for name, value in model.state_dict().items()}
        return cls(score, {name: part.cpu().clone() for name, part in parts.items()})

    def give_back(self, model: Any) -> None:
        """Put the weights into the model again."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                sharding.own_part(value).copy_(self.weights[name])

    def whole(self, model: Any) -> "BestEpoch":
        """With the parts of all processes, in the first of them."""
        if not sharding.is_sharded(model):
            return self
        like = model.state_dict()
        parts = {name: sharding.with_own_part(like[name], part) for name, part in self.weights.items()}
        return BestEpoch(self.score, sharding.whole_on_first(parts, {}))

    def save(self, path: Path) -> None:
        save_file(self.weights, path, metadata={"score": repr(self.score)})

    @classmethod
    def load(cls, path: Path, model: Any) -> "BestEpoch | None":
        """None where no epoch had been scored, or the last is kept."""
        if not path.is_file():
            return None
        like = model.state_dict()
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            score = float(file.metadata()["score"])
        parts = {n: sharding.own_part(sharding.own_part_of(v, like[n])).cpu() for n, v in weights.items()}
        return cls(score, parts)


class _ByLength(LengthGroupedSampler):
    """An order that the seed and the epoch decide alone, so that it is known again in the middle of one."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        self.generator.manual_seed(self.seed * 1_000_003 + epoch)  # apart for any two seeds


class EpochTrainer(Trainer):
    """Scores with the task's own metrics: the Trainer would shuffle and pad the evaluation data. Keeps the
    best epoch in memory, and on disk only beside a state to resume from. A step goes through the model in
    the pieces that its collator made."""

    score: Callable[[], Scores]
    schedule: Schedule
    best: BestEpoch | None = None
    states: StateWriter
    share = 1.0  # of the targets of a step, that the piece at hand has

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss of a step: the mean over all its targets, whatever pieces they come in. Of several
        processes, what each returns has this as its mean, as the gradients have theirs."""
        pieces, processes = inputs["pieces"], sharding.group().size
        counts = [_targets(piece["labels"]) for piece in pieces]
        counts[len(counts) - inputs["repeated"] :] = [0] * inputs["repeated"]
        targets = sharding.total(sum(counts))
        total = torch.zeros((), device=self.args.device)
        for piece, count in zip(pieces, counts, strict=True):
            if count == 0 and (processes == 1 or targets == 0):
                continue  # the mean over no target is not a number, and weighs nothing
            if count == 0:  # other processes wait for this one; any target will do
                piece["labels"] = piece["labels"].clamp(min=0)
            self.share = processes * count / targets
            total += super().training_step(model, piece)
        value = float(total)
        if not math.isfinite(value):
            raise diverged(self.state.global_step + 1, "loss", value)
        return total

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The share of a piece in the loss of its step. The Trainer's own way leaves to each model whether
        it looks at the number of targets in the step, and many do not."""
        return super().compute_loss(*args, **kwargs) * self.share

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = sharding.whole(super()._clip_grad_norm(model))
        # In float16 the loss is scaled as far up as it goes: a step that goes over is left out, by design.
        if not self.args.fp16 and not math.isfinite(float(norm)):
            raise diverged(self.state.global_step + 1, "gradient norm", float(norm))
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> Scores:
        epoch, epochs = self.state.epoch or 0, self.args.num_train_epochs
        if epoch < epochs and round(epoch) % self.schedule.evaluate_every:
            return {}
        values = self.score()
        check_scores(values, f"after step {self.state.global_step}")
        scores = {f"eval_{name}": value for name, value in values.items()}
        self.log(scores)
        if not self.schedule.keep_last:
            value = values[self.schedule.metric]
            if self.best is None or value > self.best.score:
                self.best = BestEpoch.of(value, self.model)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The Trainer's own schedule, or where there are several cycles the same one cycle after cycle."""
        steps = self.schedule.steps_per_cycle(len(self.train_dataset))
        if self.schedule.settings.cycles == 1:
            return super().create_scheduler(num_training_steps, optimizer)
        self.lr_scheduler = repeated(super().create_scheduler(steps, optimizer), steps)
        return self.lr_scheduler

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        if not self.schedule.by_length:
            return super()._get_train_sampler(*args, **kwargs)
        lengths = [len(feature["input_ids"]) for feature in self.train_dataset]
        return _ByLength(self.schedule.settings.batch_size, lengths, self.schedule.seed)

    def get_train_dataloader(self) -> Any:
        """Whole batches in every process, of which `MicroBatches` takes a share."""
        if sharding.group().size == 1:
            return super().get_train_dataloader()
        loader = DataLoader(
            self.train_dataset,
            batch_size=self._train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # As for one process: for several, accelerate would deal out batches and fill up the last of an epoch.
        one = {"num_processes": 1, "process_index": 0}
        return prepare_data_loader(
            loader, self.args.device, **one, put_on_device=True, use_seedable_sampler=True
        )

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        best = self.best and self.best.whole(self.model)  # as it is now: a better one is another object
        self.states.save(self, lambda folder: None if best is None else best.save(folder / BEST))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not sharding.is_sharded(self.model):
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        for path in sorted(Path(resume_from_checkpoint).glob("model*.safetensors")):
            sharding.load_weights(self.model, load_file(path))
        return None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not sharding.is_sharded(self.model):
            return super()._load_optimizer_and_scheduler(checkpoint)
        state = torch.load(Path(checkpoint) / "optimizer.pt", map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(sharding.own_part_of_optimizer(state, self.optimizer))
        schedule = torch.load(Path(checkpoint) / "scheduler.pt", map_location="cpu", weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)
        return None


def _targets(labels: torch.Tensor) -> int:
    """How many targets a loss is the mean of; a number that is to be predicted is never left out."""
    return labels.numel() if labels.is_floating_point() else int((labels != IGNORED).sum())
