"""Whether two caches can be compared, and on which layers."""

import numpy as np

from microtome.store import ActivationCache
from microtome.store.errors import InputError


def same_cache(before: ActivationCache, after: ActivationCache) -> bool:
    """Whether both are the same artifact."""
    return before.path.resolve() == after.path.resolve()


def select_layers(
    requested: tuple[int, ...] | None, kept: tuple[int, ...], cache: ActivationCache
) -> tuple[int, ...]:
    """The layers asked for, all that are kept if None; InputError if one of them is not in the cache."""
    for layer in requested or ():
        if layer not in kept:
            listed = ", ".join(map(str, kept))
            raise InputError(f"layer {layer} is not in {cache.path.name}; give some of {listed}")
    return kept if requested is None else requested


def require_same_tokens(before: ActivationCache, after: ActivationCache) -> None:
    """InputError unless both caches hold the same tokens in the same order."""
    same = np.array_equal(before.offsets, after.offsets) and np.array_equal(before.input_ids, after.input_ids)
    if not same:
        names = f"{before.path.name} and {after.path.name}"
        raise InputError(f"{names} do not hold the same tokens; extract both with the same task and options")
