"""Fine-tuning with transformers' Trainer: resumes from the last epoch, survives running out of memory."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from jobs.models.batching import length_sorted_batches, padded
from store.errors import MicrotomeError

Scores = dict[str, float]
IGNORED = -100  # a target that the loss leaves out
EVALUATION_TOKENS = 4096  # per batch, padding included


@dataclass(frozen=True)
class Schedule:
    """What the optimiser does. `metric` picks the epoch that is kept, unless `keep_last`."""

    learning_rate: float
    epochs: float
    batch_size: int
    warmup: float
    weight_decay: float
    metric: str
    keep_last: bool
    seed: int


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
    collator: Collator,
    evaluate: Callable[[], Scores],
    schedule: Schedule,
    folder: Path,
    report: Callable[[str], None],
) -> list[dict[str, float]]:
    """Train in place; `folder` holds an epoch's state to resume from. Returns the scores of each epoch.

    Out of GPU memory: the micro-batch is halved and the accumulation doubled, so that the optimisation
    steps stay the same, and training goes on from the last epoch.
    """
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    micro = schedule.batch_size
    while True:
        trainer = _EpochTrainer(
            model=model,
            args=_arguments(schedule, micro, folder),
            train_dataset=features,
            eval_dataset=features,  # never read: `evaluate` knows its own examples
            data_collator=collator,
            callbacks=[_Report(report)],
        )
        trainer.score = evaluate
        resume = last_complete_checkpoint(folder)
        if resume is not None:
            report(f"resuming from {resume.name}")
        if _fits(trainer, resume):
            break
        if micro == 1:
            raise MicrotomeError("out of GPU memory with one example at a time; lower recipe.max_length")
        micro = (micro + 1) // 2
        report(f"out of GPU memory: going on with {micro} examples at a time")
        del trainer
        model.zero_grad(set_to_none=True)
        model.load_state_dict(initial)
        torch.cuda.empty_cache()
    history = [entry for entry in trainer.state.log_history if f"eval_{schedule.metric}" in entry]
    return [{k.removeprefix("eval_"): v for k, v in entry.items() if k != "step"} for entry in history]


@torch.inference_mode()
def predict(
    model: Any, features: Sequence[dict[str, Any]], collator: Collator, device: torch.device
) -> list[Any]:
    """Logits of every example in the order given: float32 arrays [classes] or [tokens, classes]."""
    model.to(device).eval()
    results: list[Any] = [None] * len(features)
    lengths = [len(f["input_ids"]) for f in features]
    for indices in length_sorted_batches(lengths, EVALUATION_TOKENS):
        batch = collator([features[i] for i in indices])
        batch.pop("labels")
        with torch.autocast(device.type, half_precision(device), enabled=device.type == "cuda"):
            logits = model(**{k: v.to(device) for k, v in batch.items()}).logits
        logits = logits.float().cpu().numpy()
        for row, index in enumerate(indices):
            results[index] = logits[row, : lengths[index]] if logits.ndim == 3 else logits[row]
    return results


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the GPU computes in it, else float16."""
    return torch.bfloat16 if device.type == "cpu" or torch.cuda.is_bf16_supported() else torch.float16


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest `checkpoint-N` that was written to its end; one that was cut short is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in reversed(found):
        if (path / "trainer_state.json").is_file():  # what the Trainer writes last
            return path
        shutil.rmtree(path)
    return None


class _EpochTrainer(Trainer):
    """Scores with the task's own metrics: the Trainer would shuffle and pad the evaluation data."""

    score: Callable[[], Scores]

    def evaluate(self, *args: Any, **kwargs: Any) -> Scores:
        scores = {f"eval_{name}": value for name, value in self.score().items()}
        self.log(scores)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores


class _Report(TrainerCallback):
    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k.removeprefix("eval_"): v for k, v in (logs or {}).items() if isinstance(v, float)}
        wanted = ("loss", "entity_f1", "accuracy", "pearson", "micro_f1", "perplexity")
        text = " ".join(f"{k} {shown[k]:.4f}" for k in wanted if k in shown)
        if text:
            self.report(f"epoch {state.epoch:.3g}/{args.num_train_epochs:g} {text}")


def _fits(trainer: Trainer, resume: Path | None) -> bool:
    """Train; False if the GPU's memory ran out. What the attempt held is free once this returns."""
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except torch.OutOfMemoryError:
        return False
    return True


def _arguments(schedule: Schedule, micro: int, folder: Path) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    half = half_precision(torch.device("cuda")) if cuda else None
    arguments = TrainingArguments(
        output_dir=str(folder),
        learning_rate=schedule.learning_rate,
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=-(-schedule.batch_size // micro),
        warmup_steps=schedule.warmup,
        weight_decay=schedule.weight_decay,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=not schedule.keep_last,
        metric_for_best_model=f"eval_{schedule.metric}",
        greater_is_better=True,
        seed=schedule.seed,
        bf16=half is torch.bfloat16,
        fp16=half is torch.float16,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one job, one GPU: more would multiply the batch
    return arguments
