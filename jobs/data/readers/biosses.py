"""BIOSSES before it was averaged: sentence pairs with the scores of five annotators."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import tab_rows
from microtome.jobs.data.readers.spec import DataSpec

ANNOTATORS = tuple(f"annotator_{letter}" for letter in "abcde")


def read_biosses(path: Path, spec: DataSpec) -> list[Example]:
    """The label is the mean of the five scores, 0 to 4."""
    examples = []
    annotators = ANNOTATORS if spec.labelled else ()
    for where, row in tab_rows(path, needs=("sentence_id", "sentence_1", "sentence_2", *annotators)):
        scores = [spec.number(row[annotator], where) for annotator in annotators]
        texts = (tuple(row["sentence_1"].split()), tuple(row["sentence_2"].split()))
        label = sum(scores) / max(1, len(scores))
        examples.append(Example(row["sentence_id"], texts, label, where=where))
    return examples
