"""A training that several processes share, each with a part of the weights, gradients and averages of the
optimiser (fully sharded data parallel, FSDP; Zhao et al. 2023).

torch shards the modules, and transformers' Trainer is told that the model moves its own weights: accelerate
shards on GPUs alone, while this is the same on CPUs. Every process runs the same job on its share of each
batch; the first of them writes what the job makes.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(frozen=True)
class Group:
    """The processes of a training, and which of them this is. Each takes the examples of a step in pieces of
    its share, halved `halvings` times."""

    rank: int = 0
    size: int = 1
    halvings: int = 0


class OutOfMemoryInGroupError(Exception):
    """One process of several has no memory for pieces of `examples` examples: all have to begin again."""

    def __init__(self, examples: int) -> None:
        super().__init__(examples)
        self.examples = examples


_group = Group()


def group() -> Group:
    """The group that this process belongs to; of one process unless it is within `member_of`."""
    return _group


@contextlib.contextmanager
def member_of(joined: Group, rendezvous: Path) -> Iterator[None]:
    """Within, this process is one of a group, whose processes find each other through a file. Each has the
    GPU of its rank, if there are GPUs."""
    global _group
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(joined.rank)
    distributed.init_process_group(
        "cuda:nccl,cpu:gloo" if cuda else "gloo",
        init_method=f"file://{rendezvous}",
        rank=joined.rank,
        world_size=joined.size,
        timeout=timedelta(hours=2),  # the others wait while the first sends a state away
    )
    _group = joined
    try:
        yield
    finally:
        _group = Group()
        distributed.destroy_process_group()


def shard(model: Any) -> None:
    """Leave this process its part of each parameter, in place. A block of the model, as transformers names
    them, has all of its weights while it computes and at no other time."""
    blocks = set(getattr(model, "_no_split_modules", None) or ())
    mesh = distributed.init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (_group.size,))
    for module in reversed(list(model.modules())):  # what is within a block comes before it
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    # The Trainer asks this of a model, and then neither wraps it nor moves it to a device.
    model._is_distributed_loading_by_transformers = True


def is_sharded(model: Any) -> bool:
    """Whether this process has a part of each weight alone."""
    return isinstance(model, FSDPModule)


def without_gradients(model: Any) -> Any:
    """Within, nothing is kept for gradients; sharded weights are gathered into memory that training uses
    again, which torch's stricter inference mode forbids."""
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


def own_part(value: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor with the parts of all processes, all of which have to call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def own_part_of(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of a whole tensor the part that this process has of `like`, as a tensor like it."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def with_own_part(like: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """A tensor like another, of which this process has `part`."""
    if not isinstance(like, DTensor):
        return part
    shape, stride = like.shape, like.stride()
    return DTensor.from_local(
        part.to(like.device), like.device_mesh, like.placements, run_check=False, shape=shape, stride=stride
    )


def own_part_of_optimizer(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """The state of an optimiser with whole averages, cut to the parts that this process has of its
    parameters."""
    parameters = [parameter for of_group in optimizer.param_groups for parameter in of_group["params"]]
    cut = {
        number: {
            name: own_part_of(value, parameters[number]) if value.shape == parameters[number].shape else value
            for name, value in averages.items()
        }
        for number, averages in state["state"].items()
    }
    return {**state, "state": cut}


def whole_weights(model: Any) -> dict[str, torch.Tensor]:
    """All weights of a sharded model in main memory of the first process, nothing in the others; all of them
    have to call this. Weights that are tied are one tensor."""
    return whole_on_first(model.state_dict(), {})


def whole_on_first(value: Any, copies: dict[Any, torch.Tensor]) -> Any:
    """A copy of a nested state in main memory, of whole tensors; those of every process but the first are
    empty. Tensors that share their values, as tied weights do, share their copy."""
    if isinstance(value, torch.Tensor):
        part = own_part(value)
        key = part.device, part.data_ptr(), value.shape, part.stride(), value.dtype
        if not part.numel() or key not in copies:
            made = whole(value.detach())
            copies[key] = made.to("cpu", copy=True) if _group.rank == 0 else made.new_empty(0, device="cpu")
        return copies[key]
    if isinstance(value, dict):
        return {name: whole_on_first(item, copies) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole_on_first(item, copies) for item in value)
    return copy.deepcopy(value)


def save_model(model: Any, folder: Path) -> None:
    """Write a model as one plain checkpoint, whether or not it is sharded; of several processes all have to
    call this, and the first writes."""
    weights = whole_weights(model) if is_sharded(model) else None
    if _group.rank == 0:
        model.save_pretrained(folder, state_dict=weights)


def load_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a sharded model its part of whole weights."""
    with torch.no_grad():
        for name, held in model.state_dict().items():
            if name in weights:
                held.copy_(own_part_of(weights[name], held))


def total(number: int) -> int:
    """The sum of a number over all processes."""
    if _group.size == 1:
        return number
    value = torch.tensor(number)
    distributed.all_reduce(value)
    return int(value)


def any_process(is_so: bool) -> bool:
    """Whether something is so in any process; the same answer in all."""
    return total(int(is_so)) > 0


def of_first(value: Any) -> Any:
    """What the first process has, in all."""
    if _group.size == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]
