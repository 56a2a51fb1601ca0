"""Where a model's files are: the store, a local folder, MICROTOME_MODELS, or the hub, in that order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from microtome.jobs.hub import MODEL_FILES, HubModel, cached_commit, download_files, hub_model, offline
from microtome.jobs.models.adapter import AdapterDescription
from microtome.jobs.models.architecture import Architecture, read_architecture
from microtome.jobs.models.registry import MODELS
from microtome.store.artifacts.digests import Digests
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import Absence, AbsentError, InputError, MicrotomeError, MissingError, unknown
from microtome.store.files.paths import place, place_from, shown, there
from microtome.store.identity import files_digest

CHECKPOINT = "checkpoint"  # the folder of a model inside an artifact
WEIGHTS = (".safetensors",)
IDENTITY_FILES = (
    *("*.safetensors", "config.json"),
    *("vocab*", "merges.txt", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "*.model"),
)
CHECKPOINT_KINDS = ("adapt", "finetune", "randomise")
ADAPTER = "adapter_config.json"  # in a checkpoint that holds a LoRA adapter in place of weights


@dataclass(frozen=True)
class ModelSource:
    """A model, found. `identity` is its weights: an artifact's id, or a digest of its files."""

    name: str
    identity: str
    path: Path | None = None
    hub: str | None = None
    commit: str | None = None
    artifact: str | None = None  # id of the artifact whose checkpoint this is
    absence: Absence | None = None  # why it cannot be loaded, where only its identity is known
    private: bool = False  # it was trained on data under an agreement
    architecture: Architecture | None = None  # where it is known without loading

    def folder(self, store: Store, scratch: Path) -> Path:
        """The folder to load from; downloads a hub model that is not here yet. A LoRA adapter and its base
        are merged into a plain folder in `scratch`, which the caller removes."""
        folder = self.description(store)
        if self.artifact is not None:
            folder = store.open(self.artifact).contents.path(CHECKPOINT)
        if not (folder / ADAPTER).is_file():
            return folder
        from microtome.jobs.models.lora import merge  # torch, which planning does without

        merged = scratch / f"merged-{self.identity[:8]}"
        if not merged.is_dir():
            base = adapter_base(store.open(str(self.artifact)), store)
            merge(base.folder(store, scratch), folder, merged)
        return merged

    def description(self, store: Store) -> Path:
        """The folder with its config and tokenizer; that of an adapter has no weights."""
        if self.absence is not None:
            raise AbsentError(self.absence)
        if self.artifact is not None:
            return store.open(self.artifact).contents.path(CHECKPOINT, unread=WEIGHTS)
        if self.path is not None:
            return self.path
        return download_files(str(self.hub), self.commit, MODEL_FILES)


def find_model(reference: str, store: Store) -> ModelSource:
    """A model by short name, folder, hub id, or the id or name of a checkpoint in the store; AbsentError if
    it is not here."""
    local = _local_folder(reference)
    if local is not None:
        shape = read_architecture(local)
        return ModelSource(reference, _folder_identity(local, store.digests), path=local, architecture=shape)
    if reference not in MODELS:
        artifact = _in_store(reference, store)
        if artifact is not None:
            return artifact
        if reference.startswith((".", "/", "~")):
            raise _absent(reference, f"no model folder {shown(reference)}")
        if "/" not in reference:
            raise unknown("model", reference, MODELS, see="microtome model ls")
    return _on_hub(reference, store)


def find_weights(identity: str, store: Store, references: Sequence[str]) -> ModelSource:
    """The model of an identity: an artifact of the store, or that among what the store remembers under it
    and `references` which has these weights still.

    Raises MissingError, in words that name what was tried, if there is none.
    """
    try:
        made = store.open(identity)
        if made.kind in CHECKPOINT_KINDS:
            return _checkpoint(made)
    except MissingError:
        pass  # a model that was not made here
    known = store.remembered().items()
    remembered = [key.removeprefix("model:") for key, noted in known if noted == identity]
    found = []
    for reference in dict.fromkeys([*remembered, *references]):
        try:
            found.append(find_model(reference, store))
        except MicrotomeError:
            continue
        if found[-1].identity == identity:
            return found[-1]
    tried = ", ".join(f"'{source.name}'" for source in found)
    raise MissingError("is not here" + (f"; {tried} has other weights" if found else ""))


