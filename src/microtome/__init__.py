"""Fine-tune language models on biomedical tasks, cache every layer, study the layers without the model."""

from microtome.store import ActivationCache, open_cache

__all__ = ["ActivationCache", "open_cache"]
