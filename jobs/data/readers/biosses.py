"""BIOSSES before it was averaged: sentence pairs with the scores of five annotators."""

from pathlib import Path

from jobs.data.examples import Example
from jobs.data.readers.parsing import tab_rows
from jobs.data.readers.spec import DataSpec

ANNOTATORS = tuple(f"annotator_{letter}" for letter in "abcde")


def read_biosses(path: Path, spec: DataSpec) -> list[Example]:
    """The label is the mean of the five scores, 0 to 4."""
    examples = []
    for where, row in tab_rows(path, needs=("sentence_id", "sentence_1", "sentence_2", *ANNOTATORS)):
        scores = [spec.number(row[annotator], where) for annotator in ANNOTATORS]
        texts = (tuple(row["sentence_1"].split()), tuple(row["sentence_2"].split()))
        examples.append(Example(row["sentence_id"], texts, sum(scores) / len(scores)))
    return examples
