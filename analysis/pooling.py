"""How the vectors of tokens become the vector of a unit, by name. units.py computes it."""

from typing import Literal

# Which subwords of a word, or tokens of a text; mean-all: of a text, special tokens included.
Pooling = Literal["mean", "first", "last", "mean-all"]
Pair = Literal["both", "difference-product"]  # features of a pair, from the vectors of its two sides

# What a cache has to keep of its tokens for a pooling: by unit, besides all of them.
FITTING: dict[str, dict[Pooling, tuple[str, ...]]] = {
    "word": {
        "mean": ("words", "labelled"),
        "first": ("first_subwords", "labelled"),
        "last": ("last_subwords", "labelled"),
    },
    "text": {"mean": ("mean",), "first": ("cls",), "last": ("last",), "mean-all": ()},
    "segment_pair": {
        "mean": ("mean", "labelled"),
        "first": ("labelled",),
        "last": ("labelled",),
        "mean-all": (),
    },
    "entity_pair": {"mean": ("mean", "labelled"), "first": ("labelled",), "last": ("labelled",)},
}


def rows_refusal(tokens: str, unit: str, pooling: Pooling) -> str:
    """Why units of a cache that keeps `tokens` cannot be pooled so; empty where they can."""
    if pooling not in FITTING[unit]:
        return f"pooling {pooling} is of texts; the words and mentions of this task have no special tokens"
    fitting = ("all", *FITTING[unit][pooling])
    if tokens in fitting:
        return ""
    what = unit.replace("_", " ")
    return (
        f"pooling: {pooling} of {what} units needs a cache with tokens: {' or '.join(fitting)}, "
        f"and this one has {tokens}"
    )
