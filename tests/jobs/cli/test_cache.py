import json
import os

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Request, Store

DAY = 24 * 60 * 60


def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments):
    """(what was printed, the error line) of a command that must be refused."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stdout, result.stderr


def make(kind="probe", value=1, text="x" * 10_000, **inputs):
    request = Request(kind, 1, {"value": value}, inputs, f"thing{value}")
    with Store().begin(request) as staging:
        (staging.path / "data.txt").write_text(text)
    return Store().find(request)


def age(folder, days):
    for path in [folder, *folder.rglob("*"), *folder.parent.glob(f"{folder.name}.lock")]:
        os.utime(path, times=(path.stat().st_atime, path.stat().st_mtime - days * DAY))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gc", "--unreferenced"), "--unreferenced needs --suite NAME"),
    ],
)
def test_options_that_make_no_sense(arguments, said):
    result = CliRunner().invoke(main, ("cache", *arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_ls_says_what_an_artifact_was_made_from():
    base = make("finetune", 1, model="a" * 64)
    made = make("extract", 2, checkpoint=base.id)
    row = next(line for line in call("cache", "ls").splitlines() if made.id[:8] in line.split())
    assert row.endswith(base.path.name)
    assert base.name not in call("cache", "ls", "--kind", "extract")


def test_ls_names_the_model_of_what_was_made_from_none_in_the_store():
    request = Request("finetune", 1, {}, {"model": "a" * 64}, "thing", labels={"model": "biobert"})
    with Store().begin(request):
        pass
    assert call("cache", "ls").splitlines()[-1].endswith("biobert")


@pytest.fixture
def leftovers():
    """A staging folder of a job that died, and an artifact whose removal was cut short; three days old."""
    dead = Request("extract", 1, {}, {}, "dead")
    with pytest.raises(ZeroDivisionError), Store().begin(dead, resumable=True) as staging:
        (staging.path / "part").write_text("x" * 30_000)
        raise ZeroDivisionError
    half = make("probe", 2)
    (half.path / "manifest.json").unlink()
    for folder in (staging.path, half.path):
        age(folder, 3)
    return staging.path, half.path


def test_gc_removes_leftovers_and_nothing_else(leftovers):
    whole = make("probe", 1)
    age(whole.path, 3)
    dead, half = leftovers
    dry = call("cache", "gc", "--dry-run").splitlines()
    assert dry == [
        f"would remove .staging/{dead.name}, 0.03 MB",
        f"would remove probe/{half.name}, 0.01 MB",
        "would remove 2 folders, 0.04 MB",
    ]
    assert dead.exists()
    assert half.exists()
    assert call("cache", "gc").splitlines() == [line.replace("would remove", "removed") for line in dry]
    assert sorted(p.name for p in Store().root.rglob("*") if p.is_dir()) == ["probe", whole.path.name]
    assert call("cache", "gc") == "removed 0 folders, 0.00 MB\n"


def test_gc_removes_what_a_job_killed_as_it_ended_left_in_its_artifact():
    artifact = make("extract", 1)
    (artifact.path / ".scratch").mkdir()
    (artifact.path / ".scratch" / "00000.json").write_text("{}")
    age(artifact.path / ".scratch", 3)
    assert f"removed extract/{artifact.path.name}/.scratch" in call("cache", "gc")
    assert {path.name for path in artifact.path.iterdir()} == {"manifest.json", "data.txt"}


def test_gc_spares_what_is_young(leftovers):
    assert call("cache", "gc", "--older-than", "4") == "removed 0 folders, 0.00 MB\n"
    assert "removed 2 folders" in call("cache", "gc", "--older-than", "2.5")


def test_gc_of_a_store_that_is_not_there():
    assert call("cache", "gc") == "removed 0 folders, 0.00 MB\n"
    assert not Store().root.exists()


@pytest.fixture
def studied(small_suite):
    """The small suite, every job of it done as far as the store can tell; and its ids."""
    jobs = make_plan(load_suite(str(small_suite)), Store()).jobs
    for job in jobs:
        with Store().begin(job.request):
            pass
    return str(small_suite), {job.id for job in jobs}


def test_gc_lists_what_no_suite_refers_to_and_removes_it_only_when_told(studied):
    suite, ids = studied
    stray = make("extract", 1)
    last = make("probe", 2, train=stray.id)
    assert call("cache", "gc") == "removed 0 folders, 0.00 MB\n"
    listed = call("cache", "gc", "--suite", suite).splitlines()
    assert listed == [
        f"unreferenced {last.name}, 0.01 MB",
        "removed 0 folders, 0.00 MB",
        "kept 1 unreferenced artifacts, 0.01 MB",
    ]
    dry = call("cache", "gc", "--suite", suite, "--unreferenced", "--dry-run").splitlines()
    assert dry == [f"would remove {last.name}, 0.01 MB", "would remove 1 folders, 0.01 MB"]
    assert {a.id for a in Store().list()} == ids | {stray.id, last.id}
    assert f"removed {last.name}" in call("cache", "gc", "--suite", suite, "--unreferenced")
    assert {a.id for a in Store().list()} == ids | {stray.id}


def test_gc_spares_every_suite_that_is_named(studied, tmp_path):
    suite, ids = studied
    less = tmp_path / "less.yaml"
    less.write_text(tmp_path.joinpath("small.yaml").read_text().replace("[0, 50, 100]", "[0, 50]"))
    assert "unreferenced probe/" in call("cache", "gc", "--suite", str(less))
    assert "unreferenced" not in call("cache", "gc", "--suite", str(less), "--suite", suite)
    assert {a.id for a in Store().list()} == ids


def test_gc_refuses_a_suite_whose_ids_it_cannot_know(studied, monkeypatch):
    suite, ids = studied
    monkeypatch.delenv("MICROTOME_MODELS")
    line = refused("cache", "gc", "--suite", suite, "--unreferenced")[1]
    assert "model:bert was never on this machine" in line
    assert {a.id for a in Store().list()} == ids


def test_show_prints_the_manifest():
    made = make()
    assert json.loads(call("cache", "show", made.id[:8]))["id"] == made.id
