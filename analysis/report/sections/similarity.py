"""The section of layer similarity: maps of every pair of layers, and how far each layer moved."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from microtome.analysis.report.blocks import Block, Panel, blocks, of
from microtome.analysis.report.canvas import Layout, Picture, picture, slug
from microtome.analysis.report.frames import ITEM, metric_name, numbers, over_seeds, percent, pivoted
from microtome.analysis.report.heatmaps import HeatMap, Scale, cell_matrix, chunks, map_grid, map_height
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.layers import axes_note, layer_curves
from microtome.analysis.report.sections.results import Results, adapted_rows, fine_tuned
from microtome.analysis.report.tables import as_table, estimates

STAGES = ("before", "after", "across")
MEASURES = ("linear_cka", "rsa", "rbf_cka")
KEYS = [*ITEM, "metric", "fraction", "stage", "layer", "other_layer"]
MOVED = (
    "Similarity ({measure}) of each layer after fine-tuning to the same layer before: 1 is unchanged up "
    "to rotation and scale. Layer 0 is the embedding output."
)
MAPS = (
    "Similarity ({measure}) of every pair of layers on the same test tokens. Before: layers of the "
    "pretrained model with one another; after: of the model fine-tuned on {share} of the training data; "
    "across: layers before (up) with layers after (right). All maps share the colour scale; 1 is the same"
    " up to rotation and scale."
)
ADAPTED = (
    "Similarity ({measure}) of the layers of an adapted model with those of its base, on the same test "
    "tokens. Before: layers of the base with one another; after: of the adapted model; across: base (up) "
    "with adapted (right)."
)


def similarity_section(results: Results) -> Section | None:
    """How far each layer moved, then all pairs of layers; all but the first measure folded."""
    pairs = _pairs(results.rows)
    figures: list[Figure] = []
    for measure in MEASURES:
        part = pairs[pairs["metric"] == measure]
        figures += _of_measure(results, part, measure, folded=measure != MEASURES[0])
    return Section(ident="similarity", title="Similarity of layers", figures=figures) if figures else None


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    selected = rows[
        (rows["kind"] == "similarity") & rows["metric"].isin(MEASURES) & rows["stage"].isin(STAGES)
    ]
    return over_seeds(selected.dropna(subset=["fraction", "layer", "other_layer"]), KEYS)


def _of_measure(results: Results, pairs: pd.DataFrame, measure: str, *, folded: bool) -> list[Figure]:
    fine, adapted = fine_tuned(pairs), adapted_rows(pairs)
    figures = []
    moved = fine[(fine["stage"] == "across") & (fine["layer"] == fine["other_layer"])]
    if not moved.empty:
        figures.append(_moved(results, moved, measure, folded=folded))
    if not fine.empty:
        most = fine[fine["fraction"] == fine.groupby("task")["fraction"].transform("max")]
        share = " or ".join(percent(fraction) for fraction in numbers(most["fraction"]))
        title = "Similarity of all pairs of layers"
        caption = MAPS.format(measure=metric_name(measure), share=share)
        figures.append(_maps(results, most, measure, title, "similarity", caption, folded=folded))
    if not adapted.empty:
        title, ident = "Adapted models beside their base", "adapted-models-beside-their-base"
        caption = ADAPTED.format(measure=metric_name(measure))
        figures.append(_maps(results, adapted, measure, title, ident, caption, folded=True))
    return figures


def _moved(results: Results, moved: pd.DataFrame, measure: str, *, folded: bool) -> Figure:
    name, ident = metric_name(measure), f"similarity-moved-{slug(measure)}"
    wide = estimates(moved, [*ITEM, "layer"], "fraction", numbers(moved["fraction"]), percent)
    note = " Bands are one standard deviation over seeds." if moved["deviation"].notna().any() else ""
    return Figure(
        title=f"How far fine-tuning moved each layer: {name}",
        caption=MOVED.format(measure=name) + axes_note(results.models_in(moved)) + note,
        pictures=layer_curves(moved, results.models_in(moved), ident, height=1.4),
        table=as_table(wide, f"table-{ident}", f"{name}, each layer after with itself before"),
        folded=folded,
    )


def _maps(
    results: Results, pairs: pd.DataFrame, measure: str, title: str, ident: str, caption: str, *, folded: bool
) -> Figure:
    name = metric_name(measure)
    ident = f"{ident}-{slug(measure)}"
    frame = pairs.rename(columns={"other_layer": "other"})
    wide = pivoted(frame, [*ITEM, "fraction", "stage", "layer"], "other", numbers(frame["other"]))
    wide = wide.rename(columns=lambda key: f"layer {key:g}" if isinstance(key, float) else key)
    return Figure(
        title=f"{title}: {name}",
        caption=caption,
        pictures=similarity_maps(pairs, results.models_in(pairs), name, ident),
        table=as_table(wide, f"table-{ident}", f"{title}: {name}, means over seeds"),
        folded=folded,
    )


def similarity_maps(pairs: pd.DataFrame, models: Sequence[str], name: str, ident: str) -> list[Picture]:
    """A picture per task: a row of maps per stage and a column per model."""
    scale = Scale(name, "magma", min(0.0, float(pairs["mean"].min())), 1.0)
    pictures = []
    for block in blocks(pairs, models):
        key = f"{ident}-{block.name}"
        pictures.append(picture(partial(_draw_maps, pairs, block, scale), key, block.heading))
    return pictures


def _draw_maps(pairs: pd.DataFrame, block: Block, scale: Scale, layout: Layout) -> Canvas:
    """Models side by side, or the stages of a single model."""
    if block.heading:
        keys = [
            [(panel, stage) for panel in row]
            for row in chunks(block.panels, layout.most_columns)
            for stage in STAGES
        ]
    else:
        keys = [
            row
            for panel in block.panels
            for row in chunks([(panel, stage) for stage in STAGES], layout.most_columns)
        ]
    grid = [[_map(pairs, block, panel, stage) for panel, stage in row] for row in keys]
    height = max(1.25, map_height(pairs["layer"].max() + 1))
    return map_grid(layout, grid, scale, height=height, labels=("layer", "layer"))


def _map(pairs: pd.DataFrame, block: Block, panel: Panel, stage: str) -> HeatMap:
    part = of(pairs[pairs["stage"] == stage], panel)
    title = f"{block.title(panel)} · {stage}"
    if part.empty:
        return HeatMap(title, np.empty((0, 0)))
    return HeatMap(title, cell_matrix(part, "layer", "other_layer"))
