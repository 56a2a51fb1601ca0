"""What caches have of attention: whole maps, the largest weights of each row, or patterns and some rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtome.store import ActivationCache
from microtome.store.errors import InputError

PATTERNS_ALONE = "patterns"


@dataclass(frozen=True)
class Attention:
    """What a cache has of the attention of one example in one layer.

    rows      [heads, rows, T] as stored: of all queries, or of `queries`; None where none are read
    queries   int64 [rows]     whose rows these are; None where all are there
    patterns  float [heads]    by the names that caches give them; None where they come of the rows
    """

    rows: np.ndarray | None = None
    queries: np.ndarray | None = None
    patterns: Mapping[str, np.ndarray] | None = None


def attentions(cache: ActivationCache, layer: int, *, rows: bool) -> Iterator[tuple[int, Attention]]:
    """(example, what the cache has of it) in order; `rows` is whether the rows are needed where patterns are
    kept."""
    if cache.layout.attention_patterns is None:
        for example, maps in cache.iter_attention(layer):
            yield example, Attention(maps)
        return
    kept = cache.attention_patterns(layer)
    if not rows:
        for example in range(cache.examples):
            yield example, Attention(patterns=_of_example(kept, example))
        return
    for example, some_rows, queries in cache.iter_attention_rows(layer):
        yield example, Attention(some_rows, queries, _of_example(kept, example))


def rows_in_common(sources: Sequence[Attention]) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The rows that all have, and of which queries they are; None where all are there."""
    queries = next((source.queries for source in sources if source.queries is not None), None)
    rows = []
    for source in sources:
        assert source.rows is not None
        whole = queries is not None and source.queries is None
        rows.append(source.rows[:, queries] if whole else source.rows)
    return rows, queries


def refuse_without_rows(caches: Sequence[ActivationCache], measures: Sequence[str]) -> None:
    """InputError if one of these keeps no rows, of which measures are computed, or others than another."""
    of_patterns = [cache for cache in caches if cache.layout.attention_patterns is not None]
    counts = {cache.layout.attention_rows or 0 for cache in of_patterns}
    without = [cache for cache in of_patterns if not cache.layout.attention_rows]
    named = " and ".join(cache.path.name for cache in without or of_patterns)
    if without:
        raise InputError(
            f"{named}: no rows of attention are kept, of which {', '.join(measures)} are computed. Set "
            "measures: [] for patterns alone, or extract with attention_rows above 0"
        )
    if len(counts) > 1:
        numbers = " and ".join(map(str, sorted(counts)))
        raise InputError(
            f"{named} keep rows of other queries ({numbers} of each map). Extract both with the same "
            "attention_rows, or set measures: []"
        )


def refuse_without_patterns(caches: Sequence[ActivationCache], names: Sequence[str]) -> None:
    """InputError if one of these was made before there were such patterns."""
    for cache in caches:
        kept = cache.layout.attention_patterns
        missing = [name for name in names if kept is not None and name not in kept]
        if missing:
            raise InputError(
                f"{cache.path.name} does not keep the pattern '{missing[0]}'. Extract again, or leave it out "
                "of patterns"
            )


def described(cache: ActivationCache) -> str:
    """What the attentions of a cache are, in words for a log."""
    layout, name = cache.layout, cache.path.name
    if layout.attention_patterns is not None:
        return (
            f"patterns, computed with the model, and {layout.attention_rows} rows of each map in {name}; "
            "what is measured between two models is an estimate from these rows"
        )
    if layout.attention_topk is None:
        return f"whole maps in {name}"
    return (
        f"the {layout.attention_topk} largest weights of each row in {name}, what is left of a row being "
        "spread evenly over its other keys"
    )


def basis_of_change(caches: Sequence[ActivationCache]) -> str:
    """What measures between caches are computed from, for rows; empty where it is whole maps."""
    return ", ".join(dict.fromkeys(filter(None, map(_basis_of_rows, caches))))


def basis_of_patterns(cache: ActivationCache) -> str:
    """What patterns of a cache are computed from, for rows; empty where it is whole maps."""
    return PATTERNS_ALONE if cache.layout.attention_patterns is not None else _basis_of_rows(cache)


def _basis_of_rows(cache: ActivationCache) -> str:
    if cache.layout.attention_rows is not None:
        return f"{cache.layout.attention_rows} rows"
    topk = cache.layout.attention_topk
    return "" if topk is None else f"top {topk}"


def _of_example(patterns_eh: Mapping[str, np.ndarray], example: int) -> dict[str, np.ndarray]:
    return {name: values_eh[example] for name, values_eh in patterns_eh.items()}
