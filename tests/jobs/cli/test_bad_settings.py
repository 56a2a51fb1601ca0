"""Suites and tasks with any value in any place: one line, or it works; nothing is left."""

import json
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "whole_suite.yaml").read_text("utf-8"))
TASK = yaml.safe_load((HERE / "whole_task.yaml").read_text("utf-8"))

# In place of any value of a suite or a task; a few are right in a few places.
VALUES = {
    "null": None,
    "true": True,
    "number": 5,
    "negative": -5,
    "zero": 0,
    "huge": 10**400,
    "fraction": 0.5,
    "empty text": "",
    "spaces": "  ",
    "text": "zz",
    "path": "../../escaped/evil",
    "long text": "z" * 5000,
    "NUL": "z\0z",
    "half a character": "z\ud800",
    "bad pattern": "(((",
    "braces": "{first} {0} {",
    "markup": "[/zz]",
    "list": [],
    "list of one": ["zz"],
    "twice": ["zz", "zz"],
    "list of lists": [[[]]],
    "list of null": [None],
    "list of mappings": [{"zz": 1}],
    "mapping": {},
    "unknown key": {"zz": 1},
    "number as key": {"1": 1},  # see write
    "empty key": {"": 1},
}
SHARE = 3  # of the other values, tried at one place
OVERRIDES = ("", "null", "[", "[[[]]]", "&x [*x]", "[" * 3000, "\udcff", "!!int x", "{a: 1, a: 1}")
ALIEN = ("list of lists", "unknown key", "number as key")  # these are right nowhere


