"""What no example may be, whatever file it came from."""

import math
from collections.abc import Sequence
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.store.errors import InputError


def refuse_unsound(examples: Sequence[Example], path: Path, *, labelled: bool = True) -> None:
    """InputError with file and line for the first example without id, words or label, with an id that another
    has, with spans outside its text, or with a score that is not finite."""
    seen: dict[str, str] = {}
    for example in examples:
        where = example.where or f"{path}: example {example.id}"
        fault = _of_text(example) or (_of_label(example) if labelled else "")
        if fault:
            raise InputError(f"{where}: {fault}")
        if example.id in seen:
            raise InputError(f"{where}: the id '{example.id}' is there already ({seen[example.id]})")
        seen[example.id] = where


def _of_text(example: Example) -> str:
    if not example.id.strip():
        return "an empty id"
    for text in example.texts:
        if not text:
            return "an empty text"
        if not all(word.strip() for word in text):
            return "an empty word"
    if any("\0" in word for word in (example.id, *(word for text in example.texts for word in text))):
        return "a NUL character"
    size = len(example.texts[0])
    if example.spans and not all(0 <= start < end <= size for start, end in example.spans):
        return f"a mention outside the text, which has {size} words: {example.spans}"
    return ""


def _of_label(example: Example) -> str:
    label = example.label
    if isinstance(label, float):
        return "" if math.isfinite(label) else f"the score {label} is not finite"
    names = (label,) if isinstance(label, str) else label
    return "" if all(name.strip() for name in names) else "an empty label"
