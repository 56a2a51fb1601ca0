"""An example from a row of named values: texts and a class, classes or a number; or words and tags.

A value may lie in an object or a list of the row (see `with_nested`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from microtome.jobs.data.examples import Example, Label
from microtome.jobs.data.readers.columns import TEXTS, columns_of, with_nested
from microtome.jobs.data.readers.formats import DELIMITERS
from microtome.jobs.data.readers.marks import marked, marks_that_fit
from microtome.jobs.data.readers.parsing import text_of, texts_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.data.readers.tags import OUTSIDE, iob2_tags
from microtome.store.errors import InputError


def example_of(
    row: Mapping[str, Any], spec: DataSpec, number: int, where: str, columns: dict[str, str] | None = None
) -> Example:
    """The example of a row; its id is `number` if it has none. `columns` are role -> column of the file; they
    are looked for in the row itself where they are not given."""
    if columns is None:
        row = with_nested(row, spec.columns, where)
        columns = columns_of(spec.columns, list(row), where, labelled=spec.labelled)
    id = row_id(row[columns["id"]] if "id" in columns else number, where)
    document = row_id(row[columns["document"]], where) if "document" in columns else ""
    if "words" in columns:
        return replace(_tagged(row, spec, columns, id, where), document=document)
    texts = [text_of(row[columns[role]], f"{where}: '{columns[role]}'") for role in TEXTS if role in columns]
    label = _label(row[columns["label"]], spec, where) if spec.labelled else ""
    if spec.marks is None:
        words_of_texts = tuple(tuple(text.split()) for text in texts)
        return Example(id, words_of_texts, label, document=document, where=where)
    try:
        words, spans = marked(texts[0], spec.marks)
    except InputError as error:
        raise InputError(f"{where}: {error}{marks_that_fit(texts[0])}") from None
    return Example(id, (words,), label, spans, document=document, where=where)


def row_id(value: Any, where: str) -> str:
    """The id of a row, or of its document: a text or a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: expected an id, found {type(value).__name__} {value!r:.40}")
    return str(value)


def _tagged(row: Mapping[str, Any], spec: DataSpec, columns: dict[str, str], id: str, where: str) -> Example:
    words = tuple(texts_of(row[columns["words"]], f"{where}: '{columns['words']}'"))
    tags: tuple[str, ...] = ("O",) * len(words)
    if spec.labelled:
        published = row[columns["label"]]
        if not isinstance(published, list):
            raise InputError(f"{where}: expected a list of tags, found {published!r:.40}")
        tags = tuple(spec.label(tag, where) for tag in published)
        if spec.scheme != "iob2":
            tags = iob2_tags(tags, spec, [where] * len(tags))
    if len(words) != len(tags):
        raise InputError(f"{where}: {len(words)} words but {len(tags)} tags")
    return Example(id, (words,), tags, where=where)


def _label(published: Any, spec: DataSpec, where: str) -> Label:
    if spec.target == "number":
        return spec.number(published, where)
    if spec.target == "class":
        return spec.label(published, where)
    if isinstance(published, str):
        names_in_text = published.split(DELIMITERS[spec.classes_joined_by]) if published.strip() else []
        published = [name.strip() for name in names_in_text]
    if not isinstance(published, list):
        raise InputError(f"{where}: expected classes in one text, or a list of them, found {published!r:.40}")
    kept = [name for name in published if spec.label_map.get(str(name)) != OUTSIDE]
    names = tuple(spec.label(name, where) for name in kept)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a class is named twice in {published!r:.60}")
    return names
