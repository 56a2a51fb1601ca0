"""The page: sections of findings, figures with captions and tables, written as one HTML file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.report import canvas, figures
from analysis.report.findings import findings
from analysis.report.tables import (
    ATTENTION_MEASURES,
    ITEM,
    Results,
    Table,
    as_table,
    glance,
    in_order,
    inventory,
    metric_name,
    numbers,
    percent,
    read,
    widened,
)
from store.errors import InputError

BANDS = " Lines are means over seeds, bands their lowest to highest value."
GAIN_NOTE = "The gain is the score with the most training data minus the score with none. "
DEVIATION_NOTE = "Small numbers are standard deviations over seeds."
CURVES = (
    "Primary score of each task on its test part (higher is better; entity F1 and accuracy run from 0 to 1) "
    "against the share of the training data used for fine-tuning, in per cent. At 0 % the task head is "
    "untrained: this is the floor. A steep start means that little data is enough."
)
DOTS = "Primary score of each task on its test part after fine-tuning; further right is better."
BARS = " A dot is the mean over seeds, a bar their lowest to highest value."
PROBING = (
    "Test score of a probe trained on the frozen states of one layer (higher is better); layer 0 is the "
    "embedding output. The dashed line is the pretrained model, the coloured lines the models after "
    "fine-tuning, and a dot marks the best layer of its line. The panels of a task share the vertical axis. "
    "The gap to the dashed line is what fine-tuning changed in what can be read from the layer."
)
ATTENTION = (
    "Attention of the fine-tuned model compared with the pretrained one, averaged over test examples "
    "({unit}). Each cell is one head (H) of one layer (L); brighter cells changed more, the ring is on the "
    "one that changed most, and all maps share the colour scale. Layer 0 is the first attention layer; in "
    "the probing figure, layer 0 is the embedding output."
)
ATTENTION_UNITS = {
    "jensen_shannon": "Jensen–Shannon divergence: 0 = unchanged, 1 = nothing in common",
    "cosine": "cosine similarity: 1 = unchanged; special tokens and causal zeros push it towards 1",
}
ADAPTATION = "Loss in nats per token and perplexity: lower is better. Accuracy: higher is better."
MEASUREMENTS = "Every kind of measurement in the results, with the number of rows and the range of values."


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that the page numbers: its pictures, how to read it, and the table behind it."""

    title: str
    caption: str
    pictures: list[canvas.Picture]
    table: Table
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. `tables` are printed open, `more` folded."""

    ident: str
    title: str
    lead: str = ""
    findings: dict[str, list[Markup]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    more: list[Table] = field(default_factory=list)


def write_report(
    rows: pd.DataFrame, out: Path, *, suite: str, description: str, provenance: Mapping[str, str]
) -> Path:
    """Write the report of a suite to `out/index.html` and return that path.

    `rows` are tidy result rows (see store.results); a kind or metric that the page has no figure for is
    listed, not refused. `provenance` is printed as it is given. The page is one file that loads nothing,
    and the same arguments give the same bytes. Raises InputError when there are no rows.
    """
    if rows.empty:
        raise InputError(f"no results yet for suite '{suite}'; run: microtome suite run {suite}")
    results = read(rows)
    sections = [glance_section(results), curves_section(results), probing_section(results)]
    sections += [attention_section(results), adaptation_section(results), measurements_section(results)]
    template = _environment().get_template("page.html.jinja")
    page = template.render(
        suite=suite,
        description=description,
        counts=_counts(results, len(rows)),
        sections=[section for section in sections if section],
        provenance=dict(provenance),
        artifacts=_artifacts(rows),
        light=Markup(canvas.theme(canvas.LIGHT)),
        dark=Markup(canvas.theme(canvas.DARK)),
    )
    return _put(page, out / "index.html")


def glance_section(results: Results) -> Section | None:
    """The computed sentences, and one row per task and model."""
    sentences = findings(results)
    frame = glance(results.primary, results.probes)
    if frame.empty:
        return Section(ident="glance", title="At a glance", findings=sentences) if sentences else None
    shares = [percent(fraction) for fraction in numbers(results.primary["fraction"])]
    scored = len(shares) + ("gain" in frame)
    groups = [("", 3 if shares else 2), ("score with this share of the training data", scored)]
    notes = _deviations(results.primary, frame)
    groups += [("best probe layer, and its score", frame.shape[1] - sum(span for _, span in groups))]
    table = as_table(
        frame,
        "table-glance",
        "Scores and best probe layers",
        groups=tuple((label, span) for label, span in groups if span),
        styles={(at, share): "best" for share in shares for at in _leaders(frame, share)},
        notes=notes,
    )
    lead = (GAIN_NOTE if "gain" in frame else "") + (DEVIATION_NOTE if notes else "")
    return Section(ident="glance", title="At a glance", lead=lead, findings=sentences, tables=[table])


def curves_section(results: Results) -> Section | None:
    """The primary score against the amount of training data, and every other score in a table."""
    scores = results.primary
    if scores.empty:
        return None
    several = scores["fraction"].nunique() > 1
    draw = figures.learning_curves if several else figures.score_dots
    figure = Figure(
        title="Learning curves" if several else "Test scores",
        caption=CURVES + _if_seeds(scores, BANDS) if several else DOTS + _if_seeds(scores, BARS),
        pictures=draw(scores, results.models),
        table=as_table(_long(scores), "table-scores", "Primary score by task, model and share of the data"),
    )
    wide = widened(results.scores, [*ITEM, "fraction"], "metric", in_order(results.scores["metric"]))
    every = as_table(
        wide.rename(columns=metric_name), "table-all-scores", "Every test score, means over seeds"
    )
    return Section(ident="scores", title=figure.title, figures=[figure], more=[every])


def probing_section(results: Results) -> Section | None:
    """One figure per probe: its score on every layer, before and after fine-tuning."""
    drawn: list[Figure] = []
    for probe in dict.fromkeys(results.probes["probe"]):
        probes = results.probes[results.probes["probe"] == probe]
        ident = f"probe-{len(drawn)}"
        wide = widened(probes, [*ITEM, "metric", "layer"], "fraction", numbers(probes["fraction"]))
        wide = wide.assign(metric=wide["metric"].map(metric_name))
        wide = wide.rename(columns=lambda name: percent(name) if isinstance(name, float) else name)
        drawn.append(
            Figure(
                title=f"{probe or 'Unnamed'} probe, layer by layer".capitalize(),
                caption=PROBING + _if_seeds(probes, BANDS),
                pictures=figures.probing_panels(probes, results.models_in(probes), ident),
                table=as_table(wide, f"table-{ident}", "Probe score by layer and share of the data"),
            )
        )
    return Section(ident="probing", title="Layer-wise probing", figures=drawn) if drawn else None


def attention_section(results: Results) -> Section | None:
    """Heat maps of what fine-tuning did to each attention head; all but the first measure folded."""
    drawn: list[Figure] = []
    for measure in ATTENTION_MEASURES:
        heads = results.attention[measure]
        if heads.empty:
            continue
        wide = widened(heads, [*ITEM, "fraction", "layer"], "head", numbers(heads["head"]))
        wide = wide.rename(columns=lambda name: f"head {name:g}" if isinstance(name, float) else name)
        title = f"Attention change: {metric_name(measure)}"
        drawn.append(
            Figure(
                title=title,
                caption=ATTENTION.format(unit=ATTENTION_UNITS[measure]),
                pictures=figures.attention_maps(heads, results.models_in(heads), measure),
                table=as_table(wide, f"table-{measure.replace('_', '-')}", f"{title}, by layer and head"),
                folded=bool(drawn),
            )
        )
    return Section(ident="attention", title="Attention change", figures=drawn) if drawn else None


def adaptation_section(results: Results) -> Section | None:
    """The language-model scores around adaptation, as a table."""
    frame = results.adapted
    if frame.empty:
        return None
    named = frame.assign(metric=frame["metric"].map(metric_name))
    table = as_table(named, "table-adaptation", "Language-model scores on held-out text")
    return Section(ident="adaptation", title="Language-model adaptation", lead=ADAPTATION, tables=[table])


def measurements_section(results: Results) -> Section | None:
    """A list of everything that was measured, drawn or not."""
    frame = inventory(results.rows)
    if frame.empty:
        return None
    table = as_table(frame, "table-measurements", "Rows by kind, metric and split")
    return Section(ident="measurements", title="What was measured", lead=MEASUREMENTS, more=[table])


def _leaders(frame: pd.DataFrame, column: str) -> list[int]:
    """The positions of each task's highest value; none where a task has one model only."""
    places = []
    for _, part in frame.groupby("task", sort=False):
        if part[column].count() > 1:
            places += [int(at) for at in part.index[part[column] == part[column].max()]]
    return places


