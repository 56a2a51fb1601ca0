import pytest

from jobs.ray_executor import RayRunner
from store.artifacts import Store
from store.errors import InputError
from tests.jobs.test_plan import run


def test_a_suite_under_ray_gives_the_artifacts_of_a_run_in_process(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    runner = RayRunner(store.root, address=None, gpus_per_job=1, cpus_per_job=1, tasks_per_extraction=2)
    tasks = {}
    submit = runner.submit

    def counted(job):
        before = len(runner._running)
        submit(job)
        tasks[job.kind] = len(runner._running) - before

    runner.submit = counted
    try:
        plan, outcome = run(small_suite, store, runner=runner)
    finally:
        runner.close()
    assert outcome.ok, outcome.failed
    assert {artifact.id for artifact in store.list()} == {job.id for job in plan.jobs}
    assert tasks == {"finetune": 1, "extract": 2, "probe": 1, "attention": 1}


def test_no_ray_at_an_address_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no Ray at '127.0.0.1:1'.*--local"):
        RayRunner(tmp_path, address="127.0.0.1:1", gpus_per_job=1, cpus_per_job=1)