def places(value, path=()):
    """Where the values of nested settings are, the containers included."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from places(item, (*path, key))


def changed(settings, path, value):
    """A copy of nested settings with another value at a path."""
    first, *rest = path
    copied = dict(settings) if isinstance(settings, dict) else list(settings)
    copied[first] = changed(copied[first], rest, value) if rest else value
    return copied


def write(name, settings):
    """As YAML, of which JSON is nearly a part: only its keys are always text."""
    text = json.dumps(settings).replace('{"1": 1}', "{1: 1}")
    Path(name).write_text(text, "utf-8")


def test_the_suite_and_the_task_are_right_as_they_are(watched):
    result = watched.harmless("suite", "plan", "suite.yaml", "--format", "json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert {job["kind"] for job in plan["jobs"]} == {
        *("adapt", "randomise", "finetune", "extract", "probe"),
        *("attention", "similarity", "generate", "answer"),
    }
    assert plan["recipes"]["own"]["learning_rate"] == 0.0007


def tried(path):
    """Values for one place: the aliens, and some of the others, which are others at the next place."""
    kinds = sorted(set(VALUES) - set(ALIEN))
    start = SHARE * sum(map(len, map(str, path)))
    return {*ALIEN, *(kinds[(start + n) % len(kinds)] for n in range(SHARE))}


@pytest.mark.parametrize("section", list(SUITE))
def test_a_suite_with_another_value(watched, section):
    for path in places(SUITE):
        for kind in tried(path) if path[0] == section else ():
            write("suite.yaml", changed(SUITE, path, VALUES[kind]))
            result = watched.harmless("suite", "plan", "suite.yaml")
            assert result.exit_code == 2 or kind not in ALIEN, (path, kind)


@pytest.mark.parametrize("section", list(TASK))
def test_a_task_with_another_value(watched, section):
    for path in places(TASK):
        for kind in tried(path) if path[0] == section else ():
            write("own.yaml", changed(TASK, path, VALUES[kind]))
            result = watched.harmless("task", "check", "own.yaml")
            assert result.exit_code == 2 or kind not in ALIEN, (path, kind)
            if result.exit_code == 0:
                watched.harmless("task", "show", "own.yaml")


@pytest.mark.parametrize("section", list(SUITE))
def test_an_override_of_any_key(watched, section):
    for path in places(SUITE):
        for text in OVERRIDES if path[0] == section and len(path) < 3 else ():
            key = ".".join(map(str, path))
            watched.harmless("suite", "plan", "suite.yaml", "--set", f"{key}={text}")


NONSENSE = {
    "name": ["", " "],
    "models": [[], {}, ["a", "a"], [""], "bert", [5], {"": {}}],
    "tasks": [[], "demo-nli", ["demo-nli", "demo-nli"], ["own.yaml", "./own.yaml"], [""], [5], ["sik"]],
    "fractions": [[], [0, 0], [-1], [101], [True], "few", 5, [100, 100.0]],
    "seeds": [[], [1, 1], [-1], [2**32], [1.5], [True], 1],
    "recipe": [{"epoch": 1}, {"epochs": -1}, {"epochs": True}, []],
    "recipes": [{"sick": {}}, {"own.yaml": {}, "own": {}}, {"nowhere.yaml": {}}, {"own": {"epoch": 1}}],
    "extract.probing.splits": [{}, {"train": 0}, {"train": -5}, {"trian": 5}, {"train": True}, ["train"]],
    "extract.probing.options.keep": [[], "hidden", ["hidden", "hidden"], ["attention"]],
    "extract.probing.options.hidden_layers": [[], [-1], [0, 0], "all"],
    "probe.0.view": ["probin", ""],
    "probe.0.dev": ["train", "test", "trian"],
    "probe.0.tasks": [["sick"], ["nowhere.yaml"], "own", ["own", "own.yaml"]],
    "probe.0.options.strengths": [[], [0.0], [-1.0], [0.1, 0.1]],
    "probe.0.options.probe": ["linear", "svm", "scalar-mix", "foo"],  # width is for networks only
    "attention.0.options": [{"measures": [], "patterns": []}, {"measures": ["cosine", "cosine"]}],
    "similarity.0.options.measures": [[], ["foo"], "rsa"],
    "generate.0.prompts": [[], "Patients"],
    "generate.0.models": [["nobody"], ["lean", "lean"]],
    "answer.0.task": ["sik", "nowhere.yaml", ""],
    "models.drawn": [{"seed": 3}, {"source": "new", "adapt": SUITE["models"]["new"]["adapt"]}],
    "models.new.adapt.objective": ["clm"],  # which masks nothing
    "models.new.adapt.new.heads": [3],
    "models.lean.adapt.corpus.cleaning": [["foo"], "unicode"],
}


@pytest.mark.parametrize("key", list(NONSENSE))
def test_a_suite_that_makes_no_sense(watched, key):
    path = [int(step) if step.isdigit() else step for step in key.split(".")]
    for value in NONSENSE[key]:
        write("suite.yaml", changed(SUITE, path, value))
        for command in (("suite", "plan"), ("results",)):
            line = watched.refused(*command, "suite.yaml")
            assert "suite.yaml" in line or "suite 'whole'" in line or "unknown task" in line, (value, line)


NONSENSE_OF_TASKS = {
    "labels": [[], ["a"], ["a", "a"], "abc", [""], [True, False]],
    "type": ["pairs", "", 5],
    "data.files": [{}, {"test": "a.jsonl"}, {"trian": "a.jsonl"}, {"train": ""}, "a.jsonl"],
    "data.hold_out": [{"dev": 1}, {"dev": 0}, {"test": 0.5}, {"dev": 0.9, "foo": 0.1}],
    "data.document": ["(", "x", "(a)(b)", "(?P<n", "*", "("],
    "published": [
        [{"metric": "acuracy", "value": 0.5, "model": "m", "source": "s"}],
        [{"metric": "accuracy", "value": 83.1, "model": "m", "source": "s"}],
        [TASK["published"][0], TASK["published"][0]],
    ],
    "recipe": [{"keep": "first"}, {"epochs": True}, {"batch_size": 0}, {"max_length": 0}],
}


@pytest.mark.parametrize("key", list(NONSENSE_OF_TASKS))
def test_a_task_that_makes_no_sense(watched, key):
    for value in NONSENSE_OF_TASKS[key]:
        write("own.yaml", changed(TASK, key.split("."), value))
        for command in (("task", "check", "own.yaml"), ("suite", "plan", "suite.yaml")):
            assert "own.yaml" in watched.refused(*command) or key == "type", value
