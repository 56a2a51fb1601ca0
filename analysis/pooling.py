"""How the vectors of tokens become the vector of a unit, by name. units.py computes it."""

from typing import Literal

# Which subwords of a word, or tokens of a text; mean-all: of a text, special tokens included.
Pooling = Literal["mean", "first", "last", "mean-all"]
Pair = Literal["both", "difference-product"]  # features of a pair, from the vectors of its two sides
