"""Fractions of the training data: nested, stratified, seeded, the same for every model."""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from microtome.jobs.data.examples import Example, document_names
from microtome.store.errors import InputError

HOLD_OUT_SEED = 0  # one and the same for everybody


def subset_order(strata: Sequence[Hashable], seed: int) -> np.ndarray:
    """A permutation whose every prefix has the strata in their overall proportions, int64 [examples].

    Within a stratum of n examples in random order, example i stands at (i + 1/2) / n; the strata are
    merged by that key. Prefixes of one order are nested by construction.
    """
    rng = np.random.default_rng(seed)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, stratum in enumerate(strata):
        members[stratum].append(index)
    keys = np.empty(len(strata))
    for indices in members.values():
        keys[rng.permutation(indices)] = (np.arange(len(indices)) + 0.5) / len(indices)
    return np.lexsort((rng.random(len(strata)), keys))


def fraction_subset(strata: Sequence[Hashable], percent: float, seed: int) -> list[int]:
    """Indices, ascending, of `percent` % of the examples; at least one unless `percent` is 0."""
    if not 0 <= percent <= 100:
        raise InputError(f"fraction {percent:g} is not a percentage between 0 and 100")
    if percent == 0 or not strata:
        return []
    size = max(1, math.floor(len(strata) * percent / 100 + 0.5))
    return sorted(subset_order(strata, seed)[:size].tolist())


def held_out(
    examples: Sequence[Example], shares: Mapping[str, float], seed: int = HOLD_OUT_SEED
) -> dict[str, list[Example]]:
    """Splits that were never published: each a share of the documents, the rest is `train`.

    An example without a document is one of its own. No text is in two splits word for word: documents that
    share one are held out together. A group of more documents than a split takes is not held out for it.
    The order of the file is kept.
    """
    names = document_names(examples)
    groups = _documents_by_shared_texts(names, examples)
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    documents = sum(len(group) for group in groups)
    split_of: dict[str, str] = {}
    for split, share in shares.items():
        size, taken = max(1, round(share * documents)), 0
        for group in (groups[index] for index in order):
            if taken >= size:
                break
            if group[0] in split_of or len(group) > size:
                continue
            split_of |= dict.fromkeys(group, split)
            taken += len(group)
    by_split: dict[str, list[Example]] = {split: [] for split in ("train", *shares)}
    for name, example in zip(names, examples, strict=True):
        by_split[split_of.get(name, "train")].append(example)
    return by_split


def _documents_by_shared_texts(names: Sequence[str], examples: Sequence[Example]) -> list[list[str]]:
    """The documents in groups: those of one group share texts, at once or by way of others of the group."""
    group_of: dict[str, list[str]] = {}
    with_text: dict[tuple[tuple[str, ...], ...], str] = {}  # texts -> the first document that has them
    for name, example in zip(names, examples, strict=True):
        group = group_of.setdefault(name, [name])
        other = group_of[with_text.setdefault(example.texts, name)]
        if group is not other:
            small, large = sorted((group, other), key=len)
            large += small
            group_of |= dict.fromkeys(small, large)
    return list({id(group): group for group in group_of.values()}.values())


def sample(total: int, size: int | None, seed: int) -> list[int]:
    """Indices, ascending, of at most `size` of `total` examples; a smaller sample is part of a larger."""
    if size is None or size >= total:
        return list(range(total))
    return sorted(np.random.default_rng(seed).permutation(total)[:size].tolist())
