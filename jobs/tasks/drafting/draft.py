"""The draft of a task file: what is believed of the files of a corpus, checked by reading them, as YAML."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers import read_examples
from microtome.jobs.data.readers.spec import DEV_SHARE, DataSpec
from microtome.jobs.data.readers.standoff import NO_RELATION
from microtome.jobs.tasks.drafting.columns import LABEL_NAMES, OPEN, Belief, believe
from microtome.jobs.tasks.drafting.hub_files import HubFiles
from microtome.jobs.tasks.drafting.sniffing import Sniffed, scheme_of, sniff
from microtome.jobs.tasks.drafting.values import Row, values_of
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.errors import InputError

NEGATIVES = (NO_RELATION, "none", "no_relation", "no relation", "no", "na", "n/a", "negative", "other", "0")
HIDDEN = (None, "", -1, "-1")  # in place of a label that is not published
TOKENS_PER_WORD = 1.6
LENGTHS = (128, 256, 512)


@dataclass
class Draft:
    """`values` are those of a task file, `remarks` comments on them by key, such as "data.columns.label"."""

    values: dict[str, Any]
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def questions(self) -> list[str]:
        """What only a person can say, as `key: question`."""
        return [f"{key}: {text}" for key, text in self.remarks.items() if text.startswith("QUESTION")]


def draft_task(
    files: Mapping[str, Path],
    *,
    name: str,
    folder: Path,
    type: str | None,
    columns: Mapping[str, str],
    hub: HubFiles | None = None,
) -> Draft:
    """The draft of a task whose files are these; it will stand in `folder`. `type` and `columns` (role ->
    column) are what a person has said; `hub` is the dataset that the files were downloaded from."""
    seen = {split: sniff(path, type) for split, path in files.items()}
    first = seen["train"]
    differing = next((split for split, other in seen.items() if other.format != first.format), None)
    if differing is not None:
        raise InputError(f"train looks like {first.format}, but {differing} like {seen[differing].format}")
    paths = {"files": dict(hub.names)} if hub is not None else _paths(files, folder)
    data: dict[str, Any] = {"format": first.format, **paths, **first.settings}
    draft = Draft({"name": name, "type": type or first.type, "title": name}, dict(first.remarks))
    if first.rows:
        _describe_columns(draft, data, seen, type, columns)
    if "test" not in files:
        data["hold_out"] = {"test": DEV_SHARE}
        draft.remarks["data.hold_out"] = f"no test was given: {DEV_SHARE:.0%} of the training documents"
    if "dev" not in files:
        data.setdefault("hold_out", {})["dev"] = DEV_SHARE
        draft.remarks["data.hold_out"] = "what was not given: shares of the training documents"
    draft.values["labels"] = [OPEN]
    _ask_for_rights(draft, hub)
    draft.values["data"] = data
    if hub is not None:
        draft.values["hub"] = {"repo": hub.repo, "revision": hub.revision, **data}
        draft.remarks["hub"] = "downloaded from here where MICROTOME_DATA has no folder of this task"
    if OPEN in (*data.values(), *data.get("columns", {}).values()):
        draft.remarks["labels"] = "QUESTION: run task init again when the questions under data are answered"
        return draft
    _describe_labels(draft, files, folder)
    return draft


def _paths(files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """`root` and `files` of a task file in `folder`."""
    absolute = {split: path.absolute() for split, path in files.items()}
    root = Path(os.path.commonpath([path.parent for path in absolute.values()]))
    names = {split: path.relative_to(root).as_posix() for split, path in absolute.items()}
    return {"root": os.path.relpath(root, folder), "files": names}


def _describe_columns(
    draft: Draft,
    data: dict[str, Any],
    seen: Mapping[str, Sniffed],
    type: str | None,
    columns: Mapping[str, str],
) -> None:
    """Type, columns and what goes with them; the columns of dev and test where theirs have other names."""
    rows = seen["train"].rows
    belief = believe(rows, type, columns.get("label"))
    _refuse_one_class(rows, columns.get("label"), belief)
    draft.values["type"] = belief.type
    draft.remarks |= belief.remarks
    for role, column in columns.items():
        draft.remarks.pop(f"data.columns.{role}", None)
        belief.columns[role] = column
    if type is None:
        draft.remarks["type"] = f"by its columns; one of {', '.join(TASK_TYPES)}, which --type says"
    numbered = data.get("header") is False
    data["columns"] = {role: int(c) if numbered and c != OPEN else c for role, c in belief.columns.items()}
    data |= belief.settings
    if "words" in belief.columns:
        column = belief.columns["label"]
        scheme = scheme_of([str(tag) for row in rows for tag in row[column]])
        data |= {"scheme": scheme} if scheme != "iob2" else {}
    for split, sniffed in seen.items():
        if split != "train" and not numbered:
            _describe_split(draft, data, split, sniffed, belief, type)


def _refuse_one_class(rows: Sequence[Row], named: str | None, belief: Belief) -> None:
    """InputError where what looks like the label, or is said to be it, is the same in every row."""
    if belief.columns.get("label") != OPEN:
        return
    names = [named] if named else [name for name in rows[0] if name.lower() in LABEL_NAMES]
    for name in names:
        values = set(map(str, values_of(rows, name)))
        if len(values) == 1:
            raise InputError(
                f"column {name}: every row has the same value, '{values.pop()}': a task needs two classes"
            )


def _describe_split(
    draft: Draft, data: dict[str, Any], split: str, sniffed: Sniffed, belief: Belief, type: str | None
) -> None:
    names = {name for row in sniffed.rows for name in row}
    absent = {role: name for role, name in belief.columns.items() if name != OPEN and name not in names}
    label = belief.columns.get("label", OPEN)
    if split == "test" and label in names and all(row.get(label) in HIDDEN for row in sniffed.rows):
        absent = {"label": label}
    if not absent:
        return
    own = believe(sniffed.rows, type or belief.type).columns if absent else {}
    differing = {role: own[role] for role in absent if own.get(role, OPEN) not in (OPEN, absent[role])}
    if differing:
        data.setdefault("split_columns", {})[split] = differing
        draft.remarks["data.split_columns"] = "these splits have other names for it"
    if "label" in absent.keys() - differing.keys() and split == "test":
        data["unlabelled"] = ["test"]
        draft.remarks["data.unlabelled"] = "no labels were seen in test: it can be predicted, not scored"


def _ask_for_rights(draft: Draft, hub: HubFiles | None) -> None:
    if hub is not None:
        obtain = f"dataset {hub.repo} on the hub, at commit {hub.revision}"
        draft.values |= {"licence": hub.licence or "not said", "obtain": obtain}
        draft.remarks["licence"] = (
            "as the page of the dataset says; credentialed: true keeps the data private"
            if hub.licence
            else "QUESTION: under which licence are the data? credentialed: true keeps them private"
        )
        return
    draft.values |= {"licence": "not said", "obtain": "not said"}
    draft.remarks["licence"] = (
        "QUESTION: under which licence are the data? credentialed: true keeps them private"
    )
    draft.remarks["obtain"] = "QUESTION: how does somebody else get the files? one line"


def _describe_labels(draft: Draft, files: Mapping[str, Path], folder: Path) -> None:
    """The labels and lengths, by reading all files as the task will."""
    values = draft.values
    spec = DataSpec.parse({k: v for k, v in values["data"].items() if k != "root"}, where="the draft")
    examples: list[Example] = []
    counts: list[str] = []
    for split, path in files.items():
        rows = read_examples(path, spec.for_split(split), labels=split not in spec.unlabelled)
        counts.append(f"{split} {len(rows)}")
        if split == "train":
            _refuse_few_documents(rows, spec, path)
        examples += rows if split not in spec.unlabelled else []
    values["labels"] = _labels(draft, examples)
    draft.remarks["data.files"] = f"examples: {', '.join(counts)}"
    lengths = sorted(example.words for example in examples)
    usual = lengths[int(0.99 * (len(lengths) - 1))]
    length = next((n for n in LENGTHS if n >= usual * TOKENS_PER_WORD), LENGTHS[-1])
    values["recipe"] = {"max_length": length}
    draft.remarks["recipe.max_length"] = (
        f"tokens; 99 % of the examples have up to {usual} words, the longest {lengths[-1]}; "
        "task check FILE --model NAME counts tokens"
    )


def _refuse_few_documents(examples: Sequence[Example], spec: DataSpec, path: Path) -> None:
    documents = {example.document or example.id for example in examples}
    if spec.hold_out and len(documents) <= len(spec.hold_out):
        held_out = " and ".join(spec.hold_out)
        raise InputError(
            f"{path}: {len(documents)} document in all, and {held_out} would be held out by document; give "
            "files for them, or take out the lines that mark where a document begins"
        )


def _labels(draft: Draft, examples: Sequence[Example]) -> list[str]:
    if isinstance(examples[0].label, float):
        scores = [float(example.label) for example in examples]  # type: ignore[arg-type]
        draft.remarks["labels"] = f"one name for the number, from {min(scores):g} to {max(scores):g}"
        return ["score"]
    counts: Counter[str] = Counter()
    for example in examples:
        names = (example.label,) if isinstance(example.label, str) else example.label
        tagged = draft.values["type"] == "ner"
        counts.update(n[2:] if tagged else n for n in names if not tagged or n.startswith("B-"))  # type: ignore[union-attr]
    labels = [name for name, _ in counts.most_common()]
    draft.remarks["labels"] = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    if draft.values["type"] == "relation":
        none = [name for name in labels if _says_no(name)]
        if len(none) == 1:
            return [*none, *(name for name in labels if name not in none)]
        draft.remarks["labels"] = (
            f"QUESTION: which one is no relation? it goes first. {draft.remarks['labels']}"
        )
        return [OPEN, *labels]
    return labels


def _says_no(name: str) -> bool:
    return name.lower() in NEGATIVES or name.lower().rpartition("-")[2] in NEGATIVES


def as_yaml(draft: Draft, schema: str = "") -> str:
    """The task file, with each remark in a comment above its key."""
    order = ("name", "type", "title", "labels", "licence", "obtain", "data", "hub", "recipe")
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    for key in order:
        if key in draft.values:
            lines += _lines(key, draft.values[key], draft.remarks, "", "")
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any, remarks: Mapping[str, str], path: str, indent: str) -> list[str]:
    path = f"{path}.{key}" if path else key
    remark = [f"{indent}# {' '.join(remarks[path].split())}"] if path in remarks else []
    nested = isinstance(value, dict) and any(f"{path}.{inner}" in remarks for inner in value)
    if isinstance(value, dict) and (nested or path in ("data", "hub")):
        inner = [line for k, v in value.items() for line in _lines(k, v, remarks, path, indent + "  ")]
        return [*remark, f"{indent}{key}:", *inner]
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return [*remark, f"{indent}{key}: {text.removesuffix('...' + chr(10)).strip()}"]
