"""The section of attention change: heat maps of how far each head moved, and where heads attend."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from microtome.analysis.attention.floor import MEASURE, RUN, changed_heads
from microtome.analysis.report.blocks import Block, Panel, blocks, of
from microtome.analysis.report.canvas import Layout, Picture, picture, slug
from microtome.analysis.report.frames import ITEM, metric_name, numbers, percent
from microtome.analysis.report.heatmaps import HeatMap, Scale, cell_matrix, chunks, map_grid, map_height
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.attention_basis import basis_sentences
from microtome.analysis.report.sections.patterns import pattern_figures
from microtome.analysis.report.sections.results import ATTENTION_MEASURES, Results, adapted_rows, fine_tuned
from microtome.analysis.report.tables import Table, as_table, estimates

CAPTION = (
    "Attention of {compared}, averaged over test examples "
    "({unit}). Each cell is one head (H) of one layer (L); brighter cells changed more, the ring is on the "
    "one that changed most, and all maps share the colour scale. Layer 0 is the first attention layer; in "
    "the probing figure, layer 0 is the embedding output."
)
MASS = (
    "Special tokens are left out and rows sum to one again, each row counting by the share of its attention "
    "that remains. What goes to no token, in models with attention sinks, is no part of a comparison. "
)
FLOOR = (
    "The floor of change is the Jensen–Shannon divergence between two training runs of the same "
    "fine-tuning: a head changed if it differs more than that from the pretrained model, over test examples "
    "and training runs; of the heads of a table row that are called changed, about 5 % at most are not "
    "(Benjamini and Hochberg)."
)
NO_FLOOR = (
    "How much of the change another seed would bring as well is not known: no two training runs of the same "
    "fine-tuning were compared, so that no head is called changed."
)
TUNED = "the fine-tuned model compared with the pretrained one"
ADAPTED = "the adapted model compared with its base"
UNITS = {
    "jensen_shannon": "Jensen–Shannon divergence: 0 = unchanged, 1 = nothing in common",
    "cosine": "cosine similarity: 1 = unchanged",
    "cosine_whole": "cosine similarity of whole maps as they are stored: 1 = unchanged; special tokens are "
    "part of them, and as most heads attend to these before and after alike, they push it towards 1",
    "l1": "summed absolute difference of attention rows: 0 = unchanged, 2 = nothing in common",
}
COLOURS = {
    "jensen_shannon": "viridis",
    "cosine": "viridis_r",
    "cosine_whole": "viridis_r",
    "l1": "viridis",
}  # bright is changed
MOST_AT_ONCE = 2  # fractions; of more, the reader may choose one


def attention_section(results: Results) -> Section | None:
    """Heat maps of what fine-tuning did to each attention head; all but the first measure folded."""
    figures: list[Figure] = []
    for measure in ATTENTION_MEASURES:
        heads = fine_tuned(results.attention[measure])
        if not heads.empty:
            title = f"Attention change: {metric_name(measure)}"
            figures.append(_changes(results, heads, measure, title, TUNED, folded=bool(figures)))
    for measure in ATTENTION_MEASURES[:1]:
        heads = adapted_rows(results.attention[measure])
        if not heads.empty:
            title = f"Attention change by adaptation: {metric_name(measure)}"
            figures.append(_changes(results, heads, measure, title, ADAPTED, folded=bool(figures)))
    figures += pattern_figures(results)
    if not figures:
        return None
    heads = changed_heads(results.rows)
    return Section(
        ident="attention",
        title="Attention",
        lead=MASS
        + (FLOOR if len(heads) else NO_FLOOR if fine_tuned(results.attention[MEASURE]).size else ""),
        figures=figures,
        tables=[_changed(heads)] if len(heads) else [],
        more=[_by_head(heads)] if len(heads) else [],
    )


def _changed(heads: pd.DataFrame) -> Table:
    """How many heads changed beyond the floor, by task, model and fraction."""
    counts = heads.groupby(RUN, sort=False).agg(
        heads=("changed", "size"),
        changed=("changed", "sum"),
        change=("change", "mean"),
        floor=("floor", "mean"),
    )
    return as_table(counts.reset_index(), "table-changed-heads", "Heads that changed beyond the floor")


def _by_head(heads: pd.DataFrame) -> Table:
    frame = heads.assign(changed=np.where(heads["changed"], "yes", "no"))
    return as_table(frame, "table-heads", "Change of each head beside its floor; p after the correction")


def _changes(
    results: Results, heads: pd.DataFrame, measure: str, title: str, compared: str, *, folded: bool
) -> Figure:
    ident = slug("attention", "" if compared is TUNED else "adaptation", measure)
    frame = estimates(
        heads,
        [*ITEM, "fraction", "layer"],
        "head",
        numbers(heads["head"]),
        lambda head: f"head {head:g}",
    )
    return Figure(
        title=title,
        caption=CAPTION.format(compared=compared, unit=UNITS[measure])
        + basis_sentences(results.rows, [measure]),
        pictures=attention_maps(heads, results.models_in(heads), measure, ident),
        table=as_table(frame, f"table-{ident}", f"{title}, by layer and head"),
        folded=folded,
    )


def attention_maps(heads: pd.DataFrame, models: Sequence[str], measure: str, ident: str) -> list[Picture]:
    """Attention change by layer (across) and head (up): a map per task, model and fraction.

    There is a picture per task, or per task and fraction if there are many of these; all maps of a measure
    share one colour scale.
    """
    least, most = float(heads["mean"].min()), float(heads["mean"].max())
    limits = (min(least, 0.999), 1.0) if measure.startswith("cosine") else (0.0, most if most > 0 else 1.0)
    scale = Scale(metric_name(measure), COLOURS[measure], *limits)
    fractions = numbers(heads["fraction"])
    pictures = []
    for block in blocks(heads, models):
        if len(fractions) > MOST_AT_ONCE:
            for fraction in fractions:
                name = f"{ident}-{block.name}-{fraction:g}"
                pictures.append(_picture(heads, block, [fraction], scale, name, percent(fraction)))
        else:
            pictures.append(_picture(heads, block, fractions, scale, f"{ident}-{block.name}"))
    return pictures


def _picture(
    heads: pd.DataFrame, block: Block, fractions: list[float], scale: Scale, ident: str, step: str = ""
) -> Picture:
    """The maps of one block: more data is further down, or to the right when there is one model."""

    def draw(layout: Layout) -> Canvas:
        grid = [
            [_map(heads, block, panel, fraction, scale) for panel, fraction in row]
            for row in _map_rows(block, fractions, layout)
        ]
        return map_grid(
            layout, grid, scale, height=map_height(heads["head"].max() + 1), labels=("head", "layer")
        )

    return picture(draw, ident, block.heading, step)


def _map_rows(block: Block, fractions: list[float], layout: Layout) -> list[list[tuple[Panel, float]]]:
    """What is in each row of maps: models side by side, or the fractions of a single model."""
    if not block.heading and len(fractions) > 1:
        return [[(panel, fraction) for fraction in fractions] for panel in block.panels]
    rows = chunks(block.panels, layout.most_columns)
    return [[(panel, fraction) for panel in row] for row in rows for fraction in fractions]


def _map(heads: pd.DataFrame, block: Block, panel: Panel, fraction: float, scale: Scale) -> HeatMap:
    """One map, with a ring on the head that changed most and the numbers above it."""
    part = of(heads[heads["fraction"] == fraction], panel)
    share = f" · {percent(fraction)}" if fraction else ""
    title = f"{block.title(panel)}{share}"
    if part.empty:
        return HeatMap(title, np.empty((0, 0)))
    cells = cell_matrix(part, "head", "layer")
    kind, extreme = ("min", np.nanargmin) if scale.colours == "viridis_r" else ("max", np.nanargmax)
    head, layer = (int(place) for place in np.unravel_index(extreme(cells), cells.shape))
    note = f"mean {np.nanmean(cells):.3f} · {kind} {cells[head, layer]:.3f} at L{layer} H{head}"
    return HeatMap(title, cells, note, ring=(head, layer))
