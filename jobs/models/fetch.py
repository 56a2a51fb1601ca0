"""A model into a folder of its own: downloaded or copied, with safetensors weights and nothing pickled."""

import re
import shutil
from pathlib import Path
from typing import Any

from microtome.jobs.data.readers.opening import reading
from microtome.jobs.data.readers.parsing import read_json
from microtome.jobs.hub import download_files, hub_model, model_files
from microtome.jobs.hub_cache import check_bytes, file_sha256
from microtome.jobs.models.source import hub_name, revision_of
from microtome.store.errors import InputError, MissingError
from microtome.store.files.outputs import whole_folder
from microtome.store.files.paths import place, there
from microtome.store.files.permissions import settle

PICKLED = "pytorch_model.bin"
CONFIG = "config.json"
INDEX = f"{PICKLED}.index.json"
SAFE_INDEX = "model.safetensors.index.json"
PICKLES = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin")


def fetch(reference: str, out: str) -> Path:
    """Make the folder `out`, which must not hold anything; it appears whole or not at all.

    InputError in one line for what is no model, and for weights that are damaged.
    """
    target = place(out)
    with whole_folder(target) as folder:
        source = place(reference)
        if not there(source) or not source.is_dir():
            source = _from_hub(reference)
        _copy(source, folder)
        if (folder / CONFIG).is_file():
            settle(folder, folder / CONFIG, private=False)
    return target


def _from_hub(reference: str) -> Path:
    """The folder of a hub model in the local cache: one set of weights, pickled if there are no others."""
    repo = hub_name(reference)
    model = hub_model(repo, revision_of(reference))
    names = model_files(model.files)
    if not model.safe:
        names += [name for name in model.files if PICKLES.fullmatch(name)]
    folder = download_files(repo, model.commit, names)
    check_bytes(repo, [folder / name for name in names], file_sha256)
    return folder


def _copy(source: Path, folder: Path) -> None:
    if not isinstance(read_json(source / "config.json"), dict):
        raise InputError(f"{source / 'config.json'}: expected a JSON object")
    names = model_files([path.name for path in source.iterdir()])
    indices = {INDEX, SAFE_INDEX} if "model.safetensors" in names else {INDEX}
    for name in names:
        if name not in indices:
            _copy_file(source / name, folder / name)
    if (folder / SAFE_INDEX).is_file():
        _refuse_missing_parts(source / SAFE_INDEX, folder)
    if not any(folder.glob("*.safetensors")):
        _convert(source, folder / "model.safetensors")
    for path in folder.glob("*.safetensors"):
        _refuse_damaged(path, source / path.name)


def _copy_file(path: Path, target: Path) -> None:
    with reading(path), path.open("rb") as stream:
        stream.read(1)  # what cannot be read is the fault of the source
    shutil.copyfile(path, target)


def _refuse_damaged(path: Path, source: Path) -> None:
    """InputError unless the header of safetensors fits the bytes after it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as weights:
            count = len(weights.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{source}: damaged weights ({_first_line(error)}); get the file again") from None
    if count == 0:
        raise InputError(f"{source}: holds no weights")


def _refuse_missing_parts(index: Path, folder: Path) -> None:
    """InputError unless all files that an index names are in a folder."""
    missing = [name for name in _indexed_files(index) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{index} names {missing[0]}, which is not there; get the file, or the whole model again"
        )


def _convert(source: Path, out: Path) -> None:
    """Write the tensors of a pickled checkpoint as safetensors, shared ones once each."""
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    for path in _pickles(source):
        tensors.update(_unpickled(path))
    own = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(own, out, metadata={"format": "pt"})


def _unpickled(path: Path) -> dict[str, Any]:
    """The tensors of one pickled file, by name, read with the restricted unpickler."""
    import torch

    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes can make the unpickler raise anything
        raise InputError(f"{path}: no weights of torch, or damaged ({_first_line(error)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(v, torch.Tensor) for v in tensors.values()):
        raise InputError(f"{path}: expected tensors by name, found something else")
    return tensors


def _pickles(source: Path) -> list[Path]:
    index = source / INDEX
    names = _indexed_files(index) if index.is_file() else [PICKLED]
    paths = [source / name for name in names]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise MissingError(f"{source} has neither safetensors nor {absent[0].name}")
    return paths


def _indexed_files(index: Path) -> list[str]:
    """The files that an index names as those of the weights."""
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files or not all(map(_is_file_name, files.values())):
        raise InputError(f"{index}: expected a weight_map of parameters to files beside it")
    return sorted(set(files.values()))


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and Path(value).name == value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
