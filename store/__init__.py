"""What is on disk: identities, artifacts, result rows and the activation cache. No torch in here."""

from microtome.store.artifacts.store import Artifact, Store, default_root
from microtome.store.cache.reader import ActivationCache, open_cache

__all__ = ["ActivationCache", "Artifact", "Store", "default_root", "open_cache"]
