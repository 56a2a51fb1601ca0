"""A fine-tuned checkpoint asked about new text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from microtome.jobs.data.examples import Example, Label
from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.marks import Spans, marked_by_any
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.parsing import json_rows
from microtome.jobs.data.readers.rows import row_id
from microtome.jobs.data.readers.soundness import refuse_unsound
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.kinds.checkpoints import FinetunedCheckpoint
from microtome.jobs.models.placement import DeviceMap
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.store.artifacts.store import Artifact
from microtome.store.errors import InputError

WORD = re.compile(r"\w+|[^\w\s]")  # of a text to be tagged: words and single marks
Named = tuple[str, str, list[str]]  # file and line, id, texts


def read_texts(path: Path, kind: TaskType, labels: Sequence[str]) -> tuple[list[Example], list[str]]:
    """Examples without labels from JSON Lines (`text`, or `text_a` and `text_b`; `id` if there is one) or
    plain text, one per line, two texts parted by a tab; and each example's first text as it stands."""
    if path.suffix == ".jsonl":
        rows = list(_json_texts(path, ("text_a", "text_b") if kind.texts == 2 else ("text",)))
    else:
        rows = list(_plain_rows(path, kind.texts))
    if not rows:
        raise InputError(f"{path}: no text")
    return _unlabelled(rows, path, kind, labels)


def given_texts(
    texts: Sequence[str | Sequence[str]], kind: TaskType, labels: Sequence[str]
) -> tuple[list[Example], list[str]]:
    """Examples without labels from texts, or pairs of texts where a task is about two; and each example's
    first text as it stands. Their ids are their places, from 0."""
    rows: list[Named] = []
    for number, given in enumerate(texts):
        several = [given] if isinstance(given, str) else list(given)
        usable = all(isinstance(text, str) and text.strip() for text in several)
        if len(several) != kind.texts or not usable:
            wanted = "a text" if kind.texts == 1 else "two texts"
            raise InputError(f"texts[{number}]: expected {wanted}, found {given!r:.60}")
        rows.append((f"texts[{number}]", str(number), several))
    if not rows:
        raise InputError("no texts")
    return _unlabelled(rows, Path("texts"), kind, labels)


def _unlabelled(
    rows: Sequence[Named], source: Path, kind: TaskType, labels: Sequence[str]
) -> tuple[list[Example], list[str]]:
    examples = []
    for where, name, texts in rows:
        words, spans = _words(texts, kind)
        blank = _blank(kind, labels, sum(map(len, words)))
        examples.append(Example(name, words, blank, spans, where=where))
    refuse_unsound(examples, source, labelled=False)
    return examples, [texts[0] for *_, texts in rows]


def read_task_file(path: Path, spec: DataSpec) -> list[Example]:
    """The examples of a data file of a task; its labels are not looked at, and may be absent."""
    examples = read_examples(path, spec, labels=False)
    if not examples:
        raise InputError(f"{path}: no text")
    return examples


def predict(
    artifact: Artifact,
    folder: Path,
    examples: Sequence[Example],
    texts: Sequence[str] | None,
    device_map: DeviceMap = "one",
) -> Iterator[dict[str, Any]]:
    """One object per example: `id`, `label`, and the probability of each class; for tagging `entities`, with
    character offsets if the plain `texts` are given, else with word numbers.

    What the examples have as labels is not looked at. `device_map` may spread the model over several devices.
    InputError if the examples have not as many texts as the task.
    """
    from microtome.jobs.models.task_model import TaskModel

    checkpoint = FinetunedCheckpoint.of(artifact)
    kind, labels = checkpoint.kind, checkpoint.labels
    for example in examples:
        if len(example.texts) != kind.texts:
            had = f"{len(example.texts)} text(s), not the {kind.texts} of {checkpoint.type}"
            raise InputError(f"{artifact.name}: example {example.id} has {had}")
    examples = [replace(e, label=_blank(kind, labels, e.words)) for e in examples]
    model = TaskModel(folder, artifact.path.name, kind, labels, checkpoint.recipe, device_map)
    model.threshold = checkpoint.record.threshold
    prepared = model.prepare(examples)
    outputs = model.outputs(prepared)
    for number, (example, label, scores) in enumerate(
        zip(examples, model.decode(prepared, outputs), outputs.logits, strict=True)
    ):
        row: dict[str, Any] = {"id": example.id}
        if kind.head == "token":
            row["entities"] = list(entities(label, example.texts[0], texts[number] if texts else None))
        else:
            row["label"] = label
            if kind.problem != "regression":
                row["probabilities"] = dict(zip(model.classes, _probabilities(kind, scores), strict=True))
        yield row


def entities(tags: Sequence[str], words: Sequence[str], text: str | None) -> Iterator[dict[str, Any]]:
    """The entities of strict IOB2 tags: type, first word and word after the last, or characters of `text`."""
    places = [match.span() for match in WORD.finditer(text)] if text is not None else None
    start = 0
    while start < len(tags):
        if not tags[start].startswith("B-"):
            start += 1
            continue
        kind, stop = tags[start][2:], start + 1
        while stop < len(tags) and tags[stop] == f"I-{kind}":
            stop += 1
        if places is None or text is None:
            yield {"type": kind, "words": [start, stop], "text": " ".join(words[start:stop])}
        else:
            first, last = places[start][0], places[stop - 1][1]
            yield {"type": kind, "start": first, "end": last, "text": text[first:last]}
        start = stop


def _plain_rows(path: Path, count: int) -> Iterator[Named]:
    """The lines of a file, numbered, blank ones left out; a tab parts texts only where there are two."""
    for number, line in text_lines(path):
        if not line.strip():
            continue
        texts = line.split("\t") if count == 2 else [line]
        if len(texts) != count or not all(map(str.strip, texts)):
            raise InputError(f"{path}:{number}: expected two texts parted by a tab")
        yield f"{path}:{number}", str(number), texts


def _json_texts(path: Path, columns: Sequence[str]) -> Iterator[Named]:
    for where, row in json_rows(path):
        for column in columns:
            if column not in row:
                raise InputError(f"{where}: no '{column}' (expected {', '.join(columns)})")
            if not isinstance(row[column], str) or not row[column].strip():
                raise InputError(f"{where}: expected a text as '{column}', found {row[column]!r:.40}")
        name = row_id(row.get("id", where.rpartition(":")[2]), where)
        yield where, name, [row[column] for column in columns]


def _words(texts: Sequence[str], kind: TaskType) -> tuple[tuple[tuple[str, ...], ...], Spans]:
    """The words of texts, parted as the readers of the task types part theirs: a model was trained on these.
    Only corpora of tags come with their marks as words of their own. And where the mentions of a relation
    are, around which a text that is too long is cut."""
    if kind.unit == "entity_pair":
        words, spans = marked_by_any(texts[0])
        return (words,), spans
    if kind.head == "token":
        return tuple(tuple(WORD.findall(text)) for text in texts), ()
    return tuple(tuple(text.split()) for text in texts), ()


def _blank(kind: TaskType, labels: Sequence[str], words: int) -> Label:
    """A label that stands where there is none."""
    if kind.head == "token":
        return ("O",) * words
    blanks: dict[str, Label] = {"regression": 0.0, "multi_label_classification": ()}
    return blanks.get(kind.problem, labels[0])


def _probabilities(kind: TaskType, logits: np.ndarray) -> list[float]:
    if kind.problem == "multi_label_classification":
        shares = 1 / (1 + np.exp(-logits))
    else:
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
    return [round(float(share), 6) for share in shares]
