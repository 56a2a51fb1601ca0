"""How numbers and lists are written in a sentence."""

from collections.abc import Sequence

from markupsafe import Markup

MOST_MODELS = 6  # a sentence that lists more models than this is no longer read
ONE_RUN_NOTE = "one training run: its luck is in no interval"


def interval_text(low: float, high: float, places: int = 3) -> str:
    """An interval as "95 % interval 0.100 to 0.350"."""
    return f"95 % interval {low:.{places}f} to {high:.{places}f}".replace("-", "\N{MINUS SIGN}")


def listed(parts: Sequence[Markup | str]) -> Markup:
    """Several parts as "a, b and c"."""
    *first, last = parts
    return Markup("{} and {}").format(Markup(", ").join(first), last) if first else Markup("{}").format(last)
