"""Patterns of attention, computed where the maps are made, and some rows of each map; the maps are let go."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from microtome.analysis.attention.kept_patterns import KEPT_PATTERNS, MapPatterns
from microtome.analysis.attention.patterns import TokenFacts
from microtome.analysis.numerics.arrays import Array
from microtome.store.cache.attention_rows import ABSENT, kept_queries
from microtome.store.cache.layout import ATTENTION, PATTERNS, Layout
from microtome.store.cache.writer import PartBuffer

PAIRS_AT_A_TIME = 1 << 22  # of queries and keys: what is computed from them takes a few times their memory
NEVER_ABSENT = KEPT_PATTERNS.index("to_sink")  # so that what is not a number there is an error


class _Example(NamedTuple):
    """What is the same for the maps of every layer."""

    number: int
    length: int
    patterns: MapPatterns
    queries: torch.Tensor


class PatternFill:
    """Puts the patterns of each map into a part, and the rows that are kept. With a `device` torch computes
    them there, without one numpy does, as it does for whoever reads maps from a cache."""

    def __init__(
        self, buffer: PartBuffer, layout: Layout, facts: TokenFacts, device: torch.device | None
    ) -> None:
        self._buffer, self._layout, self._facts, self._device = buffer, layout, facts, device
        self._examples: Sequence[_Example] = ()

    def next_batch(self, examples: Sequence[int]) -> None:
        """What is put from now on are the maps of these examples."""
        self._examples = [self._prepared(example) for example in examples]

    def put(self, arrays: Mapping[str, torch.Tensor], index: int, maps: torch.Tensor) -> None:
        """The [batch, heads, S, S] of the layer that is number `index` of those kept."""
        for maps_of_one, example in zip(maps, self._examples, strict=True):
            square = maps_of_one[:, : example.length, : example.length].float()
            window = self._buffer.window(PATTERNS, example.number)
            arrays[PATTERNS][index, :, window] = self._patterns(example.patterns, square)
            if ATTENTION in arrays:
                window = self._buffer.window(ATTENTION, example.number)
                arrays[ATTENTION][index, :, window] = square[:, example.queries].flatten(1)

    def _prepared(self, number: int) -> "_Example":
        tokens = self._facts.example(number)
        length = len(tokens.positions)
        queries = kept_queries(number, length, self._layout.attention_rows or 0)
        patterns = MapPatterns(tokens, self._to_library)
        return _Example(number, length, patterns, torch.from_numpy(queries).to(self._device))

    def _to_library(self, values: np.ndarray) -> Array:
        return values if self._device is None else torch.from_numpy(values).to(self._device)

    def _patterns(self, patterns: MapPatterns, square: torch.Tensor) -> torch.Tensor:
        """float32 [heads, patterns]; ABSENT is what the example, or a head, does not have."""
        heads = max(1, PAIRS_AT_A_TIME // square[0].numel())
        values = torch.cat([self._columns(patterns, some) for some in square.split(heads)])
        stored = torch.nan_to_num(values, nan=ABSENT)
        stored[:, NEVER_ABSENT] = values[:, NEVER_ABSENT]
        return stored

    def _columns(self, patterns: MapPatterns, square: torch.Tensor) -> torch.Tensor:
        measured = patterns.measure(square.numpy() if self._device is None else square)
        absent = torch.full((len(square),), ABSENT, device=square.device)
        return torch.stack([torch.as_tensor(measured.get(name, absent)) for name in KEPT_PATTERNS], dim=1)
