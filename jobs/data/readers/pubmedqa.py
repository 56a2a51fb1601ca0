"""PubMedQA, the labelled questions: yes, no or maybe from the sections of an abstract."""

from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import json_objects, read_json, text_of, texts_of
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

ITEMS = "ori_pqal.json"
TEST_ANSWERS = "test_ground_truth.json"


def read_pubmedqa(path: Path, spec: DataSpec) -> list[Example]:
    """The test items for `test_ground_truth.json`; for `ori_pqal.json` all others.

    Both files lie in one folder: the test items are named in the one and asked in the other. Texts are the
    question and all contexts together. Without labels, any other file of items is read whole.
    """
    testing = path.name == TEST_ANSWERS
    items = json_objects(path.with_name(ITEMS) if testing else path, keyed_by="PMID")
    answers = {} if path.name not in (ITEMS, TEST_ANSWERS) and not spec.labelled else _answers(path)
    keys = answers if testing else [key for key in items if key not in answers]
    return [_example(f"{path}: item {key}", key, items.get(key), answers, spec) for key in keys]


def _example(where: str, key: str, item: Any, answers: dict[str, Any], spec: DataSpec) -> Example:
    if item is None:
        raise InputError(f"{where}: expected an object in {ITEMS}, found none")
    for name in ("QUESTION", "CONTEXTS"):
        if name not in item:
            raise InputError(f"{where}: has no {name}")
    contexts = texts_of(item["CONTEXTS"], f"{where}: CONTEXTS")
    question = text_of(item["QUESTION"], f"{where}: QUESTION")
    answer = answers[key] if key in answers else item.get("final_decision")
    texts = (tuple(question.split()), tuple(word for context in contexts for word in context.split()))
    return Example(key, texts, spec.label(answer, where), where=where)


def _answers(path: Path) -> dict[str, Any]:
    place = path.with_name(TEST_ANSWERS)
    found = read_json(place)
    if not isinstance(found, dict):
        raise InputError(f"{place}: expected an object keyed by PMID, found {type(found).__name__}")
    return found
