"""The model card of a checkpoint: the front matter that the hub reads, and a text, both from manifests."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from microtome.analysis.metrics import METRICS
from microtome.jobs.kinds.checkpoints import AdaptedCheckpoint, FinetunedCheckpoint, finetuned
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.process.provenance import PACKAGES
from microtome.jobs.publishing.front_matter import (
    OBJECTIVES,
    OTHER,
    front_matter,
    metric_name,
    overall_rows,
    pipeline,
    task_type,
)
from microtome.jobs.publishing.lineage import Lineage, task_of
from microtome.jobs.tasks import Task
from microtome.store.artifacts.store import Artifact
from microtome.store.results import read_rows

TEMPLATE = "model_card.md.jinja"
AUTO_CLASSES = {
    "token-classification": "AutoModelForTokenClassification",
    "text-classification": "AutoModelForSequenceClassification",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
}
PIPELINE_OPTIONS = {
    "single_label_classification": "",
    "multi_label_classification": ', top_k=None, function_to_apply="sigmoid"',
    "regression": ', function_to_apply="none"',
}
CLASS_COLUMNS = ("precision", "recall", "f1", "support")
MARKDOWN = re.compile(r"[\\`*\[\]|]")  # links, emphasis, code, cells
SPLITS = ("dev", "test")
STAGES = ("before", "after")


@dataclass(frozen=True)
class Table:
    """Cells as text, row by row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One training of the chain; `scores` are those of a language model before and after it."""

    title: str
    task: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: Table
    scores: Table | None = None


def model_card(
    chain: Lineage, name: str, *, adapter: bool = False, licence: str = OTHER, withheld: Sequence[str] = ()
) -> str:
    """The README of a checkpoint, named `name`: YAML between two lines of dashes, then Markdown.

    `licence` is a licence identifier of the hub; `withheld` are reasons not to publish, which the card
    repeats. Nothing in it comes from a corpus but names of labels.
    """
    artifact = chain.made
    kind = task_type(artifact)
    text = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            name=name,
            adapter=adapter,
            licence=licence,
            withheld=withheld,
            base=chain.base,
            parent=chain.parent,
            steps=[_step(step) for step in chain.steps],
            adapts=bool(chain.of_kind("adapt")),
            tasks=chain.tasks,
            own_tasks=[step.labels["task"] for step in chain.of_kind("finetune") if task_of(step) is None],
            kind=kind,
            pipeline=pipeline(artifact),
            pipeline_options=PIPELINE_OPTIONS[kind.problem] if kind is not None else "",
            auto_class=AUTO_CLASSES[pipeline(artifact)],
            finetuned=finetuned(artifact),
            made_head=_has_made_head(artifact),
            truncated=_truncated(artifact),
            scores=_scores(artifact),
            classes=_class_table(artifact),
            artifact=artifact,
            ancestors=chain.steps[:-1],
            provenance=_provenance(artifact),
        )
    )
    front = front_matter(chain, name, adapter=adapter, licence=licence)
    return f"---\n{front}\n---\n\n{text}"


def _has_made_head(artifact: Artifact) -> bool:
    """Whether the head is one that transformers has no class for; the config says so."""
    config = artifact.contents.location(f"{CHECKPOINT}/config.json")
    return config.is_file() and "microtome_head" in json.loads(config.read_text("utf-8"))


def _scores(artifact: Artifact) -> Table | None:
    """Every metric of a fine-tuned model on dev and test."""
    if artifact.kind != "finetune":
        return None
    rows = overall_rows(artifact)
    counts = {row["split"]: row["n"] for row in rows}
    return _wide(rows, "split", {split: f"{split} ({counts.get(split, 0)} examples)" for split in SPLITS})


def _truncated(artifact: Artifact) -> str:
    checkpoint = finetuned(artifact)
    counts = checkpoint.record.truncated_words if checkpoint is not None else {}
    return ", ".join(f"{count} in {split}" for split, count in counts.items())


def _wide(rows: Sequence[Mapping[str, Any]], column: str, heads: Mapping[str, str]) -> Table:
    """One line per metric, one column for each value of `column`."""
    values = {(row["metric"], row.get(column)): _number(row) for row in rows}
    metrics = dict.fromkeys(row["metric"] for row in rows)
    lines = [[metric_name(metric), *(values.get((metric, key), "") for key in heads)] for metric in metrics]
    return Table(["metric", *heads.values()], lines)


def _class_table(artifact: Artifact) -> Table | None:
    rows = [row for row in read_rows(artifact) if row.get("label") is not None and row["split"] == "test"]
    values = {(row["label"], row["metric"].removeprefix("class_")): _number(row) for row in rows}
    labels = dict.fromkeys(row["label"] for row in rows)
    lines = [[label, *(values.get((label, column), "") for column in CLASS_COLUMNS)] for label in labels]
    return Table(["class", "precision", "recall", "F1", "support"], lines) if lines else None


def _number(row: Mapping[str, Any]) -> str:
    """A value, with its 95 % interval where there is one; a count has no decimals."""
    value = float(row["value"])
    text = (
        f"{value:.0f}"
        if value.is_integer() and row["metric"] in METRICS and METRICS[row["metric"]].is_count
        else f"{value:.4f}"
    )
    low, high = row.get("low"), row.get("high")
    return text if low is None or high is None else f"{text} ({low:.4f} to {high:.4f})"


def _step(step: Artifact) -> Step:
    checkpoint = finetuned(step)
    if checkpoint is not None:
        return Step(
            title=f"Fine-tuning on {checkpoint.task}",
            task=checkpoint.task,
            facts=_task_facts(checkpoint, task_of(step)),
            settings=_settings(checkpoint.settings),
        )
    if step.kind == "adapt":
        adapted = AdaptedCheckpoint.of(step)
        return Step(
            title=f"Adaptation to text, which gives {step.path.name}",
            facts=_corpus_facts(adapted),
            settings=_settings(adapted.settings),
            scores=_wide(overall_rows(step), "stage", {stage: stage for stage in STAGES}),
        )
    return Step(title=f"{step.kind}, which gives {step.path.name}", settings=_settings(step.settings))


def _task_facts(checkpoint: FinetunedCheckpoint, task: Task | None) -> dict[str, str]:
    facts = {"task": checkpoint.type}
    if task is not None:
        facts |= {"dataset": task.title, "how to obtain it": task.obtain}
        facts |= {"licence of the data": task.licence} | (
            {"citation": task.citation} if task.citation else {}
        )
    else:
        facts["dataset"] = "one that microtome does not come with; source and licence are to be added here"
    share = f"{checkpoint.fraction:g} % of the training split"
    return facts | {
        "labels": ", ".join(checkpoint.labels),
        "training examples": f"{checkpoint.record.training_examples} ({share})",
        "seed": str(checkpoint.seed),
    }


def _corpus_facts(adapted: AdaptedCheckpoint) -> dict[str, str]:
    record, corpus = adapted.record, adapted.corpus[:12]
    facts = {
        "objective": OBJECTIVES[adapted.objective],
        "corpus": f"sha256 {corpus}…; none of its text is here, source and licence are to be added",
    }
    for name, counts in (("blocks", record.blocks), ("tokens", record.tokens)):
        if counts:
            facts[name] = ", ".join(f"{side} {count}" for side, count in counts.items())
    if adapted.new:
        sizes = ", ".join(f"{key} {value}" for key, value in adapted.new.items())
        facts["began from"] = f"random weights: {sizes}"
    if record.parameters:
        facts["trained parameters"] = f"{record.trainable_parameters} of {record.parameters}"
    return facts


def _settings(values: Mapping[str, Any]) -> Table:
    """Nested settings under dotted names; what was left to its default by None is not listed."""
    return Table(["setting", "value"], list(_flat(values, "")))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield [f"{prefix}{key}", ", ".join(map(str, value)) or "default"]
        elif value is not None:
            yield [f"{prefix}{key}", f"{value:g}" if isinstance(value, float) else str(value)]


def _provenance(artifact: Artifact) -> dict[str, str]:
    """Versions, commit, date and kind of device: what was noted beside that stays here."""
    noted = artifact.provenance
    wanted = ("microtome", "commit", "made", "device", "python", *PACKAGES)
    return {key: str(noted[key]) for key in wanted if key in noted}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown and Python; every name goes through the filter of its place
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": as_markdown, "code": as_code, "python": as_python}
    return environment


def as_markdown(text: object) -> str:
    """Text that stays text, in a line of its own, a list item or a table cell."""
    line = " ".join(str(text).split())
    return MARKDOWN.sub(r"\\\g<0>", line.replace("&", "&amp;").replace("<", "&lt;"))


def as_code(text: object) -> str:
    """Text between two backticks."""
    line = " ".join(str(text).replace("`", "'").split())
    return f"`{line}`"


def as_python(text: object) -> str:
    """A string of Python on one line; what is special in a JSON string is special in the same way in it."""
    return json.dumps(str(text), ensure_ascii=False, allow_nan=False)