def adapter_base(artifact: Artifact, store: Store) -> ModelSource:
    """The model that an adapter was trained on."""
    described = AdapterDescription.of(artifact)
    identity, name = artifact.inputs["model"], described.base if described is not None else ""
    try:
        return find_weights(identity, store, [name])
    except MissingError as error:
        raise MissingError(
            f"the base model of adapter {artifact.name} ('{name}', identity {identity[:8]}) {error}. "
            f"{how_to_get(name)}"
        ) from None


def how_to_get(reference: str) -> str:
    """What to do about a model that is not here, in one line."""
    if reference.startswith((".", "/", "~")):
        return "put the model's folder there, or name another: microtome model ls"
    return (
        f"microtome model fetch {reference} --out $MICROTOME_MODELS/{reference} (on a machine with network)"
    )


def hub_name(reference: str) -> str:
    """The hub repository behind a short name."""
    return MODELS[reference].hub if reference in MODELS else reference


def model_origin(name: str) -> str:
    """Where the model of a short name is; the hub is not asked, and no weights are read."""
    folder = _local_folder(name)
    if folder is not None:
        return str(folder)
    commit = cached_commit(hub_name(name))
    return f"hub's local cache, commit {commit[:8]}" if commit else f"not here. {how_to_get(name)}"


def _local_folder(reference: str) -> Path | None:
    candidates = [place(reference)]
    models = place_from("MICROTOME_MODELS")
    if models is not None:
        candidates.insert(0, models / reference)
    for folder in candidates:
        if there(folder / "config.json") and (folder / "config.json").is_file():
            return Path(os.path.realpath(folder))
    return None


def _identifies(name: str) -> bool:
    """Whether a file of a model is part of its identity: weights, config and tokenizer, if it is among the
    files that a download or `model fetch` brings."""
    return any(fnmatchcase(name, p) for p in IDENTITY_FILES) and any(
        fnmatchcase(name, p) for p in MODEL_FILES
    )


def _folder_identity(folder: Path, digests: Digests) -> str:
    """The identity of the files in a folder, the same as of a repository on the hub that has these files.
    All other files may change."""
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no safetensors weights; pickled weights are not loaded. "
            f"Convert: microtome model fetch {folder} --out DIR"
        )
    files = [path for path in folder.iterdir() if _identifies(path.name) and path.is_file()]
    return files_digest({path.name: digests.of_file(path) for path in files})


def _hub_identity(repo: str, model: HubModel, digests: Digests) -> str:
    """The identity of a commit. The hub tells the sha256 of large files; small ones are downloaded. It is
    remembered, because a local cache need not have all files of a commit."""
    what = {"hub": repo, "commit": model.commit, "files": IDENTITY_FILES}
    identity = digests.recall(what)
    if identity is None:
        files = {name: told for name, told in model.files.items() if _identifies(name)}
        small = [name for name, told in files.items() if told is None]
        folder = download_files(repo, model.commit, sorted(small)) if small else Path()
        identity = files_digest({n: told or digests.of_file(folder / n) for n, told in files.items()})
        if not offline():
            digests.remember(what, identity)
    return identity


def _in_store(reference: str, store: Store) -> ModelSource | None:
    try:
        artifact = store.open(reference)
    except MissingError:
        return None
    if artifact.kind not in CHECKPOINT_KINDS:
        raise InputError(f"{artifact.name} is no checkpoint but the result of {artifact.kind}")
    return _checkpoint(artifact)


def _checkpoint(artifact: Artifact) -> ModelSource:
    return ModelSource(
        artifact.path.name,
        artifact.id,
        artifact=artifact.id,
        private=artifact.private,
        architecture=read_architecture(artifact.contents.location(f"{CHECKPOINT}/config.json").parent),
    )


def _on_hub(reference: str, store: Store) -> ModelSource:
    repo = hub_name(reference)
    try:
        model = hub_model(repo)
        config = download_files(repo, model.commit, ["config.json"]) if model.safe else None
    except MissingError as error:
        raise _absent(reference, str(error)) from None
    if config is None:
        raise _absent(reference, f"model '{repo}' has only pickled weights")
    identity = _hub_identity(repo, model, store.digests)
    shape = read_architecture(config)
    return ModelSource(reference, identity, hub=repo, commit=model.commit, architecture=shape)


def _absent(reference: str, why: str) -> AbsentError:
    return AbsentError(Absence("model", hub_name(reference), why, how_to_get(reference)))
