"""Export and push: a checkpoint becomes a plain Hugging Face folder, and goes to the hub if it may."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from microtome.jobs.hub import MODEL_FILES, check_repo_name, upload_folder, write_token
from microtome.jobs.models.source import ADAPTER, CHECKPOINT, ModelSource
from microtome.jobs.publishing.front_matter import OTHER
from microtome.jobs.publishing.lineage import Lineage, holds_adapter, lineage, task_of
from microtome.jobs.publishing.model_card import model_card
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.errors import InputError
from microtome.store.files.outputs import whole_folder

KINDS = ("finetune", "adapt")
CARD = "README.md"
# What transformers notes about where and how a model was loaded.
LOADED_FROM = {"_name_or_path", "name_or_path", "is_local", "local_files_only"}


@dataclass(frozen=True)
class Upload:
    """What goes to the hub: sizes in bytes by file, and the model card. `url` is empty before it is there."""

    repo: str
    private: bool
    files: Mapping[str, int]
    card: str
    withheld: tuple[str, ...]  # reasons not to publish, that were overruled
    url: str = ""


def export(
    artifact: Artifact, store: Store, out: Path, *, adapter: bool = False, licence: str = OTHER
) -> Path:
    """Make the folder `out`: weights, config, tokenizer, model card; it appears whole or not at all.

    Stock transformers loads it. A LoRA adapter is merged with its base, or with `adapter` left as it is for
    peft. `licence` is an identifier of the hub's list. No file names a path of this machine.
    Raises InputError for what is no trained checkpoint, for a folder that is not empty, and for `adapter`
    where there is none.
    """
    _check_kind(artifact, adapter)
    with whole_folder(out) as staged, tempfile.TemporaryDirectory(dir=staged.parent) as aside:
        made = _assemble(artifact, store, Path(aside), Path(os.path.realpath(out)).name, adapter, licence)
        made.rename(staged)
    return out


def push(
    artifact: Artifact,
    store: Store,
    repo: str,
    *,
    dry_run: bool = True,
    private: bool = True,
    force: bool = False,
    adapter: bool = False,
    licence: str = OTHER,
) -> Upload:
    """Export a checkpoint into the model repository `repo`.

    A dry run asks nobody, and returns what would go there. Caches and predictions never go: they are no part
    of a checkpoint. Raises InputError for what is no trained checkpoint, and without `force` for one whose
    lineage has data that is credentialed or of unknown terms; MissingError without HF_TOKEN or hub.
    """
    _check_kind(artifact, adapter)
    check_repo_name(repo)
    withheld = reasons_to_withhold(lineage(artifact, store))
    if withheld and not force:
        raise InputError(f"not pushed: {'; '.join(withheld)}. If you have the right to, add --force")
    if not dry_run:
        write_token()  # before the work, not after it
    with tempfile.TemporaryDirectory() as aside:
        folder = _assemble(artifact, store, Path(aside), repo, adapter, licence)
        found = Upload(
            repo=repo,
            private=private,
            files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
            card=(folder / CARD).read_text("utf-8"),
            withheld=tuple(withheld),
        )
        if dry_run:
            return found
        message = f"{artifact.path.name}, by microtome"
        url = upload_folder(folder, repo, private=private, message=message)
    return Upload(found.repo, found.private, found.files, found.card, found.withheld, url)


def reasons_to_withhold(chain: Lineage) -> list[str]:
    """Why a checkpoint is not everybody's to publish: credentialed data, or data of unknown terms."""
    reasons = []
    for step in chain.steps:
        if step.kind == "adapt":
            reasons.append(f"{step.path.name} was trained on a corpus whose terms microtome does not know")
        if step.kind != "finetune":
            continue
        task = task_of(step)
        if task is None:
            reasons.append(
                f"task '{step.labels['task']}' does not come with microtome, so its terms are not known"
            )
        elif task.credentialed:
            reasons.append(f"task '{task.name}' is credentialed ({task.licence})")
    if chain.base is not None and chain.base.lost:
        reasons.append(f"what {chain.base.name} was made from is no longer in the store")
    return reasons


def _check_kind(artifact: Artifact, adapter: bool) -> None:
    if artifact.kind not in KINDS:
        raise InputError(
            f"{artifact.name} is no trained checkpoint. See: microtome cache ls --kind finetune (or adapt)"
        )
    if adapter and not holds_adapter(artifact):
        raise InputError(f"{artifact.name} is no LoRA adapter: leave out --adapter")


def _assemble(artifact: Artifact, store: Store, aside: Path, name: str, adapter: bool, licence: str) -> Path:
    """The whole folder, below `aside`."""
    source = artifact.contents.path(CHECKPOINT)
    if not adapter:
        source = ModelSource(artifact.path.name, artifact.id, artifact=artifact.id).folder(store, aside)
    chain = lineage(artifact, store)
    folder = aside / "export"
    folder.mkdir()
    for path in sorted({path for pattern in MODEL_FILES for path in source.glob(pattern)}):
        if path.name.endswith("config.json"):
            values = without_places(json.loads(path.read_text("utf-8")))
            if path.name == ADAPTER:
                values["base_model_name_or_path"] = chain.parent
            (folder / path.name).write_text(
                json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
            )
        else:
            shutil.copyfile(path, folder / path.name)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{artifact.name} has no weights; remove it and run its job again")
    withheld = reasons_to_withhold(chain)
    card = model_card(chain, name, adapter=adapter, licence=licence, withheld=withheld)
    (folder / CARD).write_text(card, "utf-8")
    return folder


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what says where it was loaded from on this machine."""
    return {k: v for k, v in config.items() if k not in LOADED_FROM and not _is_absolute_path(v)}


def _is_absolute_path(value: Any) -> bool:
    """Whether a value is a path of some depth; a special token may begin with a slash."""
    if not isinstance(value, str):
        return False
    paths = PurePosixPath(value), PureWindowsPath(value)
    return any(path.is_absolute() and len(path.parts) > 2 for path in paths)
