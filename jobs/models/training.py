"""Training with transformers' Trainer: resumes where it was last saved, survives running out of memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.finite import check_logits, check_scores, check_weights
from microtome.jobs.models.losses import Loss
from microtome.jobs.models.optimisation import SCHEDULES, Schedule, optimizer_class, repeated, restarts
from microtome.jobs.models.placement import on_device
from microtome.jobs.models.precision import autocast, compute_dtype
from microtome.jobs.models.saving import STATE, StateWriter
from microtome.jobs.process import stopping
from microtome.jobs.training_settings import Precision
from microtome.store.errors import InputError, MicrotomeError
from microtome.store.files.removal import remove

Scores = dict[str, float]
Collate = Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]
IGNORED = -100  # a target that the loss leaves out
EVALUATION_TOKENS = 4096  # per batch, padding included
BEST = "best.safetensors"  # beside the state that training goes on from


class Collator:
    """Pads features to the longest of a batch; targets with IGNORED."""

    def __init__(self, pad_token_id: int, with_segments: bool) -> None:
        self.pad_token_id = pad_token_id
        self.with_segments = with_segments

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        segments = [f["segment_ids"] for f in features] if self.with_segments else None
        batch = padded([f["input_ids"] for f in features], segments, self.pad_token_id)
        targets = [f["labels"] for f in features]
        if isinstance(targets[0], list):
            longest = batch["input_ids"].shape[1]
            targets = [row + [IGNORED] * (longest - len(row)) for row in targets]
        batch["labels"] = torch.tensor(targets)
        return batch


class MicroBatches:
    """Collates the examples of one optimisation step in pieces that go through the model one by one: each at
    most `size` examples, padded no further than its own longest."""

    def __init__(self, collate: Collate, size: int) -> None:
        self.collate = collate
        self.size = size

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, torch.Tensor]]]:
        starts = range(0, len(features), self.size)
        return {"pieces": [self.collate(features[start : start + self.size]) for start in starts]}


def train(
    model: Any,
    features: Sequence[dict[str, Any]],
    collator: Collate,
    evaluate: Callable[[], Scores],
    schedule: Schedule,
    folder: Path,
    log_progress: Callable[[str], None],
    loss: Loss | None = None,
    saved: Callable[[Sequence[Path]], None] = lambda paths: None,
) -> list[dict[str, float]]:
    """Train in place; `folder` holds the state to resume from. Returns the scores of each scored epoch.

    Out of GPU memory: the examples of a step go through the model in smaller pieces, and training goes on
    from the last state. A step still sees the same examples and each of their targets weighs the same; only
    dropout is drawn anew for each piece. `loss` stands in for the model's own; both are means over targets.
    `saved` is told of the folder of each state that is complete.
    Raises MicrotomeError if a loss, a gradient, a score or a weight is not finite.
    """
    check_weights(model, "before training")
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    micro = schedule.settings.batch_size
    while True:
        states = StateWriter(folder, lambda path: saved([path]))
        trainer = _EpochTrainer(
            model=model,
            args=_arguments(schedule, len(features), folder),
            train_dataset=features,
            eval_dataset=features,  # never read: `evaluate` knows its own examples
            data_collator=MicroBatches(collator, micro),
            compute_loss_func=loss,
            callbacks=[
                _LogProgress(log_progress),
                _Saving(states),
                _Epochs(collator),
                *restarts(schedule, len(features)),
            ],
            optimizer_cls_and_kwargs=optimizer_class(schedule.settings),
        )
        trainer.score, trainer.schedule, trainer.states = evaluate, schedule, states
        resume = last_complete_checkpoint(folder)
        if resume is not None:
            log_progress(f"resuming from {resume.name}")
            trainer.best = _Best.load(resume / BEST)
        if _fits(trainer, resume):
            break
        if micro == 1:
            raise MicrotomeError("out of GPU memory with one example at a time; lower recipe.max_length")
        micro = (micro + 1) // 2
        log_progress(f"out of GPU memory: going on with {micro} examples at a time")
        del trainer
        model.zero_grad(set_to_none=True)
        model.load_state_dict(initial)
        torch.cuda.empty_cache()
    if trainer.best is not None:
        model.load_state_dict(trainer.best.weights)
    check_weights(model, f"after step {trainer.state.global_step}")
    log_progress(f"steps waited {states.waited:.2f} s for states to be saved")
    history = [entry for entry in trainer.state.log_history if f"eval_{schedule.metric}" in entry]
    # Sorted, as a state is written: one that went on gives the same bytes.
    return [{k.removeprefix("eval_"): v for k, v in sorted(e.items()) if k != "step"} for e in history]


@torch.inference_mode()
def predict(
    model: Any,
    features: Sequence[dict[str, Any]],
    collator: Collator,
    device: torch.device,
    precision: Precision = "auto",
) -> list[Any]:
    """Logits of every example in the order given: float32 arrays [classes] or [tokens, classes]."""
    on_device(model, device).eval()
    results: list[Any] = [None] * len(features)
    lengths = [len(f["input_ids"]) for f in features]
    for indices in length_sorted_batches(lengths, EVALUATION_TOKENS):
        batch = collator([features[i] for i in indices])
        batch.pop("labels")
        with autocast(precision, device):
            logits = model(**{k: v.to(device) for k, v in batch.items()}).logits
        logits = logits.float().cpu().numpy()
        for row, index in enumerate(indices):
            results[index] = logits[row, : lengths[index]] if logits.ndim == 3 else logits[row]
    check_logits(results)
    return results


def diverged(step: int, what: str, value: float) -> MicrotomeError:
    """Training that has left the numbers behind."""
    return MicrotomeError(
        f"training diverged: the {what} of step {step} is {value}; lower the learning rate, or warm up longer"
    )


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest `checkpoint-N` that was written to its end; one that was cut short is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in reversed(found):
        if (path / STATE).is_file():  # what is written last
            return path
        remove(path, inside=folder)
    return None


@dataclass(frozen=True)
class _Best:
    """The weights of the best epoch so far, on the CPU."""

    score: float
    weights: dict[str, torch.Tensor]

    @classmethod
    def of(cls, score: float, model: Any) -> "_Best":
        return cls(score, {name: value.detach().cpu().clone() for name, value in model.state_dict().items()})

    def save(self, path: Path) -> None:
        save_file(self.weights, path, metadata={"score": repr(self.score)})

    @classmethod
    def load(cls, path: Path) -> "_Best | None":
        """None where no epoch had been scored, or the last is kept."""
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(float(file.metadata()["score"]), weights)


class _ByLength(LengthGroupedSampler):
    """An order that the seed and the epoch decide alone, so that it is known again in the middle of one."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        self.generator.manual_seed(self.seed * 1_000_003 + epoch)  # apart for any two seeds


