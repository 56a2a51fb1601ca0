"""The model that a process extracts with: loaded once for all jobs that use it."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from microtome.jobs.models.placement import DeviceMap
from microtome.jobs.models.source import ModelSource
from microtome.store.artifacts.store import Store


class LoadedBackbone:
    """One model at a time, on the device of this process; it is let go when this is closed, or when the same
    weights are asked for in another way."""

    def __init__(self) -> None:
        from microtome.jobs.models import loading

        self.device: Any = loading.best_device()
        self._identity = ""
        self._folder: Path | None = None
        self._model: Any = None
        self._loaded: tuple[str, bool, str, str] | None = None  # weights, with attentions, dtype, device map

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model = self._loaded = None

    def folder(self, source: ModelSource, store: Store, scratch: Path) -> Path:
        """The folder of a checkpoint, whose bytes are checked the first time. That of an adapter, merged into
        its base, is made in `scratch`, and made again once that is gone."""
        if source.identity != self._identity or self._folder is None or not self._folder.is_dir():
            self._folder = source.folder(store, scratch)
            self._identity = source.identity
        return self._folder

    def model(self, *, attentions: bool, compute: str, device_map: DeviceMap = "one") -> Any:
        """The model in the folder that was asked for last (see loading.load_backbone)."""
        from microtome.jobs.models import loading

        assert self._folder is not None
        wanted = self._identity, attentions, compute, device_map
        if self._loaded != wanted:
            self._model = self._loaded = None  # so that memory never holds two
            self._model = loading.load_backbone(
                self._folder, self.device, attentions=attentions, compute=compute, device_map=device_map
            )
            self._loaded = wanted
        return self._model
