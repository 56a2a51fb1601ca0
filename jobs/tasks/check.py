"""What a task's data are: counts, labels, lengths, and what is not held out after all."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import SPLITS, Example
from microtome.jobs.data.truncation import is_tagged, truncation
from microtome.jobs.tasks import Task
from microtome.jobs.tasks.source import TaskData
from microtome.store.errors import InputError


def check(data: TaskData, encoder: Encoder | None = None) -> list[dict[str, Any]]:
    """One entry per split: where it was found, examples, documents, words, labels, how many rows, and
    which share of them, have the texts of a training row, and of pairs the first text of one; with an encoder
    also tokens, and the words and gold entities that max_length cuts off."""
    examples = {split: data.read_texts(split) for split in SPLITS}
    training = {example.texts for example in examples["train"]}
    found = []
    for split, rows in examples.items():
        entry: dict[str, Any] = {
            "split": split,
            "examples": len(rows),
            "documents": len({e.document for e in rows if e.document}) or None,
            "words": sum(e.words for e in rows),
            "words_longest": max(e.words for e in rows),
            "also_in_train": None if split == "train" else sum(e.texts in training for e in rows),
            "also_in_train_share": None if split == "train" else round(overlap(rows, examples["train"]), 4),
            "first_text_in_train_share": _first_texts(data, split, rows, examples["train"]),
            "labels": {} if split in data.spec.unlabelled else label_counts(rows),
            "file": str(data.files[split]) if split in data.files else _held_out(data, split),
        }
        if encoder is not None:
            entry |= _tokens(rows, encoder)
        found.append(entry)
    return found


def _first_texts(
    data: TaskData, split: str, rows: Sequence[Example], training: Sequence[Example]
) -> float | None:
    if split == "train" or data.task.kind.texts != 2:
        return None
    return round(first_text_overlap(rows, training), 4)


def _held_out(data: TaskData, split: str) -> str:
    implied = ", as the task names none" if split == "dev" and data.spec.implies_dev else ""
    return f"{data.files['train']} ({data.spec.shares[split]:.0%} of its documents, held out{implied})"


def overlap(examples: Sequence[Example], training: Sequence[Example]) -> float:
    """The share of examples whose texts, word for word, are those of a training example; 0 of none."""
    known = {example.texts for example in training}
    return sum(example.texts in known for example in examples) / max(1, len(examples))


def first_text_overlap(examples: Sequence[Example], training: Sequence[Example]) -> float:
    """The share of pairs whose first text, such as a premise, is the first of a training pair, whatever the
    second is; 0 of none."""
    firsts = {example.texts[0] for example in training}
    return sum(example.texts[0] in firsts for example in examples) / max(1, len(examples))


def without_duplicates(examples: Sequence[Example], training: Sequence[Example]) -> list[int]:
    """The places of the examples whose texts are not those of a training example."""
    texts = {example.texts for example in training}
    return [place for place, example in enumerate(examples) if example.texts not in texts]


def refuse_overlap(task: Task, share: float) -> None:
    """InputError if more of the test texts are training texts than the task allows."""
    if share > task.max_overlap:
        raise InputError(
            f"'{task.name}': {share:.1%} of the test texts are training texts word for word, and its "
            f"max_overlap is {task.max_overlap:.1%}. Hold other documents out, or raise max_overlap in the "
            "task file if the split is what it has to be"
        )


def label_counts(examples: Sequence[Example]) -> dict[str, float]:
    """How often each class occurs; entities for tags; lowest, mean and highest for numbers."""
    numbers = [e.label for e in examples if isinstance(e.label, float)]
    if numbers:
        return {"lowest": min(numbers), "mean": float(np.mean(numbers)), "highest": max(numbers)}
    counts: Counter[str] = Counter()
    for example in examples:
        if isinstance(example.label, str):
            counts[example.label] += 1
        elif is_tagged(example):
            counts.update(tag[2:] for tag in example.label if tag.startswith("B-"))  # type: ignore[union-attr]
        else:
            counts.update(example.label or ("no label",))  # type: ignore[arg-type]
    return dict(sorted(counts.items()))


def _tokens(examples: Sequence[Example], encoder: Encoder) -> dict[str, Any]:
    encodings = [encoder.encode(example) for example in examples]
    lengths = np.array([len(encoding.input_ids) for encoding in encodings])
    cut = truncation(examples, [[encoding] for encoding in encodings])
    return {
        "tokens": int(lengths.sum()),
        "tokens_median": float(np.median(lengths)),
        "tokens_longest": int(lengths.max()),
        "truncated_examples": sum(encoding.truncated_words > 0 for encoding in encodings),
        **{name: round(value, 4) for name, value in cut.rows().items()},
        "mentions_cut": sum(encoding.mentions_cut for encoding in encodings),
    }
