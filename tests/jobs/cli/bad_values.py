"""What tests give to commands: whole suites and tasks, and what can be wrong with a file, a value, a path."""

import os

SUITE = {
    "name": "whole",
    "description": "every section",
    "study": "none",
    "models": {
        "new": {
            "adapt": {
                "objective": "mlm",
                "new": {
                    "architecture": "bert",
                    "vocabulary": 300,
                    "dim": 16,
                    "layers": 1,
                    "heads": 2,
                    "max_length": 64,
                },
                "corpus": {"format": "synthetic", "topic": "general", "documents": 40, "seed": 1},
                "epochs": 1,
                "learning_rate": 0.001,
                "warmup": 0.1,
                "mask_share": 0.3,
            }
        },
        "lean": {
            "adapt": {
                "objective": "clm",
                "base": "new",
                "lora": {"rank": 2, "alpha": 4, "targets": ["query"]},
                "corpus": {"format": "text", "path": "texts", "files": "*.txt", "cleaning": ["unicode"]},
            }
        },
        "drawn": {"source": "new", "weights": "random", "seed": 3, "fractions": []},
    },
    "tasks": ["own.yaml", "demo-nli"],
    "fractions": [0, 100],
    "seeds": [1, 2],
    "recipe": {"epochs": 1},
    "recipes": {"own.yaml": {"learning_rate": 0.0007, "keep": "last", "keep_logits": True}},
    "extract": {
        "probing": {
            "splits": {"train": 20, "dev": 10, "test": None},
            "options": {"keep": ["hidden"], "hidden_layers": [0, 1], "examples": 7, "dtype": "float32"},
        },
        "attending": {"splits": {"test": 10}, "options": {"keep": ["attention"]}},
    },
    "probe": [
        {
            "view": "probing",
            "train": "train",
            "dev": "dev",
            "test": "test",
            "tasks": ["own"],
            "options": {"probe": "mlp", "layers": [1], "strengths": [0.1], "width": 8, "controls": False},
        }
    ],
    "attention": [{"view": "attending", "split": "test", "options": {"measures": ["cosine"], "layers": [0]}}],
    "similarity": [{"view": "probing", "split": "test", "options": {"tokens": 100, "measures": ["rsa"]}}],
    "generate": [{"models": ["lean"], "prompts": ["Patients with"], "options": {"top_p": 0.9, "seed": 4}}],
    "answer": [{"models": ["lean"], "task": "demo-nli", "options": {"score": "pmi", "limit": 5}}],
}

TASK = {
    "name": "own",
    "type": "pair-classification",
    "title": "of the user",
    "labels": ["entailment", "neutral", "contradiction"],
    "licence": "mine",
    "credentialed": False,
    "obtain": "ask me",
    "citation": "none",
    "data": {
        "format": "jsonl",
        "root": "rows",
        "files": {"train": "a.jsonl", "test": "a.jsonl"},
        "hold_out": {"dev": 0.5},
        "columns": {"text_a": "a", "text_b": "b", "label": "y"},
        "label_map": {"no": "neutral"},
        "target": "class",
        "document": "^(.)",
    },
    "also": [{"format": "synthetic", "files": {"train": "nli-20-1", "dev": "nli-9-2", "test": "nli-9-3"}}],
    "hub": {
        "repo": "some/where",
        "revision": "main",
        "format": "parquet",
        "files": {"train": "x", "dev": "y", "test": "z"},
    },
    "recipe": {"epochs": 2, "batch_size": 8, "max_length": 48, "train_examples": 9, "label_subword": "first"},
    "published": [{"metric": "accuracy", "value": 0.5, "model": "bert", "source": "somebody"}],
}

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
    "number as key": {1: 1},
    "empty key": {"": 1},
}
ALIEN = ("list of lists", "unknown key", "number as key")  # these are right nowhere

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
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


def spoil(folder):
    """What is at a path and no file that can be read: name -> path; made in a folder."""
    (folder / "folder.yaml").mkdir()
    (folder / "file").write_text("")
    os.symlink("loop.yaml", folder / "loop.yaml")
    os.symlink("nowhere", folder / "dangling.yaml")
    return {
        "missing": "missing.yaml",
        "a folder": "folder.yaml",
        "a loop": "loop.yaml",
        "a dangling link": "dangling.yaml",
        "too long": "x" * 300 + ".yaml",
        "far too long": "x/" * 3000 + "x.yaml",
        "below a file": "file/x.yaml",
        "below a loop": "loop.yaml/x.yaml",
        "no text": "\udcff.yaml",
        "blank": " .yaml",
    }


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
