"""Which column of a table is the id, a text or the label, by its values and, failing these, its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from microtome.jobs.data.readers.marks import MARKS, marked
from microtome.jobs.tasks.drafting.values import (
    Row,
    are_numbers,
    are_whole,
    classes_joined_by,
    has_decimal_comma,
    have_a_point,
    values_of,
)
from microtome.store.errors import InputError

OPEN = "?"  # stands for a value that only a person can give
MOST_CLASSES = 60
FEWEST_WORDS = 2.5  # on average, of a column of texts
ID_NAME = re.compile(r"(^|[_ -])(id|ids|index|idx|pmid|docid|key|guid|nr|number)$|ID$", re.IGNORECASE)
LABEL_NAMES = ("label", "gold_label", "labels", "class", "gold", "target", "category", "y", "score")
FIRST_NAMES = ("sentence1", "sentence_1", "sentence_a", "text_a", "premise", "question", "text1", "a")
SECOND_NAMES = ("sentence2", "sentence_2", "sentence_b", "text_b", "hypothesis", "text2", "b")
TEXT_NAMES = ("text", "sentence", "abstract", "report", "note", "body")


@dataclass
class Belief:
    """What is believed of a table. `remarks` are comments for the task file, by key."""

    type: str | None
    columns: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)


def believe(rows: Sequence[Row], wanted: str | None, label: str | None = None) -> Belief:
    """The roles of the columns and the type of the task; `wanted` is the type, and `label` the column of the
    label, if a person has said it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    words = _word_columns(rows, names)
    if words is not None and wanted in (None, "ner"):
        return Belief("ner", {"words": words[0], "label": words[1]})
    id = next((n for n in names if ID_NAME.search(n) and _unique(rows, n)), None)
    rest = [name for name in names if name != id]
    texts = [name for name in rest if _is_text(rows, name)]
    belief = Belief(wanted, {"id": id} if id is not None else {})
    others = [name for name in rest if name not in texts and label in (None, name)]
    multi_label = [
        n for n in others if wanted in (None, "multi-label") and classes_joined_by(values_of(rows, n))
    ]
    classes = [n for n in others if n not in multi_label and _is_class(rows, n, scored=len(texts) > 1)]
    numbers = [n for n in others if n not in classes and _is_number(rows, n)]
    lists = [n for n in others if n in multi_label or _is_list(rows, n)]
    if wanted == "similarity":
        numbers += [n for n in classes if _is_number(rows, n)]
        classes = []
    _believe_texts(belief, texts, wanted)
    _believe_label(belief, classes, numbers, lists, wanted)
    _believe_values(belief, values_of(rows, belief.columns["label"]))
    if belief.type is None:
        belief.type = _type_of(belief, rows)
    if belief.type == "relation" and "marks" not in belief.settings:
        marks = _marks(rows, belief.columns.get("text_a", OPEN))
        if marks is not None:
            belief.settings["marks"] = marks
        else:
            belief.settings["marks"] = OPEN
            belief.remarks["data.marks"] = (
                f"QUESTION: how are the two mentions marked? one of {', '.join(MARKS)}"
            )
    return belief


def _believe_texts(belief: Belief, texts: list[str], wanted: str | None) -> None:
    pairs = wanted in ("pair-classification", "similarity", "question-answering")
    one = next((n for n in texts if n.lower() in FIRST_NAMES), None)
    other = next((n for n in texts if n.lower() in SECOND_NAMES), None)
    single = next((n for n in texts if n.lower() in TEXT_NAMES), None)
    if one is not None and other is not None and wanted in (None, *_PAIRS):
        belief.columns |= {"text_a": one, "text_b": other}
    elif len(texts) == 1 and not pairs:
        belief.columns["text_a"] = texts[0]
    elif len(texts) == 2 and (pairs or wanted is None):
        belief.columns |= {"text_a": texts[0], "text_b": texts[1]}
    elif single is not None and not pairs:
        belief.columns["text_a"] = single
    else:
        for role in ("text_a", "text_b") if pairs else ("text_a",):
            belief.columns[role] = OPEN
            belief.remarks[f"data.columns.{role}"] = f"QUESTION: which column? {_choice(texts)}"
    left = [name for name in texts if name not in belief.columns.values()]
    if left and OPEN not in belief.columns.values():
        belief.remarks["data.columns.text_a"] = f"other texts, not used: {', '.join(left)}"


