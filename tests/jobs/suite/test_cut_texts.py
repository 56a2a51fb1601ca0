import json

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.run.executor import execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.suite import cut_texts as module
from microtome.jobs.suite.cut_texts import cut_texts, worth_saying
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from tests.jobs.suite.test_plan import Silent


def planned(small_suite, store, *overrides):
    return make_plan(load_suite(str(small_suite), overrides), store)


def test_what_is_cut_off_is_counted_before_anything_is_trained(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    long = cut_texts(planned(small_suite, store, "recipe.max_length=60"), store)
    short = cut_texts(planned(small_suite, store, "recipe.max_length=12"), store)
    assert [(row.task, row.model, row.split) for row in long] == [
        (row.task, row.model, row.split) for row in short
    ]
    assert {row.split for row in long} == {"train", "dev", "test"}
    assert worth_saying(long) == []
    assert worth_saying(short) == short
    assert all(row.cut.words == other.cut.words for row, other in zip(long, short, strict=True))


def test_the_count_is_that_of_the_job(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    plan = planned(small_suite, store, "recipe.max_length=12")
    jobs = {(j.labels["task"], j.labels["model"]): j for j in plan.jobs if j.kind == "finetune"}
    rows = cut_texts(plan, store)
    outcome = execute(list(jobs.values()), set(), {}, LocalRunner(store.root), Silent())
    assert outcome.ok
    for row in rows:
        outputs = store.find(jobs[row.task, row.model].request).outputs
        assert outputs["truncated_words"][row.split] == row.cut.truncated_words > 0
        assert outputs["truncated_entities"][row.split] == row.cut.truncated_entities


def test_a_second_plan_tokenises_nothing(small_suite, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    store.root.mkdir()
    first = cut_texts(planned(small_suite, store), store)
    monkeypatch.setattr(module, "_computed", None)
    assert cut_texts(planned(small_suite, store), Store(store.root)) == first


def test_what_is_not_here_is_left_out(tmp_path):
    store = Store(tmp_path)
    assert cut_texts(make_plan(load_suite("paper"), store), store) == []


@pytest.mark.parametrize(("length", "warned"), [(60, False), (12, True)])
def test_suite_plan_says_so(small_suite, length, warned):
    change = ["--set", f"recipe.max_length={length}"]
    shown = CliRunner().invoke(main, ["suite", "plan", str(small_suite), *change])
    assert shown.exit_code == 0, shown.output
    assert ("words lost" in shown.output) is warned
    assert ("raise max_length" in shown.output) is warned
    listed = CliRunner().invoke(main, ["suite", "plan", str(small_suite), *change, "--format", "json"])
    assert all(row["max_length"] == length for row in json.loads(listed.output)["cut_texts"])
