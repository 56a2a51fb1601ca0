"""What the executor believes, and how a job's failure is told."""

import dataclasses
import socket

import pytest
from rich.console import Console

from microtome.jobs.cli.suites import _print_lost_time
from microtome.jobs.run.executor import Finished, Outcome, execute, one_line, run_job
from microtome.jobs.run.local_runner import LocalRunner
from microtome.store.artifacts.store import Store
from microtome.store.errors import StoreError
from tests.jobs.suite.test_plan import Silent


class Raising:
    """Data that gives a job an exception instead of rows."""

    def __init__(self, task, error):
        self.task, self.error = task, error

    def read(self, split):
        raise self.error

    def digest(self, split):
        raise self.error


class Unpicklable(Exception):
    """An exception that no other process can be told of."""

    def __reduce__(self):
        raise TypeError("cannot be pickled")


class Textless(Exception):
    def __str__(self):
        raise ValueError("has no text")


def failing(job, error):
    """The same job, failing."""
    data = Raising(job.sources.data.task, error)
    return dataclasses.replace(job, sources=dataclasses.replace(job.sources, data=data))


@pytest.fixture
def job(bench, tiny_models):
    return bench.finetune("ner", tiny_models / "bert", fraction=0)


class Boasting(LocalRunner):
    """Says that all is done, from a machine whose disk is its own."""

    def next_finished(self):
        return Finished(self._queue.pop(0), None, 0.1, "node-7 (10.0.0.7)")


def test_done_is_what_is_found_in_the_store(bench, tiny_models, job):
    extraction = dataclasses.replace(bench.extract("ner", tiny_models / "bert"), needs=(job.id,))
    outcome = execute([job, extraction], set(), {}, Boasting(bench.store.root), Silent())
    assert outcome.done == []
    [(failed, reason)] = outcome.failed
    assert failed is job
    assert reason == (
        f"node-7 (10.0.0.7) wrote {bench.store.root / job.kind / job.request.folder}, which is not there on "
        f"{socket.gethostname()}. Set MICROTOME_STORE to a folder that every node sees"
    )
    assert outcome.skipped == [(extraction, f"needs {job.name}, which failed")]


def test_a_damaged_manifest_in_its_place_is_a_failure_too(bench, job):
    artifact = bench.run(job)
    (artifact.path / "manifest.json").write_text("{")
    outcome = execute([job], set(), {}, Boasting(bench.store.root), Silent())
    assert outcome.done == []
    assert len(outcome.failed) == 1


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ValueError("one\n\n  two  "), "ValueError: one two"),
        (ValueError("\n"), "ValueError: no message"),
        (Unpicklable("no pickle"), "Unpicklable: no pickle"),
        (SystemExit(3), "SystemExit: 3"),
        (StoreError("no\nroom"), "no room"),
    ],
)
def test_a_failure_is_one_line_and_the_last_of_its_log(bench, job, error, failure):
    job = failing(job, error)
    assert run_job(job, bench.store.root)[0] == failure
    assert bench.store.log_path(job.request).read_text().endswith(f"» failed: {failure}\n")


def test_a_long_error_keeps_its_last_line():
    text = one_line(RuntimeError("cannot load:\n" + "x" * 5000 + "\nsize mismatch for head.weight"))
    assert text.startswith("cannot load: xxx")
    assert text.endswith("size mismatch for head.weight")
    assert len(text) < 500
    assert one_line(StoreError("y" * 5000)) == "y" * 5000
    assert one_line(Textless()) == "its message cannot be shown (ValueError)"


def test_a_log_that_is_a_link_is_not_followed(bench, job, tmp_path):
    other, log = tmp_path / "other.txt", bench.store.log_path(job.request)
    other.write_text("somebody else's")
    log.parent.mkdir(parents=True)
    log.symlink_to(other)
    failure, _ = run_job(job, bench.store.root)
    assert failure.startswith(f"cannot write the log {log}: Too many levels of symbolic links.")
    assert other.read_text() == "somebody else's"


def test_a_folder_where_the_log_should_be_is_named(bench, job):
    log = bench.store.log_path(job.request)
    log.mkdir(parents=True)
    failure, _ = run_job(job, bench.store.root)
    assert failure.startswith(f"cannot write the log {log}: Is a directory.")


def test_a_log_that_fills_up_later_does_not_hide_why_the_job_failed(bench, job, monkeypatch):
    from microtome.jobs.run import executor

    def full(text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor, "log_progress", full)
    failure, _ = run_job(failing(job, ValueError("the real reason")), bench.store.root)
    assert failure == "ValueError: the real reason"


def test_what_has_no_utf8_can_be_logged(bench, job):
    job = failing(job, ValueError("a \udce9 from a file name"))
    assert run_job(job, bench.store.root)[0] == "ValueError: a \\udce9 from a file name"
    assert "a \\udce9 from a file name" in bench.store.log_path(job.request).read_text()
    assert Store(bench.store.root).list() == []


def test_a_run_says_what_was_lost_with_earlier_attempts(job, bench, capsys):
    with pytest.raises(KeyboardInterrupt):
        with bench.store.begin(job.request, resumable=True) as staging:
            (staging.scratch / "state").write_text("")
            raise KeyboardInterrupt
    bench.run(job)
    _print_lost_time(Outcome(done=[job]), bench.store, Console(width=100))
    assert (
        capsys.readouterr().out == "1 of them went on from what earlier attempts had saved; 0 s were lost\n"
    )
