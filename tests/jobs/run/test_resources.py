"""What jobs ask of nodes, and what is said of jobs that no node can run."""

import pytest

from microtome.jobs.run.resources import Demand, demand, what_nobody_has

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
