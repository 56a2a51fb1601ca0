"""What is on disk: identities, artifacts, result rows and the activation cache. No torch in here."""

from typing import TYPE_CHECKING, Any

from microtome.store.lazy import LazyImport

if TYPE_CHECKING:
    from microtome.store.artifacts.store import Artifact, Store, default_root
    from microtome.store.cache.reader import ActivationCache, open_cache

__all__ = ["ActivationCache", "Artifact", "Store", "default_root", "open_cache"]

_NAMES = {
    "ActivationCache": LazyImport("microtome.store.cache.reader:ActivationCache"),
    "Artifact": LazyImport("microtome.store.artifacts.artifact:Artifact"),
    "Store": LazyImport("microtome.store.artifacts.store:Store"),
    "default_root": LazyImport("microtome.store.artifacts.store:default_root"),
    "open_cache": LazyImport("microtome.store.cache.reader:open_cache"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: most commands need only some of the store."""
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _NAMES[name].load()
