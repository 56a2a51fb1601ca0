"""The schemas and pages say what the settings classes say, and every file of the project fits them."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.schemas import EXAMPLES, FILES, page_text, schema_file, schema_text
from microtome.jobs.suite.include import SUITES
from microtome.jobs.tasks import TASKS

jsonschema = pytest.importorskip("jsonschema")
YAML = [("task", path) for path in sorted(TASKS.glob("*.yaml"))]
YAML += [("suite", path) for path in sorted(SUITES.glob("*.yaml"))]
PAGES = {"task": TASKS / "README.md", "suite": SUITES.parent / "README.md"}


@pytest.mark.parametrize("what", FILES)
def test_what_is_shipped_is_what_the_settings_say(what):
    """If not: microtome schema WHAT > jobs/schemas/WHAT.json, and --format page for the page."""
    assert schema_file(what).read_text() == schema_text(what)
    assert PAGES[what].read_text() == page_text(what)
    assert CliRunner().invoke(main, ["schema", what]).output == schema_text(what)
    assert CliRunner().invoke(main, ["schema", what, "--format", "page"]).output == page_text(what)


@pytest.mark.parametrize(("what", "path"), YAML, ids=lambda value: getattr(value, "stem", value))
def test_every_file_fits_the_schema_that_its_first_line_names(what, path):
    first, _, rest = path.read_text().partition("\n")
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == schema_file(what).resolve()
    jsonschema.validate(yaml.safe_load(rest), json.loads(schema_text(what)))


@pytest.mark.parametrize("what", FILES)
def test_the_examples_fit(what):
    jsonschema.validate(yaml.safe_load(EXAMPLES[what]), json.loads(schema_text(what)))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("task", {"labl": ["a"]}),
        ("task", {"type": "classificaton"}),
        ("task", {"data": {"format": "tvs", "files": {"train": "a"}}}),
        ("task", {"recipe": {"epochs": -1}}),
        ("task", {"published": [{"metric": "entity_f2", "value": 1, "model": "m", "source": "s"}]}),
        ("suite", {"fractions": [101]}),
        ("suite", {"probe": [{"vew": "layers"}]}),
        ("suite", {"models": 5}),
    ],
)
def test_an_editor_would_mark_what_is_wrong(what, change):
    values = yaml.safe_load(EXAMPLES[what]) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(schema_text(what)))


def test_a_suite_that_includes_another_says_only_what_differs():
    values = {"include": "blue", "name": "mine", "models": ["bert"], "recipes": None}
    jsonschema.validate(values, json.loads(schema_text("suite")))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "mine"}, json.loads(schema_text("suite")))


@pytest.mark.parametrize("what", FILES)
def test_every_key_says_what_it_means(what):
    rows = [line for line in page_text(what).splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_schemas_are_part_of_the_package():
    pyproject = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert '"**/schemas/*.json"' in pyproject
