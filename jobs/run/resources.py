"""What jobs ask of the nodes of a cluster, and which of it no node has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from microtome.store.config import Config
from microtome.store.errors import InputError

MOST_GPUS = 1.0  # that a job can use whose model is on one
GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Demand:
    """What one job asks for: CPUs and GPUs that it holds, bytes of memory, and the threads that it runs."""

    cpus: int
    gpus: float = 0.0
    memory: int = 0
    threads: int = 1

    def as_resources(self) -> dict[str, float]:
        """By the names that Ray has for them, without what is not asked for."""
        named = {"GPU": self.gpus, "CPU": float(self.cpus), "memory": float(self.memory)}
        return {name: amount for name, amount in named.items() if amount}


def most_gpus(settings: Config) -> float:
    """How many GPUs a job of these settings can use: those that the run gives it, if its model is spread; one
    for each process of a training."""
    spread = any(getattr(level, "device_map", "one") == "auto" for level in _levels(settings))
    return float("inf") if spread else max(MOST_GPUS, processes_of(settings))


def processes_of(settings: Config) -> int:
    """Over how many processes the training of a job of these settings is sharded; one where it has none."""
    return max(getattr(level, "processes", 1) for level in _levels(settings.settled()))


def gpus_of(settings: Config, given: float) -> float:
    """The GPUs of a job where a job gets so many: each process of a training has one, whatever is given."""
    processes = processes_of(settings)
    return float(processes) if given and processes > 1 else given


def refuse_gpus(given: float | None, jobs: Iterable[Config]) -> None:
    """InputError if GPUs per job are given that suit none of the settings, or not all."""
    jobs = list(jobs)
    if given is None or not jobs:
        return
    processes = max(map(processes_of, jobs))
    if processes > 1 and 0 < given < processes:
        raise InputError(
            f"processes: {processes} needs a GPU for each, and --gpus-per-job is {given:g}; leave it out, or "
            f"give {processes}"
        )
    if given > max(map(most_gpus, jobs)):
        raise InputError(
            f"--gpus-per-job {given:g} has no effect: no job of this run can use more than "
            f"{max(map(most_gpus, jobs)):g}. Set processes: {given:g} in a recipe, or device_map: auto"
        )


def _levels(settings: Config) -> list[Config]:
    return [settings, *(value for _, value in settings if isinstance(value, Config))]


def demand(*, gpus: float, cpus: int, memory: int, most: float = MOST_GPUS) -> Demand:
    """Of a job that is given `gpus`, of which it can use `most`, and `cpus`. One with a GPU holds
    no CPU, so that jobs without one never take the place that it waits for; it still runs as many threads."""
    return Demand(cpus=0 if gpus else cpus, gpus=min(gpus, most), memory=memory, threads=cpus)


def what_nobody_has(waiting: Iterable[Demand], nodes: Iterable[Mapping[str, float]]) -> list[str]:
    """A line for each demand that none of the nodes can ever meet: how many jobs wait for what."""
    nodes = list(nodes)
    lines = []
    for wanted, count in Counter(waiting).items():
        if any(_fits(wanted, node) for node in nodes):
            continue
        jobs = f"{count} job waits" if count == 1 else f"{count} jobs wait"
        lines.append(f"{jobs} for {_in_words(wanted, nodes)}")
    return lines


def _fits(wanted: Demand, node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0) >= amount for name, amount in wanted.as_resources().items())


def _in_words(wanted: Demand, nodes: list[Mapping[str, float]]) -> str:
    """The first resource that no node has enough of; if each is somewhere, all of them on one node."""
    for name, amount in wanted.as_resources().items():
        most = max((node.get(name, 0) for node in nodes), default=0)
        if most < amount:
            has = f"no node has more than {_amount(name, most)}" if most else "the cluster has none"
            return f"{_amount(name, amount)}; {has}"
    all_of_them = " and ".join(_amount(name, amount) for name, amount in wanted.as_resources().items())
    return f"{all_of_them}; no node has them together"


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / GIGABYTE:.1f} GB of memory"
    if name == "GPU" and amount <= 1:
        return "a GPU"
    return f"a {name}" if amount == 1 else f"{amount:g} {name}s"
