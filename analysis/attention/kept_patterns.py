"""The patterns that a cache keeps in place of maps: under every setting that a comparison may ask for.

They are computed where the maps are made, by the code that computes them from maps that are stored.
"""

from collections.abc import Callable

import numpy as np

from microtome.analysis.attention.patterns import (
    ENTROPY_OF_ALL,
    PATTERNS,
    ExamplePatterns,
    Tokens,
    share_of_sink,
    share_of_special,
)
from microtome.analysis.attention.rows import Places, distributions, tokens_to_compare
from microtome.analysis.numerics.arrays import Array

SPECIAL = ("mask", "keep")  # what a comparison may do with special tokens
OF_WHOLE_MAPS = ("to_special", "to_sink")  # whatever is done with special tokens
OF_COMPARED_TOKENS = (*(name for name in PATTERNS if name not in OF_WHOLE_MAPS), ENTROPY_OF_ALL)


def kept_name(pattern: str, special: str, invisible: str) -> str:
    """What a pattern under settings of a comparison is called in a cache."""
    if pattern in OF_WHOLE_MAPS:
        return pattern
    if pattern == "entropy" and invisible == "keep":
        pattern = ENTROPY_OF_ALL
    return f"{pattern}, special tokens {'masked' if special == 'mask' else 'kept'}"


KEPT_PATTERNS = (
    *(kept_name(pattern, special, "mask") for special in SPECIAL for pattern in OF_COMPARED_TOKENS),
    *OF_WHOLE_MAPS,
)


class MapPatterns:
    """Computes every one of KEPT_PATTERNS from the maps of one example. `to_library` makes a numpy array one
    of the library, and on the device, that the maps are of."""

    def __init__(
        self, tokens: Tokens, to_library: Callable[[np.ndarray], Array] = lambda values: values
    ) -> None:
        self._special_tokens = to_library(np.flatnonzero(tokens.special))
        self._by_special: dict[str, tuple[Places | Array, ExamplePatterns]] = {}
        for special in SPECIAL:
            compared = tokens_to_compare(tokens.special, special)
            patterns = ExamplePatterns(OF_COMPARED_TOKENS, tokens.only(compared), to_library)
            places = compared if isinstance(compared, slice) else to_library(compared)
            self._by_special[special] = places, patterns

    def measure(self, maps_hqk: Array) -> dict[str, Array]:
        """Float [heads] by name, of whole maps [heads, T, T] in float32. What the example does not have is
        left out; of a head without a row it is NaN."""
        values = {"to_special": share_of_special(maps_hqk, self._special_tokens)}
        values["to_sink"] = share_of_sink(maps_hqk)
        for special, (compared, patterns) in self._by_special.items():
            measured = patterns.measure(*distributions(maps_hqk, compared, compared))
            values |= {kept_name(name, special, "mask"): value for name, value in measured.items()}
        return values
