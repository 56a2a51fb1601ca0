"""`report` draws a page only if something that it is made of has changed."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main, report
from microtome.jobs.kinds import probe
from microtome.jobs.suite import page_sources
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.results import ROWS, write_rows


class Drawing:
    """Counts the pages that are drawn."""

    def __init__(self):
        self.count = 0
        self.draw = report.DRAW.load()

    def load(self):
        return self

    def __call__(self, *arguments):
        self.count += 1
        return self.draw(*arguments)


@pytest.fixture
def drawing(monkeypatch):
    counted = Drawing()
    monkeypatch.setattr(report, "DRAW", counted)
    return counted


@pytest.fixture
def measured():
    """Rows of the first probing jobs of the demo, written one job at a time."""
    store = Store()
    jobs = [job for job in make_plan(load_suite("demo"), store).jobs if job.kind == "probe"]

    def measure(number):
        with store.begin(jobs[number].request) as staging:
            row = {"split": "test", "probe": "linear", "metric": "token_macro_f1", "n": 10}
            write_rows(staging.path, [{**row, "layer": layer, "value": 0.25 * layer} for layer in range(3)])
        return store.find(jobs[number].request)

    return measure


def page_of(out, *options):
    result = CliRunner().invoke(main, ["report", "demo", "--out", str(out), *options])
    return result.exit_code, result.output


@pytest.mark.thorough
def test_a_page_is_drawn_again_only_if_something_it_is_made_of_has_changed(
    tmp_path, measured, drawing, monkeypatch
):
    page = tmp_path / "out" / "index.html"
    artifact = measured(0)
    assert page_of(page.parent) == (0, f"wrote: {page}\n")
    first = page.read_bytes()
    assert page_of(page.parent) == (0, f"unchanged: {page}\n")
    assert (drawing.count, page.read_bytes()) == (1, first)

    page.write_bytes(first.replace(b"token", b"toast", 1))
    assert page_of(page.parent) == (0, f"wrote: {page}\n")
    assert (drawing.count, page.read_bytes()) == (2, first)

    page.write_bytes(first[:-40])
    assert page_of(page.parent) == (0, f"wrote: {page}\n")
    assert (drawing.count, page.read_bytes()) == (3, first)

    measured(1)
    assert page_of(page.parent) == (0, f"wrote: {page}\n")
    assert page.read_bytes() != first

    assert page_of(page.parent, "--set", "description=Another") == (0, f"wrote: {page}\n")
    assert drawing.count == 5

    monkeypatch.setattr(probe, "KIND", replace(probe.KIND, title="another title"))
    page_of(page.parent)
    assert b"another title" in page.read_bytes()

    code = tmp_path / "code"
    code.mkdir()
    (code / "figure.py").write_text("")
    monkeypatch.setattr(page_sources, "code_folders", lambda: [code])
    page_of(page.parent)
    drawn = drawing.count
    (code / "figure.py").write_text("width = 2")
    page_of(page.parent)
    page_of(page.parent)
    assert drawing.count == drawn + 1

    (artifact.path / ROWS).write_bytes(b"x" * (artifact.path / ROWS).stat().st_size)
    status, output = page_of(page.parent)
    assert status == 2
    assert f"{ROWS} differs from its checksum" in output


def test_figures_are_drawn_whenever_they_are_asked_for(tmp_path, measured, drawing):
    measured(0)
    assert page_of(tmp_path / "out")[0] == 0
    assert "unchanged" in page_of(tmp_path / "out", "--figures", "svg")[1]
    assert drawing.count == 2
    assert list((tmp_path / "out" / "figures").glob("*.svg"))


def test_without_results_there_is_no_page(tmp_path):
    status, output = page_of(tmp_path / "out")
    assert status == 2
    assert "no results yet for suite 'demo'" in output
    assert not (tmp_path / "out").exists()


def test_what_compares_with_published_scores_is_among_the_code_of_a_page():
    assert any((folder / "published.py").is_file() for folder in page_sources.code_folders())
