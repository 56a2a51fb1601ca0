"""A model into a folder of its own: downloaded or copied, with safetensors weights and nothing pickled."""

import json
import shutil
import tempfile
from pathlib import Path

from jobs.hub import MODEL_FILES, download_files
from jobs.models.source import hub_name
from store.errors import InputError, MissingError
from store.modes import settle
from store.places import place, there

PICKLED = "pytorch_model.bin"
CONFIG = "config.json"
INDEX = f"{PICKLED}.index.json"


def fetch(reference: str, out: str) -> Path:
    """Make the folder `out`, which must not exist; it appears whole or not at all."""
    target = place(out)
    if target.exists():
        raise InputError(f"{target} exists; choose another folder or remove it")
    source = place(reference)
    if not there(source) or not source.is_dir():
        source = download_files(hub_name(reference), None, MODEL_FILES)
        if not any(source.glob("*.safetensors")):
            source = download_files(
                hub_name(reference), None, [*MODEL_FILES, f"{PICKLED}*", "pytorch_model-*.bin"]
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as aside:
            _copy(source, Path(aside) / "model")
            if (Path(aside) / "model" / CONFIG).is_file():
                settle(Path(aside) / "model", Path(aside) / "model" / CONFIG, private=False)
            (Path(aside) / "model").rename(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir()
    for pattern in MODEL_FILES:
        for path in source.glob(pattern):
            if path.name != INDEX:
                shutil.copyfile(path, folder / path.name)
    if not any(folder.glob("*.safetensors")):
        _convert(source, folder / "model.safetensors")


def _convert(source: Path, out: Path) -> None:
    """Write the tensors of a pickled checkpoint as safetensors, shared ones once each."""
    import torch
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for path in _pickles(source):
        tensors.update(torch.load(path, map_location="cpu", weights_only=True))
    own = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(own, out, metadata={"format": "pt"})


def _pickles(source: Path) -> list[Path]:
    index = source / INDEX
    names = {PICKLED}
    if index.is_file():
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    paths = [source / name for name in sorted(names)]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise MissingError(f"{source} has neither safetensors nor {absent[0].name}")
    return paths
