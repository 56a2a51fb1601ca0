"""What jobs ask of nodes, and what is said of jobs that no node can run."""

import pytest

from microtome.jobs.run.resources import (
    Demand,
    demand,
    gpus_of,
    most_gpus,
    refuse_gpus,
    what_nobody_has,
)
from microtome.jobs.tasks import Recipe
from microtome.store.config import Config
from microtome.store.errors import InputError

GB = 1 << 30
NODE = {"CPU": 8.0, "memory": 16.0 * GB}
GPU_NODE = {"CPU": 4.0, "GPU": 1.0, "memory": 64.0 * GB}


def test_a_job_is_given_no_more_gpus_than_it_can_use():
    assert demand(gpus=4, cpus=2, memory=0).gpus == 1
    assert demand(gpus=0.5, cpus=2, memory=0).gpus == 0.5


def test_a_job_with_a_gpu_holds_no_cpu_that_others_could_take_from_it():
    with_gpu, without = demand(gpus=1, cpus=4, memory=GB), demand(gpus=0, cpus=4, memory=GB)
    assert with_gpu.as_resources() == {"GPU": 1, "memory": GB}
    assert without.as_resources() == {"CPU": 4, "memory": GB}
    assert with_gpu.threads == without.threads == 4


@pytest.mark.parametrize(
    ("waiting", "nodes", "lines"),
    [
        ([Demand(1)] * 3, [NODE], []),
        ([Demand(0, 1.0)] * 7, [NODE], ["7 jobs wait for a GPU; the cluster has none"]),
        ([Demand(0, 0.5)], [NODE], ["1 job waits for a GPU; the cluster has none"]),
        ([Demand(9)] * 2, [NODE, GPU_NODE], ["2 jobs wait for 9 CPUs; no node has more than 8 CPUs"]),
        ([Demand(1)], [], ["1 job waits for a CPU; the cluster has none"]),
        (
            [Demand(1, 0.0, 100 * GB)],
            [NODE, GPU_NODE],
            ["1 job waits for 100.0 GB of memory; no node has more than 64.0 GB of memory"],
        ),
        ([Demand(8, 1.0)], [NODE, GPU_NODE], ["1 job waits for a GPU and 8 CPUs; no node has them together"]),
    ],
)
def test_what_no_node_has_is_named_with_how_many_wait(waiting, nodes, lines):
    assert what_nobody_has(waiting, nodes) == lines


class Spread(Config):
    device_map: str = "auto"


ONE, FOUR = Recipe(), Recipe(processes=4)


def test_each_process_of_a_training_has_a_gpu_where_there_are_any():
    assert [gpus_of(FOUR, given) for given in (0.0, 0.5, 1.0, 8.0)] == [0.0, 4.0, 4.0, 4.0]
    assert [gpus_of(ONE, given) for given in (0.0, 0.5, 1.0, 8.0)] == [0.0, 0.5, 1.0, 8.0]
    assert demand(gpus=gpus_of(FOUR, 1.0), cpus=1, memory=0, most=most_gpus(FOUR)).gpus == 4


@pytest.mark.parametrize("given", [None, 0.0, 0.5, 1.0])
def test_gpus_that_jobs_can_use_are_taken(given):
    refuse_gpus(given, [ONE])
    refuse_gpus(4.0, [ONE, FOUR])
    refuse_gpus(8.0, [ONE, Spread()])
    refuse_gpus(given, [])


def test_gpus_that_no_job_can_use_or_that_do_not_do_are_refused():
    with pytest.raises(
        InputError, match="--gpus-per-job 4 has no effect: no job .* more than 1. Set processes: 4"
    ):
        refuse_gpus(4.0, [ONE])
    with pytest.raises(InputError, match="processes: 4 needs a GPU for each, and --gpus-per-job is 2"):
        refuse_gpus(2.0, [ONE, FOUR])


def test_the_number_of_processes_is_in_no_identity():
    assert ONE.identity() == FOUR.identity()
    assert ONE.all_settings() == FOUR.all_settings()
