"""Fine-tune language models on biomedical tasks, cache every layer, study the layers without the model.

What a notebook uses has its name here, and is imported when it is first used: `import microtome` loads
nothing else. README.md beside this file shows all of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.analysis.attention.compare import AttentionConfig
    from microtome.analysis.probing.settings import ProbeConfig
    from microtome.analysis.similarity import linear_cka
    from microtome.analysis.similarity_settings import SimilarityConfig
    from microtome.jobs.kinds.extraction.settings import ExtractConfig
    from microtome.jobs.notebook import (
        compare_attention,
        compare_similarity,
        derived_results,
        predict,
        probe,
        results,
    )
    from microtome.jobs.tasks.recipe import Recipe
    from microtome.store.artifacts.store import Store
    from microtome.store.cache.listing import caches
    from microtome.store.cache.reader import ActivationCache, open_cache
    from microtome.store.errors import MicrotomeError

    __version__: str

# Name -> the module that defines it; a test holds this equal to the imports above, which editors read.
_MODULES = {
    "ActivationCache": "microtome.store.cache.reader",
    "AttentionConfig": "microtome.analysis.attention.compare",
    "ExtractConfig": "microtome.jobs.kinds.extraction.settings",
    "MicrotomeError": "microtome.store.errors",
    "ProbeConfig": "microtome.analysis.probing.settings",
    "Recipe": "microtome.jobs.tasks.recipe",
    "SimilarityConfig": "microtome.analysis.similarity_settings",
    "Store": "microtome.store.artifacts.store",
    "caches": "microtome.store.cache.listing",
    "compare_attention": "microtome.jobs.notebook",
    "compare_similarity": "microtome.jobs.notebook",
    "derived_results": "microtome.jobs.notebook",
    "linear_cka": "microtome.analysis.similarity",
    "open_cache": "microtome.store.cache.reader",
    "predict": "microtome.jobs.notebook",
    "probe": "microtome.jobs.notebook",
    "results": "microtome.jobs.notebook",
}
__all__ = [
    "ActivationCache",
    "AttentionConfig",
    "ExtractConfig",
    "MicrotomeError",
    "ProbeConfig",
    "Recipe",
    "SimilarityConfig",
    "Store",
    "__version__",
    "caches",
    "compare_attention",
    "compare_similarity",
    "derived_results",
    "linear_cka",
    "open_cache",
    "predict",
    "probe",
    "results",
]


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is a mistake

    def __getattr__(name: str) -> Any:
        value: Any
        if name == "__version__":
            value = importlib.import_module("importlib.metadata").version("microtome")
        elif name in _MODULES:
            value = getattr(importlib.import_module(_MODULES[name]), name)
        else:
            names = ", ".join(_MODULES)
            raise AttributeError(f"microtome has no '{name}'; it has {names}", name=name, obj=_this_module())
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _this_module() -> Any:
    """For Python's own "did you mean"."""
    return importlib.import_module(__name__)
