"""Relations as BLUE distributes them: a table of sentences in which the mentions are masked already."""

from dataclasses import replace
from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.mentions import mask_spans, separate_masks
from jobs.data.readers.spec import DataSpec, pair_or_text, reading
from store.errors import InputError

COLUMNS = {"id": "index", "text_a": "sentence", "label": "label"}


def read_blue_relation(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order, without quoting. A copy without a header has the columns index, sentence, label.

    Masks stay as they are written; the readers of the original corpora write the same ones.
    """
    spec = spec.model_copy(update={"columns": COLUMNS | spec.columns})
    header = [spec.columns[role] for role in COLUMNS]
    examples: list[Example] = []
    with reading(path), path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            if number == 1 and set(header) <= set(cells):
                header = cells
                continue
            where = f"{path}:{number}"
            if len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} columns, expected {', '.join(header)}")
            row = dict(zip(header, cells, strict=True))
            row[spec.columns["text_a"]] = separate_masks(row[spec.columns["text_a"]])
            example = pair_or_text(row, spec, len(examples), where)
            try:
                spans = mask_spans(example.texts[0])
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            examples.append(replace(example, spans=spans))
    return examples
