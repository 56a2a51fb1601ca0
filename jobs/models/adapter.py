"""What a LoRA adapter in the store says of itself."""

from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from microtome.store.artifacts.store import Artifact

OUTPUT = "adapter"  # the key under `outputs` of the manifest


@dataclass(frozen=True, kw_only=True)
class AdapterDescription:
    """The name of the model that the adapter was trained on, and the size of its weights in bytes."""

    base: str
    bytes: int

    @classmethod
    def of(cls, artifact: Artifact) -> Self | None:
        """The description of an adapter; None for an artifact that holds whole weights."""
        values = artifact.outputs.get(OUTPUT)
        return None if values is None else cls(**values)

    def write(self, outputs: MutableMapping[str, Any]) -> None:
        """Put the description into the `outputs` of a manifest in the making."""
        outputs[OUTPUT] = asdict(self)