def _deviations(scores: pd.DataFrame, frame: pd.DataFrame) -> dict[tuple[int, str], str]:
    """The standard deviation under each mean that is over several seeds."""
    places = {pair: at for at, pair in enumerate(frame[ITEM].itertuples(index=False, name=None))}
    repeated = scores.loc[scores["seeds"] > 1, [*ITEM, "fraction", "deviation"]]
    return {
        (places[task, model], percent(fraction)): f"± {deviation:.3f}"
        for task, model, fraction, deviation in repeated.itertuples(index=False, name=None)
    }


def _long(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores with a column per number and the metric as text, without ranges where no seed repeats."""
    frame = scores[[*ITEM, "metric", "fraction", "mean", "deviation", "low", "high", "seeds", "n"]]
    frame = frame.assign(metric=frame["metric"].map(metric_name))
    return frame if (frame["seeds"] > 1).any() else frame.drop(columns=["deviation", "low", "high"])


def _if_seeds(frame: pd.DataFrame, note: str) -> str:
    """The note where a number is over several seeds."""
    return note if (frame["seeds"] > 1).any() else ""


def _counts(results: Results, total: int) -> list[tuple[str, str]]:
    """The numbers in the header of the page."""
    rows = results.rows
    counts = {
        "model": len(results.models),
        "task": len(in_order(rows["task"])),
        "fraction": rows["fraction"].nunique(),
        "seed": rows["seed"].nunique(),
        "row": total,
    }
    narrow = "\N{NARROW NO-BREAK SPACE}"
    return [
        (f"{count:,}".replace(",", narrow), name if count == 1 else f"{name}s")
        for name, count in counts.items()
        if count
    ]


def _artifacts(rows: pd.DataFrame) -> dict[str, list[str]]:
    """The ids of the artifacts that the rows come from, by kind."""
    if not {"kind", "artifact"} <= set(rows):
        return {}
    pairs = rows[["kind", "artifact"]].dropna().drop_duplicates()
    return {str(kind): sorted(map(str, part["artifact"])) for kind, part in pairs.groupby("kind", sort=False)}


def _environment() -> Environment:
    """Templates from this folder, everything escaped, an unknown name an error."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _put(page: str, target: Path) -> Path:
    """Write beside the target and move, so that nobody ever opens half a page."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.{os.getpid()}")
    staged.write_text(page, "utf-8", newline="\n")
    staged.replace(target)
    return target
