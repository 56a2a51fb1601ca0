"""The memory of a forward pass, known before it runs: the pass is made without numbers.

On torch's meta device tensors have shapes and no values, so that a model of any size is built and run from
its config in a second, on any machine. What is alive at a time is counted.
"""

import weakref
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

LOOKS_AT_A_VALUE = (torch.ops.aten.item, torch.ops.aten.is_nonzero, torch.ops.aten._local_scalar_dense)
MARGIN = 0.9  # of the memory that is free, for what allocators lose between blocks


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made while this is open; `peak` is the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in LOOKS_AT_A_VALUE:
            return False if args[0].dtype is torch.bool else 1  # mostly: whether a batch has no padding
        made = function(*args, **(kwargs or {}))
        for value in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(value, torch.Tensor):
                self._add(value.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._seen -= {key}
        self.live -= size


class _FusedAttention(TorchFunctionMode):
    """Takes scaled dot product attention for one operation, as it is where there is a kernel for it; on the
    meta device it is made of several, with the map that the kernel avoids."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            query, _, value = args[:3]
            mask = args[3] if len(args) > 3 else (kwargs or {}).get("attn_mask")
            # Kernels take the mask as numbers, which are there as long as the attention is computed.
            made = [query.new_empty((*query.shape[:-1], value.shape[-1]))]
            made += [] if mask is None else [query.new_empty(mask.shape)]
            return made[0]
        return function(*args, **(kwargs or {}))

    def __enter__(self) -> Self:
        super().__enter__()
        return self


def pass_bytes(model: Any, sequences: int, length: int) -> int | None:
    """The most bytes of activations that are alive at a time while a model runs so many sequences of a
    length; None where the model cannot be run without numbers. `model` is only looked at."""
    try:
        with torch.device("meta"):
            shadow = type(model)(model.config).to(next(model.parameters()).dtype).eval()
            ids = torch.zeros((sequences, length), dtype=torch.int64)
            mask = torch.ones_like(ids)
        with torch.inference_mode(), _FusedAttention(), LiveBytes() as counted:
            shadow(input_ids=ids, attention_mask=mask)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None  # a step that looks at values; the batch is halved where it does not fit
    return counted.peak


def fitting_tokens(model: Any, longest: int, most: int, free: int) -> int:
    """Tokens per pass, `most` or a half, a quarter... of them, so that a batch of the longest sequences fits
    into `free` bytes. One sequence at the least; `most` where the memory of a pass is not known."""
    tokens = most
    while tokens > longest:
        needed = pass_bytes(model, tokens // longest, longest)
        if needed is None or needed <= MARGIN * free:
            break
        tokens //= 2
    return tokens
