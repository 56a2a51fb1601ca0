"""A new kind of job is a file and a line in the registry; everything else follows from its declaration."""

import importlib
import subprocess
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import Field

from microtome.jobs.cli import main
from microtome.jobs.kinds import KINDS, STAGES, all_kinds, kinds_of
from microtome.jobs.kinds.caches import open_cache
from microtome.jobs.kinds.job import Job, Sources
from microtome.jobs.kinds.kind import Kind
from microtome.jobs.kinds.planning import CacheUse, Planning, Step
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Staging, Store
from microtome.store.config import Config
from microtome.store.errors import InputError
from microtome.store.results import write_rows

ROOT = Path(__file__).parents[3]


class LengthConfig(Config):
    """How lengths are taken."""

    longest: int = Field(100, ge=1, description="of vectors")


class LengthStep(Step):
    """Mean length of the vectors of a view."""

    view: str
    options: LengthConfig = LengthConfig()

    def cache_uses(self) -> Sequence[CacheUse]:
        return [CacheUse(self.view, "test", "hidden")]


@dataclass(frozen=True)
class LengthSources(Sources):
    """Where the cache is."""

    cache: Path | None = None


def plan(planning: Planning) -> None:
    for checkpoint in planning.checkpoints:
        for step in planning.suite.steps(LengthStep):
            cache = checkpoint.caches[step.view, "test"]
            planning.add(
                KIND.job(
                    checkpoint.slug,
                    step.options,
                    LengthSources(),
                    inputs={"cache": cache},
                    needs=(cache,),
                    labels=checkpoint.labels,
                )
            )


def run(job: Job[LengthConfig, LengthSources], store: Store, staging: Staging) -> None:
    cache = open_cache(job.sources.cache, store, job.inputs["cache"])
    value = float((cache.hidden(0) ** 2).sum(1).mean())
    write_rows(staging.path, [{"split": "test", "metric": "length", "value": value, "n": cache.examples}])


KIND = Kind(
    name="length",
    title="length of vectors",
    stage="analysis",
    version=1,
    settings=LengthConfig,
    sources=LengthSources,
    run=run,
    step=LengthStep,
    plan=plan,
)


@pytest.fixture
def length_kind(monkeypatch):
    """The one line of a new kind; its file is this one."""
    # Commands are imported when they are called, and list the kinds that there are then.
    for commands in ("suites", "cache", "cache_gc"):
        importlib.import_module(f"microtome.jobs.cli.{commands}")
    module = types.ModuleType("kind_of_a_test")
    module.KIND = KIND
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(KINDS, "length", module.__name__)


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_kind_of_ones_own_is_planned_run_listed_and_reported(small_suite, length_kind, tmp_path):
    small_suite.write_text(small_suite.read_text() + "length: [{view: probing, options: {longest: 7}}]\n")
    planned = call("suite", "plan", small_suite)
    assert planned.exit_code == 0, planned.output
    [line] = [line.split() for line in planned.output.splitlines() if line.startswith("length")]
    assert line == ["length", "6", "0", "0"]
    listed = call("suite", "kinds", "--stage", "analysis").output
    assert "length of vectors" in listed
    assert "fine-tuning" not in listed

    ran = call("suite", "run", small_suite, "--local")
    assert ran.exit_code == 0, ran.output
    analysed = call("suite", "run", small_suite, "--local", "--stage", "analysis")
    assert "nothing to do: all 16 jobs" in analysed.output  # 6 probes, 4 comparisons, 6 of the new kind

    rows = call("results", small_suite, "--format", "csv")
    assert sum(line.split(",")[1] == "length" for line in rows.output.splitlines()) == 6
    report = call("report", small_suite, "--out", tmp_path / "report")
    assert report.exit_code == 0, report.output
    assert "length of vectors" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("length: [{view: probing, options: {longst: 7}}]", "'longst'; did you mean 'longest'"),
        ("length: [{view: probin}]", "unknown view in .* 'probin'; did you mean 'probing'"),
        ("length: [{view: attending}]", "view 'attending' keeps no hidden"),
        ("lenght: []", "'lenght'; did you mean 'length'"),
    ],
)
def test_what_a_suite_says_of_it_is_checked_like_everything_else(small_suite, length_kind, section, message):
    small_suite.write_text(small_suite.read_text() + section + "\n")
    with pytest.raises(InputError, match=message):
        load_suite(str(small_suite))


def test_every_kind_of_the_registry_can_be_asked_for():
    shown = call("suite", "run", "--help").output
    assert f"[{'|'.join(KINDS)}]" in "".join(shown.split())


def test_without_its_line_it_is_unknown(small_suite):
    small_suite.write_text(small_suite.read_text() + "length: []\n")
    with pytest.raises(InputError, match="unknown key in .* 'length'"):
        load_suite(str(small_suite))


def test_every_kind_declares_itself_under_its_own_name():
    assert [kind.name for kind in all_kinds()] == list(KINDS)
    assert len({kind.title for kind in all_kinds()}) == len(KINDS)
    assert {kind.stage for kind in all_kinds()} == set(STAGES)
    for kind in all_kinds():
        file = ROOT / "jobs" / "kinds" / f"{kind.name}.py"
        assert f'name="{kind.name}"' in file.read_text()


def test_the_targets_of_the_makefile_are_the_stages():
    """Together they run every kind, each stage by its name."""
    lines = (ROOT / "Makefile").read_text()
    assert all(f"--stage {stage}" in lines for stage in STAGES)
    assert set(kinds_of(STAGES)) == set(KINDS)
    assert kinds_of(()) == ()


def test_kinds_are_known_by_name_before_any_is_imported():
    code = "import sys, microtome.jobs.kinds as k; print(len(k.KINDS), 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(KINDS)), "False"]
