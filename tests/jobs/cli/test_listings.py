import json

from click.testing import CliRunner

from microtome.jobs.cli import main

ROWS = {
    "train": [{"y": "good", "a": "one two"}, {"y": "bad", "a": "three"}, {"y": "bad", "a": "four"}],
    "dev": [{"y": "bad", "a": "five"}],
    "test": [{"y": "bad", "a": "three"}, {"y": "good", "a": "six seven eight"}],
}
YAML = """
name: own
type: classification
title: mine
labels: [good, bad]
licence: mine
obtain: ask me
data:
  format: jsonl
  root: .
  files: {train: train.jsonl, dev: dev.jsonl, test: test.jsonl}
  columns: {text_a: a, label: y}
"""


def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_check_counts_labels_and_rows_that_are_not_held_out(tmp_path, tiny_models):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.yaml").write_text(YAML)
    task, model = str(tmp_path / "own.yaml"), str(tiny_models / "bert")
    found = json.loads(call("task", "check", task, "--model", model, "--max-length", "8", "--format", "json"))
    splits = {entry["split"]: entry for entry in found["splits"]}
    assert [splits[name]["examples"] for name in ROWS] == [3, 1, 2]
    assert splits["train"]["labels"] == {"bad": 2, "good": 1}
    assert splits["train"]["also_in_train"] is None
    assert splits["dev"]["also_in_train"] == 0
    assert splits["test"]["also_in_train"] == 1
    assert splits["test"]["words_longest"] == 3
    assert splits["test"]["tokens_longest"] == 8  # cut
    assert splits["test"]["file"] == str(tmp_path / "test.jsonl")
    assert splits["test"]["also_in_train_share"] == 0.5
    shown = call("task", "check", task)
    assert "also_in_train" in shown
    assert "50.0% of the test texts are training texts: more than max_overlap, 5.0%" in shown
    (tmp_path / "own.yaml").write_text(YAML + "max_overlap: 0.5\n")
    assert "max_overlap" not in call("task", "check", task)
    assert "good" in shown


def test_show_has_the_published_scores():
    shown = call("task", "show", "hoc")
    assert "example_f1" in shown
    assert "0.829" in shown
