"""What a plan says of attentions before they are kept and compared."""

import json

import pytest
import yaml
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.suite.plan import make_plan, notes_by_text
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError
from tests.jobs.models.families import make_family, tokenizer_of


@pytest.fixture
def suite(tmp_path, small_tasks, tiny_models):
    """suite(options of the view, options of the comparison) -> a suite file with a model that has sinks."""
    folder = make_family("gpt_oss", tmp_path / "sinks", tokenizer_of(tiny_models / "bert"))

    def write(kept, compared=None):
        values = {
            **{"name": "notes", "description": "one model", "models": {"sinking": {"source": str(folder)}}},
            **{"tasks": [str(small_tasks["nli"])], "fractions": [0, 100]},
            "extract": {"seen": {"splits": {"test": 4}, "options": {"keep": ["attention"], **kept}}},
            "attention": [{"view": "seen", "options": compared or {}}],
        }
        path = tmp_path / "notes.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def notes(path, tmp_path):
    return notes_by_text(make_plan(load_suite(str(path)), Store(tmp_path / "store")))


def test_sinks_are_said_and_rows_are_kept_as_they_are(suite, tmp_path):
    [(note, models)] = notes(suite({}), tmp_path).items()
    assert note.startswith(
        "attention sinks take a share of each row of attention: rows sum to less than 1 and"
    )
    assert models == ["sinking"]


def test_what_can_be_had_from_patterns_is_said(suite, tmp_path):
    _, note = notes(suite({"attention_keep": "patterns", "attention_rows": 8}), tmp_path)
    assert note.endswith("every measure of change is an estimate from 8 rows of each map")
    without = suite({"attention_keep": "patterns", "attention_rows": 0}, {"measures": []})
    _, note = notes(without, tmp_path)
    assert note.endswith("no measure of change can be had")


def test_measures_that_cannot_be_had_are_refused_when_it_is_planned(suite, tmp_path):
    path = suite({"attention_keep": "patterns", "attention_rows": 0})
    with pytest.raises(InputError) as error:
        notes(path, tmp_path)
    assert str(error.value) == (
        "attention of view 'seen': cosine, jensen_shannon, l1 are computed from rows of attention, of which "
        "it keeps none. Set options: {measures: []} for patterns alone, or attention_rows of the view above 0"
    )


def test_the_plan_prints_them(suite):
    path = str(suite({"attention_keep": "patterns"}))
    shown = CliRunner().invoke(main, ["suite", "plan", path])
    assert shown.exit_code == 0, shown.output
    assert "sinking: attention sinks take a share of each row of attention" in shown.output
    assert "sinking: patterns of attention and no maps are kept: patterns are exact" in shown.output
    assert "attention (patterns)" in shown.output
    listed = CliRunner().invoke(main, ["suite", "plan", path, "--format", "json"])
    assert [note["models"] for note in json.loads(listed.output)["notes"]] == [["sinking"], ["sinking"]]
