"""From a table to a report in the five commands that jobs/README.md shows."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from microtome.jobs.cli import main

PAGE = Path(__file__).parents[3] / "jobs" / "README.md"


def commands():
    section = PAGE.read_text().partition("## From a table to a report\n")[2].partition("\n## ")[0]
    return [
        shlex.split(line)[2:] for line in re.findall(r"^\$ microtome .*?(?=  +#|$)", section, re.MULTILINE)
    ]


def write_corpus(folder):
    folder.mkdir()
    for split, size in (("train", 24), ("test", 12)):
        rows = [("mild" if n % 2 else "severe", n) for n in range(size)]
        lines = [f"{split}{n}\tThe pain of patient {n} {split} was {label}\t{label}\n" for label, n in rows]
        (folder / f"{split}.tsv").write_text("id\treport\tseverity\n" + "".join(lines))


def test_five_commands_lead_from_a_table_to_a_report(tmp_path, tiny_models, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    write_corpus(tmp_path / "reports")
    asked = commands()
    assert [words[:2] for words in asked] == [
        *(["task", "init"], ["task", "check"], ["suite", "init"], ["suite", "run"]),
        ["report", "study.yaml"],
    ]
    for words in asked:
        if words[:2] == ["suite", "run"]:
            words = [*words, "--set", "recipe.max_length=32"]  # what the tiny model has positions for
        if words[0] == "report":
            words = [*words, "--set", "recipe.max_length=32"]
        result = CliRunner().invoke(main, words, catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output, result.stderr)
    assert "severity" in (tmp_path / "report" / "index.html").read_text()


def test_suite_init_writes_no_file_over_another(tmp_path, tiny_models, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    (tmp_path / "study.yaml").write_text("mine")
    result = CliRunner().invoke(
        main, ["suite", "init", "--task", "demo-nli", "--model", "bert", "--out", "study.yaml"]
    )
    assert result.exit_code == 2
    assert "study.yaml is there already" in result.stderr
    assert (tmp_path / "study.yaml").read_text() == "mine"
