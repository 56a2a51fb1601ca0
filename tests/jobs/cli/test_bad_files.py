"""Files, places and options that are none, for every command: one line, and nothing is left."""

import os

import click
import pytest

from microtome.jobs.cli import main

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CONTENTS = {
    "nothing": b"",
    "a comment": b"# nothing\n",
    "binary": bytes(range(256)),
    "latin-1": "name: caf\xe9\n".encode("latin-1"),
    "utf-16": "name: x\n".encode("utf-16"),
    "NUL": b"name: a\0b\n",
    "control": b"name: a\x1bb\n",
    "deep lists": b"[" * 5000 + b"]" * 5000,
    "deep mappings": b"{a: " * 3000 + b"}" * 3000,
    "deep blocks": b"".join(b" " * n + b"a:\n" for n in range(400)),
    "deep JSON": b'{"a":' * 60 + b"1" + b"}" * 60,
    "a list": b"- name\n",
    "a number": b"5\n",
    "a text": b"name\n",
    "null": b"null\n",
    "two documents": b"name: a\n---\nname: b\n",
    "a key twice": b"name: a\ndescription: b\nname: c\n",
    "a key twice below": b"name: a\nmodels:\n  x: {}\n  x: {}\n",
    "a mapping as key": b"{a: b}: c\n",
    "a list as key": b"? [a]\n: c\n",
    "an unknown tag": b"name: !zz a\n",
    "an object": b"name: !!python/object/apply:os.getcwd []\n",
    "a set": b"tasks: !!set {a, b}\n",
    "bytes": b"name: !!binary aGVsbG8=\n",
    "a false int": b"seeds: [!!int abc]\n",
    "an empty int": b"seeds: [!!int '']\n",
    "a false bool": b"name: !!bool abc\n",
    "an endless int": b"seeds: [" + b"1" * 5000 + b"]\n",
    "an unknown alias": b"name: *x\n",
    "a value in itself": b"tasks: &x [*x]\n",
    "a bomb": BOMB.encode(),
    "a tab": b"name:\n\t- a\n",
    "an open quote": b"name: 'a\n",
    "a merge of text": b"models:\n  <<: x\n",
    "half a character": b'name: "\\ud800"\n',
}
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


def with_file(command, name):
    return [word.replace("FILE", name) for word in command]


@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_file_that_is_no_settings(watched, command):
    for kind, content in CONTENTS.items():
        (watched.folder / "bad.yaml").write_bytes(content)
        line = watched.refused(*with_file(command, "bad.yaml"))
        assert "bad.yaml" in line, kind


@pytest.mark.parametrize(
    ("content", "number"),
    [("a key twice", 4), ("a key twice below", 5), ("latin-1", 2), ("control", 2), ("an unknown tag", 2)],
)
def test_the_line_is_named(watched, content, number):
    (watched.folder / "bad.yaml").write_bytes(b"# a comment\n" + CONTENTS[content])
    assert f"bad.yaml:{number}: " in watched.refused("suite", "plan", "bad.yaml")


@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_path_that_is_no_file(watched, command):
    for path in watched.spoiled():
        watched.refused(*with_file(command, path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("command", OF_SUITES + OF_TASKS, ids=" ".join)
def test_a_file_that_may_not_be_read(watched, command):
    (watched.folder / "suite.yaml").chmod(0)
    assert "Permission denied" in watched.refused(*with_file(command, "suite.yaml"))


def commands(group=main, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


LONG = ("x" * 300, "x/" * 3000)
TEXTS = ["", " ", "zz", "\udcff", *LONG, "../..", "/", ".", "loop.yaml", "file/x", "[/zz]", "=1"]
NUMBERS = ["", "x", "nan", "inf", "-inf", "-1", "1e400", "9" * 400, "\udcff", "٣x"]


def needed(command, without):
    """Words for everything that a command must be given, except one parameter."""
    words = []
    for parameter in command.params:
        if parameter is without or not parameter.required:
            continue
        value = {"out": "new/x", "suite": "suite.yaml"}.get(str(parameter.name), "zz")
        words += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return words + (["--only", "probe"] if command.name == "run" else [])  # of which none can run yet


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_option_with_what_it_cannot_take(watched, path, command):
    watched.spoiled()
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.is_flag:
            continue
        numeric = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
        for text in NUMBERS if numeric else TEXTS:
            words = [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
            result = watched.run(*path, *needed(command, parameter), *words)
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
def test_places_that_are_none(watched, monkeypatch, variable, command):
    for place in (*watched.spoiled(), "file", "~nobody/x", "", " "):
        monkeypatch.setenv(variable, place)
        watched.harmless(*command)


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
def test_options_that_make_no_sense(watched, arguments):
    watched.refused(*arguments)


OUT = {
    "a folder": "rows",
    "below a file": "own.yaml/x",
    "a loop": "loop.yaml",
    "below a loop": "loop.yaml/x",
} | {
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
def test_results_that_cannot_be_written(watched, command, place):
    watched.spoiled()
    watched.refused(*command, "--out", OUT[place])


def test_results_into_folders_that_are_not_there(watched):
    watched.run("results", "suite.yaml", "--format", "csv", "--out", "new/and/newer/rows.csv")
    assert [path.name for path in (watched.folder / "new" / "and" / "newer").iterdir()] == ["rows.csv"]
