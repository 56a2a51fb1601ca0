"""How the vectors of tokens become the vector of a unit, by name. units.py computes it."""

from typing import Literal

Pooling = Literal["mean", "first", "last"]  # which subwords of a word, or tokens of a text
Pair = Literal["both", "difference-product"]  # features of a pair, from the vectors of its two sides
