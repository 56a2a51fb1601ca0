"""A full, a read-only and a vanished disk: one clear line, and no manifest."""

import os
import shutil
import subprocess
import sys

import pytest

from microtome.jobs.run.executor import run_job
from microtome.store.artifacts.store import Store
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.writer import CacheWriter

CAN_MOUNT = (
    sys.platform == "linux"
    and shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, check=False
    ).returncode
    == 0
)
needs_mount = pytest.mark.skipif(not CAN_MOUNT, reason="this user may not mount a filesystem of its own")


IN_A_MOUNT = """
mount -t tmpfs -o "$2" none "$1" || exit 99
disk="$1"; shift 2
"$@"; code=$?
find "$disk" -type f
exit $code
"""
MICROTOME = (sys.executable, "-c", "from microtome.jobs.cli import main; main()")


def microtome_on(disk, options, *command):
    """Run a command with its store on a filesystem of its own; it prints the files left there."""
    disk.mkdir()
    inside = "sh", "-c", IN_A_MOUNT, "sh", str(disk), options, *MICROTOME, *map(str, command)
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", *inside],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MICROTOME_STORE": str(disk / "store")},
    )


def assert_refused(done, reason):
    """One line that says why, and no manifest among the files that are left."""
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: cannot write to the store")
    assert reason in line
    assert "manifest.json" not in done.stdout


@needs_mount
@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=pytest.mark.thorough if f == "hdf5" else ()) for f in PART_FORMATS]
)
@pytest.mark.parametrize("compression", ["none", pytest.param("lz4", marks=pytest.mark.thorough)])
def test_an_extraction_onto_a_full_disk(tmp_path, tiny_models, small_tasks, form, compression):
    done = microtome_on(
        tmp_path / "disk",
        "size=200k",
        *("extract", "--checkpoint", tiny_models / "gpt2", "--task", small_tasks["ner"], "--split", "train"),
        *("--dtype", "float32", "--format", form, "--compression", compression),
    )
    assert_refused(done, "No space left on device")


@needs_mount
def test_a_fine_tuning_onto_a_full_disk(tmp_path, tiny_models, small_tasks):
    done = microtome_on(
        tmp_path / "disk",
        "size=60k",
        *("finetune", "--model", tiny_models / "bert", "--task", small_tasks["nli"]),
    )
    assert_refused(done, "No space left on device")


@needs_mount
def test_a_read_only_disk(tmp_path, tiny_models, small_tasks):
    done = microtome_on(
        tmp_path / "disk",
        "ro",
        *("extract", "--checkpoint", tiny_models / "bert", "--task", small_tasks["ner"]),
    )
    assert_refused(done, "Read-only file system")


def test_a_disk_that_goes_away_while_an_extraction_runs(bench, tiny_models, monkeypatch):
    real = CacheWriter.submit

    def submit(writer, buffer, ready):
        shutil.rmtree(bench.store.root / ".staging")
        real(writer, buffer, ready)

    monkeypatch.setattr(CacheWriter, "submit", submit)
    job = bench.extract("ner", tiny_models / "bert")
    error, _ = run_job(job, bench.store.root)
    assert "has gone away" in error
    assert "\n" not in error
    assert Store(bench.store.root).list() == []
