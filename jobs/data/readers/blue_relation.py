"""Relations as BLUE distributes them: a table of sentences in which the mentions are masked already."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.opening import text_lines
from microtome.jobs.data.readers.rows import example_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

COLUMNS = {"id": "index", "text_a": "sentence", "label": "label"}


def read_blue_relation(path: Path, spec: DataSpec) -> list[Example]:
    """Rows in order, without quoting. A copy without a header has the columns index, sentence, label.

    Masks stay as they are written; the readers of the original corpora write the same ones.
    """
    spec = spec.model_copy(update={"columns": COLUMNS | spec.columns, "marks": "masks"})
    usual = [str(spec.columns[role]) for role in COLUMNS if spec.labelled or role != "label"]
    header: list[str] = []
    examples: list[Example] = []
    for number, line in text_lines(path):
        cells = line.split("\t")
        if cells == [""]:
            continue
        where = f"{path}:{number}"
        if not header:
            header = _header(cells, usual, where)
            if header is cells:
                continue
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} columns, expected {', '.join(header)}")
        examples.append(example_of(dict(zip(header, cells, strict=True)), spec, len(examples), where))
    return examples


def _header(cells: list[str], usual: list[str], where: str) -> list[str]:
    """The first line if it is a header, else the usual one. Without labels, a column of them may still be."""
    if len(set(cells)) < len(cells) and set(usual) & set(cells):
        raise InputError(f"{where}: the header has a column twice: {', '.join(cells)}")
    if set(usual) <= set(cells):
        return cells
    return [*usual, COLUMNS["label"]] if len(usual) < len(cells) else usual
