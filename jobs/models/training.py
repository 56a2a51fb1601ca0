"""Training with transformers' Trainer: resumes where it was last saved, survives running out of memory."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from microtome.jobs.models import sharding
from microtome.jobs.models.batching import length_sorted_batches, padded
from microtome.jobs.models.epoch_trainer import (
    BEST,
    IGNORED,
    BestEpoch,
    Collate,
    EpochTrainer,
    MicroBatches,
    Scores,
)
from microtome.jobs.models.finite import check_logits, check_weights
from microtome.jobs.models.losses import Loss
from microtome.jobs.models.optimisation import SCHEDULES, Schedule, optimizer_class, restarts
from microtome.jobs.models.placement import on_device
from microtome.jobs.models.precision import autocast, compute_dtype
from microtome.jobs.models.saving import STATE, StateWriter
from microtome.jobs.models.training_callbacks import Epochs, LogProgress, OwnDropout, Saving
from microtome.jobs.process import stopping
from microtome.jobs.training_settings import Precision
from microtome.store.errors import InputError, MicrotomeError
from microtome.store.files.removal import remove

EVALUATION_TOKENS = 4096  # per batch, padding included


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
    group = sharding.group()
    check_weights(model, "before training")
    if group.size > 1:
        sharding.shard(model)
        folder = sharding.of_first(folder)
    initial = {} if group.size > 1 else _trained_weights(model)
    micro = max(1, math.ceil(schedule.settings.batch_size / group.size) >> group.halvings)
    while True:
        states = StateWriter(folder, lambda path: saved([path]))
        trainer = EpochTrainer(
            model=model,
            args=_arguments(schedule, len(features), folder),
            train_dataset=features,
            eval_dataset=features,  # never read: `evaluate` knows its own examples
            data_collator=MicroBatches(collator, micro),
            compute_loss_func=loss,
            callbacks=[
                LogProgress(log_progress),
                Saving(states),
                Epochs(collator),
                OwnDropout(schedule.seed),
                *restarts(schedule, len(features)),
            ],
            optimizer_cls_and_kwargs=optimizer_class(schedule.settings),
        )
        trainer.score, trainer.schedule, trainer.states = evaluate, schedule, states
        resume = sharding.of_first(last_complete_checkpoint(folder) if group.rank == 0 else None)
        if resume is not None:
            log_progress(f"resuming from {resume.name}")
            trainer.best = BestEpoch.load(resume / BEST, model)
        if _fits(trainer, resume):
            break
        if group.size > 1:
            raise sharding.OutOfMemoryInGroupError(micro)
        if micro == 1:
            raise MicrotomeError("out of GPU memory with one example at a time; lower recipe.max_length")
        micro = (micro + 1) // 2
        log_progress(f"out of GPU memory: going on with {micro} examples at a time")
        del trainer
        model.zero_grad(set_to_none=True)
        model.load_state_dict(initial, strict=False)
        torch.cuda.empty_cache()
    if trainer.best is not None:
        trainer.best.give_back(model)
    check_weights(model, f"after step {trainer.state.global_step}")
    log_progress(f"steps waited {states.waited:.2f} s for states to be saved")
    history = [entry for entry in trainer.state.log_history if f"eval_{schedule.metric}" in entry]
    # Sorted, as a state is written: one that went on gives the same bytes.
    return [{k.removeprefix("eval_"): v for k, v in sorted(e.items()) if k != "step"} for e in history]


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
        with sharding.without_gradients(model), autocast(precision, device):
            logits = model(**{k: v.to(device) for k, v in batch.items()}).logits
        logits = logits.float().cpu().numpy()
        for row, index in enumerate(indices):
            results[index] = logits[row, : lengths[index]] if logits.ndim == 3 else logits[row]
    check_logits(results)
    return results


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest `checkpoint-N` that was written to its end; one that was cut short is removed."""
    paths = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in reversed(paths):
        if (path / STATE).is_file():  # what is written last
            return path
        remove(path, inside=folder)
    return None


def _trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of what a training changes; what is frozen, and may be quantised, stays as it is."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if value.is_floating_point() and name not in frozen
    }


def _fits(trainer: EpochTrainer, resume: Path | None) -> bool:
    """Train; False if the GPU's memory ran out. What the attempt held is free once this returns."""
    try:
        with stopping.held():  # `Saving` looks after every step
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
    several = sharding.group().size > 1
    if dtype is torch.float16 and several:
        raise InputError(
            "processes: float16 is not for several processes; set precision: float32 or bfloat16"
        )
    arguments = TrainingArguments(
        output_dir=str(folder),
        learning_rate=schedule.settings.learning_rate,
        num_train_epochs=schedule.settings.epochs,
        per_device_train_batch_size=schedule.settings.batch_size,
        warmup_steps=schedule.rising_steps(examples),
        weight_decay=schedule.settings.weight_decay,
        train_sampling_strategy="group_by_length" if schedule.by_length else "random",
        eval_strategy="epoch",
        save_strategy="no",  # `Saving` says when
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # it would hide a loss that is not finite behind the mean of the others
        seed=schedule.seed,
        lr_scheduler_type=SCHEDULES[schedule.settings.schedule],
        # The Trainer has to be told so of bfloat16, and of several processes.
        use_cpu=not cuda and (dtype is torch.bfloat16 or several),
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
