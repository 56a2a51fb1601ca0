"""Commands times what can be wrong with what they are given: never a traceback, one line, nothing left."""

import json
import os

import click
import pytest
import yaml
from bad_values import ALIEN, CONTENTS, SUITE, TASK, VALUES, changed, places, spoil
from click.testing import CliRunner

from jobs.cli import main

ROWS = '{"id": "1", "a": "x y", "b": "y", "y": "no"}\n{"id": "2", "a": "z", "b": "y", "y": "no"}\n'
OF_SUITES = [
    ("suite", "plan", "FILE"),
    ("suite", "status", "FILE"),
    ("suite", "run", "FILE", "--local"),
    ("results", "FILE"),
    ("report", "FILE"),
    ("cache", "gc", "--suite", "FILE"),
]
OF_TASKS = [
    ("task", "show", "FILE"),
    ("task", "check", "FILE"),
    ("finetune", "--task", "FILE", "--model", "bert"),
    ("extract", "--task", "FILE", "--checkpoint", "bert"),
    ("generate", "--task", "FILE", "--checkpoint", "bert"),
    ("suite", "plan", "demo", "--set", "tasks=[FILE]"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory: a whole suite with a task of its own and its data, and a corpus."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").write_text(ROWS)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Fever and cough.\n")
    write("suite.yaml", SUITE)
    write("own.yaml", TASK)
    return tmp_path


def write(name, settings):
    with open(name, "w", encoding="utf-8") as stream:
        yaml.safe_dump(settings, stream, sort_keys=False)


def tree(folder):
    """Everything below a folder, with sizes and times."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            about = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = about.st_size, about.st_mtime_ns
    return found


def run(*arguments):
    """What a command printed; whatever it was given, no traceback, and one line where it is refused."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    assert result.exit_code in (0, 2), (arguments, result.output)
    if result.exit_code == 2:
        assert len(result.stderr.splitlines()) == 1, (arguments, result.stderr)
        assert result.stderr.startswith("error: "), result.stderr
        assert result.stderr.isprintable() or result.stderr[:-1].isprintable()
    return result


def refused(folder, *arguments):
    """The one line of a command that must be refused and leave nothing."""
    before = tree(folder)
    result = run(*arguments)
    assert result.exit_code == 2, (arguments, result.output)
    assert tree(folder) == before, arguments
    return result.stderr


def harmless(folder, *arguments):
    """A command that may work, but writes nothing."""
    before = tree(folder)
    result = run(*arguments)
    assert tree(folder) == before, arguments
    return result


def with_file(command, name):
    return [word.replace("FILE", name) for word in command]


def test_the_suite_and_the_task_are_right_as_they_are(folder):
    result = harmless(folder, "suite", "plan", "suite.yaml", "--format", "json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert {job["kind"] for job in plan["jobs"]} == {
        *("adapt", "randomise", "finetune", "extract", "probe"),
        *("attention", "similarity", "generate", "answer"),
    }
    assert plan["recipes"]["own"]["learning_rate"] == 0.0007


@pytest.mark.parametrize("content", list(CONTENTS))
@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_file_that_is_no_settings(folder, command, content):
    (folder / "bad.yaml").write_bytes(CONTENTS[content])
    line = refused(folder, *with_file(command, "bad.yaml"))
    assert "bad.yaml" in line


@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_path_that_is_no_file(folder, command):
    for path in spoil(folder).values():
        refused(folder, *with_file(command, path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_file_that_may_not_be_read(folder, command):
    (folder / "suite.yaml").chmod(0)
    assert "Permission denied" in refused(folder, *with_file(command, "suite.yaml"))


@pytest.mark.parametrize("path", list(places(SUITE)), ids=lambda path: ".".join(map(str, path)))
def test_a_suite_with_another_value(folder, path):
    for kind, value in VALUES.items():
        write("suite.yaml", changed(SUITE, path, value))
        result = harmless(folder, "suite", "plan", "suite.yaml")
        assert result.exit_code == 2 or kind not in ALIEN, (path, kind)


@pytest.mark.parametrize("path", list(places(TASK)), ids=lambda path: ".".join(map(str, path)))
def test_a_task_with_another_value(folder, path):
    for kind, value in VALUES.items():
        write("own.yaml", changed(TASK, path, value))
        for command in (("show", "own.yaml"), ("check", "own.yaml")):
            result = harmless(folder, "task", *command)
            assert result.exit_code == 2 or kind not in ALIEN, (path, kind)


@pytest.mark.parametrize("path", list(places(SUITE)), ids=lambda path: ".".join(map(str, path)))
def test_an_override_of_any_key(folder, path):
    key = ".".join(map(str, path))
    for text in ("", "null", "[", "[[[]]]", "{zz: 1}", "&x [*x]", "[" * 3000, "\udcff", "!!int x", "{a: 1, a: 1}"):
        harmless(folder, "suite", "plan", "suite.yaml", "--set", f"{key}={text}")


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
def test_a_suite_that_makes_no_sense(folder, key):
    path = [int(step) if step.isdigit() else step for step in key.split(".")]
    for value in NONSENSE[key]:
        write("suite.yaml", changed(SUITE, path, value))
        for command in (("suite", "plan"), ("results",)):
            line = refused(folder, *command, "suite.yaml")
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
def test_a_task_that_makes_no_sense(folder, key):
    for value in NONSENSE_OF_TASKS[key]:
        write("own.yaml", changed(TASK, key.split("."), value))
        for command in (("task", "check", "own.yaml"), ("suite", "plan", "suite.yaml")):
            assert "own.yaml" in refused(folder, *command) or key == "type", value


def commands(group=main, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


TEXTS = ["", " ", "zz", "\udcff", "x" * 300, "x/" * 3000, "../..", "/", ".", "loop.yaml", "file/x", "[/zz]", "=1"]
NUMBERS = ["", "x", "nan", "inf", "-inf", "-1", "1e400", "9" * 400, "\udcff", "٣x"]


def needed(command, without):
    """Words for everything that a command must be given, except one parameter."""
    words = []
    for parameter in command.params:
        if parameter is without or not parameter.required:
            continue
        value = "new-folder/x" if parameter.name == "out" else "suite.yaml" if parameter.name == "suite" else "zz"
        words += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return words


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_option_with_what_it_cannot_take(folder, path, command):
    spoil(folder)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.is_flag:
            continue
        numeric = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
        for text in NUMBERS if numeric else TEXTS:
            words = [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
            before = tree(folder)
            result = run(*path, *needed(command, parameter), *words)
            if result.exit_code == 2:
                assert tree(folder) == before, (path, words)
            if numeric and text in ("", "x", "nan", "-inf"):
                assert result.exit_code == 2, (path, words)


@pytest.mark.parametrize("variable", ["MICROTOME_STORE", "MICROTOME_DATA", "MICROTOME_MODELS"])
@pytest.mark.parametrize(
    "command",
    [
        ("suite", "plan", "suite.yaml"),
        ("suite", "status", "suite.yaml"),
        ("results", "suite.yaml"),
        ("report", "suite.yaml"),
        ("task", "ls"),
        ("task", "check", "demo-ner"),
        ("model", "ls"),
        ("cache", "ls"),
        ("cache", "gc"),
        ("cache", "verify"),
        ("cache", "show", "zz"),
        ("cache", "rm", "zz"),
        ("probe", "--train", "zz", "--test", "zz"),
        ("finetune", "--task", "demo-ner", "--model", "zz"),
        ("export", "--checkpoint", "zz", "--out", "new"),
    ],
    ids=" ".join,
)
def test_places_that_are_none(folder, monkeypatch, variable, command):
    for place in (*spoil(folder).values(), "file", "~nobody/x", "", " "):
        monkeypatch.setenv(variable, place)
        harmless(folder, *command)


@pytest.mark.parametrize(
    "arguments",
    [
        ("cache", "ls", "--kind", "foo"),
        ("cache", "gc", "--older-than", "nan"),
        ("cache", "gc", "--older-than", "inf"),
        ("cache", "verify", "--recompute", "nan"),
        ("suite", "run", "suite.yaml", "--gpus-per-job", "nan"),
        ("suite", "run", "suite.yaml", "--only", "foo"),
        ("suite", "run", "demo", "--local", "--only", "answer"),
        ("suite", "plan", "suite.yaml", "--set", "seeds=[1]", "--set", "seeds=[2]"),
        ("suite", "plan", "suite.yaml", "--set", "recipes.sick.epochs=1"),
        ("suite", "plan", "demo", "--set", "models.bert.source=x"),
        ("suite", "plan", "demo", "--set", "generate.0.models=[bert]"),
        ("suite", "plan", "suite.yaml", "--set", ".=1"),
        ("suite", "plan", "suite.yaml", "--set", "=1"),
        ("suite", "plan", "suite.yaml", "--set", "seeds"),
        ("results", "suite.yaml", "--format", "parquet"),
        ("results", "suite.yaml", "--out", "rows.txt"),
        ("suite", "foo"),
        ("foo",),
        ("--foo",),
        ("finetune",),
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense(folder, arguments):
    refused(folder, *arguments)


OUT = {"a folder": "rows", "below a file": "own.yaml/x", "a loop": "loop.yaml", "below a loop": "loop.yaml/x"} | {
    "too long": "x" * 300,
    "far too long": "x/" * 3000,
    "a full disk": "/dev/full",
    "no place for files": "/proc/x",
}


@pytest.mark.parametrize("place", list(OUT))
@pytest.mark.parametrize(
    "command",
    [("results", "suite.yaml", "--format", form) for form in ("csv", "json", "parquet")],
    ids=" ".join,
)
def test_results_that_cannot_be_written(folder, command, place):
    spoil(folder)
    refused(folder, *command, "--out", OUT[place])


def test_results_into_folders_that_are_not_there(folder):
    run("results", "suite.yaml", "--format", "csv", "--out", "new/and/newer/rows.csv")
    assert [path.name for path in (folder / "new" / "and" / "newer").iterdir()] == ["rows.csv"]
