"""What a part is: a contiguous range of examples on disk, in one format or another."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Chunks = tuple[int, int, int]


class Part(ABC):
    """An open part. Arrays are [layer, ...]; a read touches the bytes of one layer only."""

    @abstractmethod
    def read(self, name: str, layer: int, start: int, stop: int) -> np.ndarray:
        """Layer number `layer` of array `name`, cut to start..stop along its ragged axis.

        hidden gives [tokens, dim], attention gives [heads, pairs], in the dtype on disk.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files."""


class PartFormat(ABC):
    """How a part is written and opened. One class per format, one contract test suite for all."""

    suffix: str

    @abstractmethod
    def write(self, path: Path, arrays: Mapping[str, np.ndarray], chunks: Mapping[str, Chunks]) -> None:
        """Write all arrays of a part to `path`, a name that does not exist yet."""

    @abstractmethod
    def open(self, path: Path) -> Part:
        """Open a part for reading; StoreError if it cannot be."""