def _believe_label(
    belief: Belief, classes: list[str], numbers: list[str], lists: list[str], wanted: str | None
) -> None:
    targets: list[tuple[str, list[str]]] = [("class", classes), ("number", numbers), ("classes", lists)]
    if wanted == "multi-label":
        targets = [("classes", [*lists, *classes])]
    if wanted == "similarity":
        targets = [("number", numbers)]
    for target, candidates in targets:
        if not candidates:
            continue
        named = [name for name in candidates if name.lower() in LABEL_NAMES]
        likely = named[:1] if named else candidates
        belief.columns["label"] = likely[0] if len(likely) == 1 else OPEN
        if target != "class":
            belief.settings["target"] = target
        others = [n for _, names in targets for n in names if n != belief.columns["label"]]
        if len(likely) > 1:
            belief.remarks["data.columns.label"] = f"QUESTION: which column? {_choice(likely)}"
        elif others:
            belief.remarks["data.columns.label"] = f"other columns that could be it: {', '.join(others)}"
        return
    belief.columns["label"] = OPEN
    belief.remarks["data.columns.label"] = "QUESTION: which column has the label? none looks like it"


def _believe_values(belief: Belief, labels: Sequence[Any]) -> None:
    """How the labels are written, where this is not the usual way."""
    target = belief.settings.get("target")
    joined_by = classes_joined_by(labels) if target == "classes" else None
    if joined_by is not None:
        belief.remarks["data.target"] = "several classes in a cell; class, if each cell is one class"
    if joined_by not in (None, "comma"):
        belief.settings["classes_joined_by"] = joined_by
    if target == "number" and has_decimal_comma(labels):
        belief.settings["decimal"] = "comma"


_PAIRS = ("pair-classification", "similarity", "question-answering")


def _type_of(belief: Belief, rows: Sequence[Row]) -> str:
    target = belief.settings.get("target", "class")
    if "text_b" in belief.columns:
        return "similarity" if target == "number" else "pair-classification"
    if target == "classes":
        return "multi-label"
    if target == "number":
        raise InputError(
            "one text and a number: there is no such type of task; name the label with --column label=NAME"
        )
    marks = _marks(rows, belief.columns["text_a"])
    if marks is not None:
        belief.settings["marks"] = marks
        return "relation"
    return "classification"


def _marks(rows: Sequence[Row], column: str) -> str | None:
    """The convention by which nearly all texts mark two mentions."""
    texts = [str(row.get(column, "")) for row in rows[:200]]
    for marks in MARKS:
        fitting = 0
        for text in texts:
            try:
                marked(text, marks)
            except InputError:
                continue
            fitting += 1
        if fitting >= 0.95 * len(texts):
            return marks
    return None


def _unique(rows: Sequence[Row], name: str) -> bool:
    values = values_of(rows, name)
    return len(values) == len(rows) and len(set(map(str, values))) == len(rows)


def _is_number(rows: Sequence[Row], name: str) -> bool:
    return are_numbers(values_of(rows, name))


def _is_text(rows: Sequence[Row], name: str) -> bool:
    values = values_of(rows, name)
    if not values or not all(isinstance(value, str) for value in values) or _is_number(rows, name):
        return False
    long = sum(len(value.split()) for value in values) / len(values) >= FEWEST_WORDS
    return long and (len(set(values)) > MOST_CLASSES or len(set(values)) > 0.2 * len(values))


def _is_class(rows: Sequence[Row], name: str, *, scored: bool) -> bool:
    """Whether the values look like classes. Numbers do if they are whole; where there are pairs, which may be
    `scored`, more than two numbers with a point do not."""
    values = values_of(rows, name)
    if not all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
        return False
    distinct = len(set(values))
    if are_numbers(values) and (not are_whole(values) or (scored and distinct > 2 and have_a_point(values))):
        return False
    return 2 <= distinct <= min(MOST_CLASSES, max(2, len(values) // 2))


def _is_list(rows: Sequence[Row], name: str) -> bool:
    values = values_of(rows, name)
    return bool(values) and all(
        isinstance(v, list) and all(isinstance(i, str | int) for i in v) for v in values
    )


def _word_columns(rows: Sequence[Row], names: list[str]) -> tuple[str, str] | None:
    """A column of lists of words and one of as many tags."""
    lists = [name for name in names if _is_list(rows, name)]
    for words in lists:
        for tags in lists:
            same = all(len(row[words]) == len(row[tags]) for row in rows if row.get(words) and row.get(tags))
            distinct = {str(tag) for row in rows for tag in row.get(tags) or ()}
            words_seen = {word for row in rows for word in row.get(words) or ()}
            if (
                words != tags
                and same
                and ("O" in distinct or "0" in distinct)
                and len(distinct) < len(words_seen)
            ):
                return words, tags
    return None


def _choice(names: Sequence[str]) -> str:
    return " or ".join(names) if names else "none looks like it"
