"""A user's mistake: one clear line on stderr, exit status 2, nothing left behind."""

import json
import os

import pytest
import yaml
from click.testing import CliRunner

from microtome.jobs.cli import main

CONLL = "fever\tB-Disease\n\n"
PAIR = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral", "pairID": "1"}
MEDNLI = ("mli_train_v1.jsonl", "mli_dev_v1.jsonl", "mli_test_v1.jsonl")


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def refused(store, *arguments):
    """The error line of a command that must be refused without leaving anything in the store."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "Traceback" not in result.output
    assert not store.exists() or list(store.rglob("*")) == []
    return lines[0]


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A MICROTOME_DATA folder; write(task, {file: text}) fills it."""
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path / "data"))

    def write(task, files):
        (tmp_path / "data" / task).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / "data" / task / name).write_text(text)

    return write


def finetune(tiny_models, task):
    return "finetune", "--task", task, "--model", str(tiny_models / "bert")


def test_unknown_task(store, tiny_models):
    line = refused(store, *finetune(tiny_models, "bc5cdr-diseas"))
    assert (
        line == "error: unknown task 'bc5cdr-diseas'; did you mean 'bc5cdr-disease'? See: microtome task ls"
    )


def test_unknown_model(store):
    line = refused(store, "finetune", "--task", "demo-ner", "--model", "biobrt")
    assert line == "error: unknown model 'biobrt'; did you mean 'biobert'? See: microtome model ls"


def test_model_that_is_not_here(store):
    line = refused(store, "finetune", "--task", "demo-ner", "--model", "biobert")
    assert "HF_HUB_OFFLINE is set. microtome model fetch biobert --out $MICROTOME_MODELS/biobert" in line


def test_pickled_weights_are_not_loaded(store, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"pickle")
    line = refused(store, "finetune", "--task", "demo-ner", "--model", str(tmp_path / "old"))
    assert "no safetensors weights; pickled weights are not loaded. Convert: microtome model fetch" in line


def test_missing_data_folder(store, data, tiny_models):
    line = refused(store, *finetune(tiny_models, "bc5cdr-disease"))
    assert "no data for task 'bc5cdr-disease' (not at " in line
    assert "$MICROTOME_DATA/bc5cdr-disease/" in line


def test_malformed_conll_line(store, data, tiny_models):
    files = {"train.tsv": CONLL, "devel.tsv": CONLL, "test.tsv": "fever\tB-Disease\nlonely\n"}
    data("bc5cdr-disease", files)
    line = refused(store, *finetune(tiny_models, "bc5cdr-disease"))
    assert line.endswith("test.tsv:2: expected 'word<TAB>tag', found 'lonely'")


def test_json_line_without_a_label(store, data, tiny_models):
    whole = json.dumps(PAIR)
    for without, said in (
        (PAIR | {"gold_label": None}, "mli_train_v1.jsonl:2: no label"),
        ({k: v for k, v in PAIR.items() if k != "gold_label"}, "mli_train_v1.jsonl:2 'gold_label'"),
    ):
        data("mednli", dict(zip(MEDNLI, (f"{whole}\n{json.dumps(without)}\n", whole, whole), strict=True)))
        assert said in refused(store, *finetune(tiny_models, "mednli"))


def test_empty_split(store, data, tiny_models):
    data("bc5cdr-disease", {"train.tsv": CONLL, "devel.tsv": "\n", "test.tsv": CONLL})
    line = refused(store, *finetune(tiny_models, "bc5cdr-disease"))
    assert line.endswith("devel.tsv: the dev split of 'bc5cdr-disease' is empty")


def test_unknown_suite_key(store, small_suite):
    small_suite.write_text(small_suite.read_text().replace("fractions:", "fraction:"))
    for command in ("plan", "run", "status"):
        line = refused(store, "suite", command, str(small_suite))
        assert "'fraction'; did you mean 'fractions'?" in line


