"""What is on disk: identities, artifacts, result rows and the activation cache. No torch in here."""

from store.activations import ActivationCache, open_cache
from store.artifacts import Artifact, Store, default_root

__all__ = ["ActivationCache", "Artifact", "Store", "default_root", "open_cache"]
