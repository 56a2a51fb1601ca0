"""MedSTS as BLUE has it: a table whose last three columns are two sentences and their score."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import tab_rows
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

SCORE = "score"


def read_medsts(path: Path, spec: DataSpec) -> list[Example]:
    """Columns go by position, since their names differ between copies. The id is the number of the row.

    Without labels the last column may still be the `score`, or it is the second sentence.
    """
    examples: list[Example] = []
    for where, row in tab_rows(path):
        cells = list(row.values())
        if not spec.labelled and list(row)[-1] != SCORE:
            cells.append("")
        if len(cells) < 3:
            raise InputError(f"{where}: expected sentence1, sentence2 and score, found {len(cells)} columns")
        first, second, score = cells[-3:]
        texts = (tuple(first.split()), tuple(second.split()))
        examples.append(Example(str(len(examples)), texts, spec.number(score, where), where=where))
    return examples
