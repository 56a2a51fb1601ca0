"""Fine-tune language models on biomedical tasks, cache every layer, study the layers without the model."""

from typing import TYPE_CHECKING, Any

from microtome import store

if TYPE_CHECKING:
    from microtome.store import ActivationCache, open_cache

__all__ = ["ActivationCache", "open_cache"]


def __getattr__(name: str) -> Any:
    """Import the reader when it is asked for: the help of commands does without numpy and pydantic."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(store, name)
