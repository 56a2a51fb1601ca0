"""Fine-tune language models on biomedical tasks, cache every layer, study the layers without the model."""

from microtome.store import ActivationCache, Store, open_cache

__all__ = ["ActivationCache", "Store", "open_cache"]
