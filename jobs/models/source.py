"""Where a model's files are: the store, a local folder, MICROTOME_MODELS, or the hub, in that order."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from microtome.jobs.hub import HubModel, download_files, hub_model, model_files, offline
from microtome.jobs.hub_cache import MAIN, cached_commit, check_bytes, remember_revision
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
    "chat_template.jinja",
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
    revision: str = MAIN  # of the hub: a branch, a tag or a commit, which was this commit when it was found
    hub_files: tuple[
        str, ...
    ] = ()  # of the commit, those of the model: one set of weights, config, tokenizer
    artifact: str | None = None  # id of the artifact whose checkpoint this is
    absence: Absence | None = None  # why it cannot be loaded, where only its identity is known
    private: bool = False  # it was trained on data under an agreement
    architecture: Architecture | None = None  # where it is known without loading

    def folder(self, store: Store, scratch: Path) -> Path:
        """The folder to load from; downloads a hub model that is not here yet. A LoRA adapter and its base
        are merged into a plain folder in `scratch`, which the caller removes."""
        if self.hub is not None and self.absence is None:
            return self._downloaded(store)
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
        return download_files(
            str(self.hub), self.commit, [name for name in self.hub_files if not name.endswith(WEIGHTS)]
        )

    def _downloaded(self, store: Store) -> Path:
        """The folder of a hub model with its weights, which have the bytes that the hub announced."""
        repo = str(self.hub)
        folder = download_files(repo, self.commit, self.hub_files)
        weights = [folder / name for name in self.hub_files if name.endswith(WEIGHTS)]
        check_bytes(repo, weights, store.digests.of_file)
        remember_revision(repo, self.revision, str(self.commit))
        return folder


def find_model(reference: str, store: Store) -> ModelSource:
    """A model by short name, folder, hub id, or the id or name of a checkpoint in the store; AbsentError if
    it is not here. NAME@REVISION is a branch, tag or commit of a model on the hub."""
    local = _local_folder(reference)
    if local is not None:
        shape = read_architecture(local)
        return ModelSource(reference, _folder_identity(local, store.digests), path=local, architecture=shape)
    if model_name(reference) not in MODELS:
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


def model_name(reference: str) -> str:
    """A reference without the revision that it may end with."""
    return reference.partition("@")[0]


def revision_of(reference: str) -> str:
    """The branch, tag or commit that a reference to a model on the hub asks for."""
    return reference.partition("@")[2] or MAIN


def hub_name(reference: str) -> str:
    """The hub repository behind a reference."""
    name = model_name(reference)
    return MODELS[name].hub if name in MODELS else name


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


def _identity_files(names: Collection[str]) -> list[str]:
    """The files of a model that are its identity: weights, config and tokenizer, among those that a download
    or `model fetch` brings."""
    return [name for name in model_files(names) if any(fnmatchcase(name, p) for p in IDENTITY_FILES)]


def _folder_identity(folder: Path, digests: Digests) -> str:
    """The identity of the files in a folder, the same as of a repository on the hub that has these files.
    All other files may change."""
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no safetensors weights; pickled weights are not loaded. "
            f"Convert: microtome model fetch {folder} --out DIR"
        )
    names = _identity_files([path.name for path in folder.iterdir() if path.is_file()])
    return files_digest({name: digests.of_file(folder / name) for name in names})


def _hub_identity(repo: str, model: HubModel, digests: Digests) -> str:
    """The identity of a commit. The hub tells the sha256 of large files; small ones are downloaded. It is
    remembered, because a local cache need not have all files of a commit."""
    what = {"hub": repo, "commit": model.commit, "files": IDENTITY_FILES}
    identity = digests.recall(what)
    if identity is None:
        files = {name: model.files[name] for name in _identity_files(model.files)}
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
    repo, revision = hub_name(reference), revision_of(reference)
    try:
        model = hub_model(repo, revision)
        config = download_files(repo, model.commit, ["config.json"]) if model.safe else None
    except MissingError as error:
        raise _absent(reference, str(error)) from None
    if config is None:
        raise _absent(reference, f"model '{repo}' has only pickled weights")
    identity = _hub_identity(repo, model, store.digests)
    shape = read_architecture(config)
    return ModelSource(
        reference,
        identity,
        hub=repo,
        commit=model.commit,
        revision=revision,
        hub_files=tuple(model_files(model.files)),
        architecture=shape,
    )


def _absent(reference: str, why: str) -> AbsentError:
    name = hub_name(reference) if "@" not in reference else f"{hub_name(reference)}@{revision_of(reference)}"
    return AbsentError(Absence("model", name, why, how_to_get(reference)))