@pytest.mark.parametrize(
    "arguments",
    [("suite", "run", "SUITE", "--local"), ("finetune", "--task", "demo-ner", "--model", "bert")],
)
def test_a_store_that_cannot_be_written(tmp_path, monkeypatch, small_suite, arguments):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "file" / "store"))
    arguments = [str(small_suite) if a == "SUITE" else a for a in arguments]
    line = refused(tmp_path / "nowhere", *arguments)
    assert "error: cannot write to the store" in line
    assert "Set MICROTOME_STORE to a folder you can write" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_without_write_permission(tmp_path, monkeypatch, small_suite):
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "locked"))
    line = refused(tmp_path / "locked", "suite", "run", str(small_suite), "--local")
    assert "Permission denied" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("suite", "plan", "papr"), "unknown suite 'papr'; did you mean 'paper'?"),
        (("probe", "--train", "x", "--test", "y"), "no artifact 'x' in"),
        (("cache", "show", "abc"), "no artifact 'abc'"),
        (("task", "show", "sik"), "did you mean 'sick'"),
        (("results", "demo", "--set", "fractions=x"), "fractions: input should be a valid tuple"),
        (("report", "small"), "unknown suite 'small'"),
        (("model", "fetch", "bert", "--out", "."), "exists and is not empty; choose another"),
        (
            ("finetune", "--task", "demo-ner", "--model", "bert", "--fraction", "120"),
            "fraction: input should",
        ),
    ],
)
def test_other_mistakes(store, arguments, said, tiny_models, monkeypatch):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    assert said in refused(store, *arguments)


def test_a_report_without_results(store, small_suite):
    assert "no results yet for suite 'small'" in refused(store, "report", str(small_suite))


def test_unknown_options_are_click_errors():
    result = call("suite", "run", "demo", "--locl")
    assert result.exit_code == 2
    assert "--local" in result.stderr


ADAPT = ("adapt", "--name", "a", "--base", "bert", "--objective", "mlm", "--corpus-format", "synthetic")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(
    "words",
    [
        ("finetune", "--task", "demo-nli", "--model", "bert", "--fraction"),
        ("finetune", "--task", "demo-nli", "--model", "bert", "--learning-rate"),
        ("finetune", "--task", "demo-nli", "--model", "bert", "--warmup"),
        ("finetune", "--task", "demo-nli", "--model", "bert", "--positive-weight"),
        (*ADAPT, "--epochs"),
        (*ADAPT, "--lora-alpha"),
        ("generate", "--checkpoint", "gpt2", "--prompt", "a", "--temperature"),
        ("suite", "run", "demo", "--local", "--gpus-per-job"),
        ("suite", "plan", "demo", "--set"),
        ("store", "verify", "--recompute"),
        ("cache", "gc", "--older-than"),
    ],
    ids=lambda words: words[-1],
)
def test_a_setting_is_a_finite_number(store, tiny_models, monkeypatch, words, value):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    given = f"recipe.weight_decay={yaml.dump(float(value))}" if words[-1] == "--set" else value
    result = call(*words, given)
    assert result.exit_code == 2
    said = result.stderr.strip().splitlines()[-1]
    assert "finite number" in said or "range" in said
    assert "Traceback" not in result.output
    assert not store.exists() or list(store.rglob("*")) == []


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "1e999", "NaN", "Infinity"])
@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_a_score_is_a_finite_number(store, tiny_models, write_task, tmp_path, form, score):
    task = write_task("similarity", form, {"text_a": "a", "text_b": "b", "label": "y"}, "number", ["score"])
    rows = {"tsv": f"a\tb\ty\none two\tthree\t{score}\n", "jsonl": f'{{"a": "x", "b": "y", "y": {score}}}\n'}
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.data").write_text(rows[form])
    if form == "jsonl" and score in ("nan", "inf", "-inf"):
        score = "not JSON"
    line = refused(store, *finetune(tiny_models, str(task)))
    assert str(tmp_path / "test.data") in line or str(tmp_path / "train.data") in line
