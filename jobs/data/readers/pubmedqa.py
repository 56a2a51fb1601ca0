"""PubMedQA, the labelled questions: yes, no or maybe from the sections of an abstract."""

from pathlib import Path
from typing import Any

from jobs.data.examples import Example
from jobs.data.readers.parsing import read_json
from jobs.data.readers.spec import DataSpec
from store.errors import InputError

ITEMS = "ori_pqal.json"
TEST_ANSWERS = "test_ground_truth.json"


def read_pubmedqa(path: Path, spec: DataSpec) -> list[Example]:
    """The test items for `test_ground_truth.json`; for `ori_pqal.json` all others.

    Both files lie in one folder: the test items are named in the one and asked in the other. Texts are the
    question and all contexts together.
    """
    testing = path.name == TEST_ANSWERS
    items = _object(path.with_name(ITEMS) if testing else path)
    answers = _object(path.with_name(TEST_ANSWERS))
    keys = answers if testing else [key for key in items if key not in answers]
    return [_example(f"{path}: item {key}", key, items.get(key), answers, spec) for key in keys]


def _example(where: str, key: str, item: Any, answers: dict[str, Any], spec: DataSpec) -> Example:
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected an object in {ITEMS}, found {type(item).__name__}")
    for name in ("QUESTION", "CONTEXTS"):
        if name not in item:
            raise InputError(f"{where}: has no {name}")
    contexts = tuple(word for context in item["CONTEXTS"] for word in context.split())
    answer = answers[key] if key in answers else item.get("final_decision")
    return Example(key, (tuple(item["QUESTION"].split()), contexts), spec.label(answer, where))


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object keyed by PMID, found {type(found).__name__}")
    return found