class _EpochTrainer(Trainer):
    """Scores with the task's own metrics: the Trainer would shuffle and pad the evaluation data. Keeps the
    best epoch in memory, and on disk only beside a state to resume from. A step goes through the model in
    the pieces that its collator made."""

    score: Callable[[], Scores]
    schedule: Schedule
    best: _Best | None = None
    states: StateWriter
    share = 1.0  # of the targets of a step, that the piece at hand has

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss of a step: the mean over all its targets, whatever pieces they come in."""
        counts = [_targets(piece["labels"]) for piece in inputs["pieces"]]
        total = torch.zeros((), device=self.args.device)
        for piece, count in zip(inputs["pieces"], counts, strict=True):
            if count:  # the mean over no target is not a number, and weighs nothing
                self.share = count / sum(counts)
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
        norm = super()._clip_grad_norm(model)
        # In float16 the loss is scaled as far up as it goes: a step that goes over is left out, by design.
        if not self.args.fp16 and not math.isfinite(float(norm)):
            raise diverged(self.state.global_step + 1, "gradient norm", float(norm))
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> Scores:
        epoch, epochs = self.state.epoch or 0, self.args.num_train_epochs
        if epoch < epochs and round(epoch) % self.schedule.evaluate_every:
            return {}
        found = self.score()
        check_scores(found, f"after step {self.state.global_step}")
        scores = {f"eval_{name}": value for name, value in found.items()}
        self.log(scores)
        if not self.schedule.keep_last:
            value = found[self.schedule.metric]
            if self.best is None or value > self.best.score:
                self.best = _Best.of(value, self.model)
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

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        best = self.best  # as it is now: a better one is another object
        self.states.save(self, lambda folder: None if best is None else best.save(folder / BEST))


class _Saving(TrainerCallback):
    """Has the state saved when the last one has some age. Asked to stop, saves after the step under way
    and does.

    After the last step of an epoch the scores come first: a state says that they are taken.
    """

    def __init__(self, states: StateWriter) -> None:
        self.states = states

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.epoch % 1 and state.global_step < state.max_steps:
            control.should_save = self._due()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = self._due() and (state.global_step < state.max_steps or bool(stopping.heard()))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = control.should_save or bool(stopping.heard())

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if stopping.heard():
            self.states.wait()
        stopping.stop_if_heard()

    def _due(self) -> bool:
        return bool(stopping.heard()) or self.states.is_due()


class _LogProgress(TrainerCallback):
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


class _Epochs(TrainerCallback):
    """Tells a collator that draws anew in every epoch which one it is."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.collator.epoch = int(state.epoch or 0)


def _targets(labels: torch.Tensor) -> int:
    """How many targets a loss is the mean of; a number that is to be predicted is never left out."""
    return labels.numel() if labels.is_floating_point() else int((labels != IGNORED).sum())


def _fits(trainer: _EpochTrainer, resume: Path | None) -> bool:
    """Train; False if the GPU's memory ran out. What the attempt held is free once this returns."""
    try:
        with stopping.held():  # `_Saving` looks after every step
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except torch.OutOfMemoryError:
        return False
    finally:
        trainer.states.close()
    return True


def _arguments(schedule: Schedule, examples: int, folder: Path) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    dtype = compute_dtype(schedule.settings.precision, torch.device("cuda" if cuda else "cpu"))
    if dtype is torch.float16 and not cuda:
        raise InputError("precision: float16 needs a GPU; set precision: auto, float32 or bfloat16")
    arguments = TrainingArguments(
        output_dir=str(folder),
        learning_rate=schedule.settings.learning_rate,
        num_train_epochs=schedule.settings.epochs,
        per_device_train_batch_size=schedule.settings.batch_size,
        warmup_steps=schedule.rising_steps(examples),
        weight_decay=schedule.settings.weight_decay,
        train_sampling_strategy="group_by_length" if schedule.by_length else "random",
        eval_strategy="epoch",
        save_strategy="no",  # `_Saving` says when
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # it would hide a loss that is not finite behind the mean of the others
        seed=schedule.seed,
        lr_scheduler_type=SCHEDULES[schedule.settings.schedule],
        use_cpu=not cuda and dtype is torch.bfloat16,  # which the Trainer refuses there unless told
        activation_checkpointing=schedule.settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},  # of frozen bases, inputs have no gradient
        bf16=dtype is torch.bfloat16,
        fp16=dtype is torch.float16,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        report_to=schedule.report_to,
        run_name=schedule.run or None,
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one job, one GPU: more would multiply the batch
    return arguments
