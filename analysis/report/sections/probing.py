"""The section of layer-wise probing: scores by layer beside their baselines, controls, and layer weights."""

import pandas as pd

from microtome.analysis.report.canvas import slug
from microtome.analysis.report.frames import ITEM, metric_name, numbers, over_seeds, percent, pivoted, shown
from microtome.analysis.report.section import Figure, Section
from microtome.analysis.report.sections.best_layers import TIED, best_layer_gains, with_tied_layers
from microtome.analysis.report.sections.classes import probe_classes
from microtome.analysis.report.sections.confusion import confusion_figure
from microtome.analysis.report.sections.layers import axes_note, layer_curves
from microtome.analysis.report.sections.overlap import probe_overlap_table
from microtome.analysis.report.sections.results import BASELINES, MIX, Results, best_layers, probe_metric
from microtome.analysis.report.sections.scores import bands, one_run
from microtome.analysis.report.tables import (
    BOUNDS,
    Styles,
    Table,
    as_table,
    bounds_of,
    estimates,
    renamed,
)

SCORES = (
    "Test score of a probe trained on the frozen states of one layer (higher is better); layer 0 is the "
    "embedding output. The dashed line is the pretrained model, the coloured lines the models after "
    "fine-tuning, and a dot marks the highest point of its line. The gap to the dashed line is what "
    "fine-tuning changed in what can be read from the layer."
)
LEVELS = (
    " Grey lines need no model: the majority label, and a bag of words; one that is not drawn lies far below "
    "(its score is in the table of baselines). What does not exceed them could be had without the model."
)
EXTRAS = {
    "primary_selectivity": "Score of the probe above that of the majority label, minus the same on a control "
    "task, where every word type has one random label (Hewitt and Liang 2019). Above 0 the layer says more "
    "of the task than the probe memorises of the words.",
    "unseen_word_selectivity": "The same on the test words that the training words do not have: their random "
    "labels cannot be known, so that this is no memory.",
    "seen_word_selectivity": "The same on the test words that the training words have.",
    "selectivity": "Accuracy of the probe minus its accuracy on the control task, as published. It depends "
    "on how frequent the most frequent label of each is, and may be negative for that reason alone.",
    "selectivity_over_majority": "Accuracy of the probe above that of the majority label, minus the same on "
    "the control task.",
    "random_label_selectivity": "Accuracy of the probe minus its accuracy on a random label per example. "
    "Random labels of unseen examples cannot be learnt: the difference is the score above chance.",
    "compression": "Code length of the labels by their frequencies alone over their online code length given "
    "the states (Voita and Titov 2020): how many times shorter the layer makes the labels. 1 is nothing "
    "gained, however unbalanced the labels are.",
    "control_compression": "The same of the control task, whose labels mean nothing: what the probe gains by "
    "memorising. What the compression of the task exceeds this by is what the layer says of the task.",
}
WEIGHTS = (
    "Weights of the layers in one probe of a learned mix of all layers (Tenney et al. 2019); they sum to "
    "one. A triangle marks the centre of gravity, the mean layer under these weights. A weight says how "
    "useful a layer is beside the others, not alone."
)
CODELENGTHS = {  # metric -> column
    "codelength": "codelength",
    "control_codelength": "of the control task",
    "prior_codelength": "by label frequencies",
    "compression": "compression",
    "control_compression": "compression of the control task",
}
CODELENGTH_TITLE = (
    "Online codelength of the training labels in bits (Voita and Titov 2020), beside that of the control "
    "task given the same states, and that of the labels by their frequencies alone; a compression is the "
    "code by frequencies over the code of the probe, of the same labels"
)
BEST = (
    "Best layer of each probe, and the gain of that layer over the same layer before fine-tuning, bold where "
    f"several training runs show one. {TIED}The rise is the score of the best layer minus that of the best "
    "layer before fine-tuning; its effect is the rise over the standard deviation between training runs. "
)
CHOSEN_ON_DEV = "The layer was chosen on the dev part, and its score is that on the test part"
CHOSEN_ON_TEST = (
    "Without scores on a dev part the layer was chosen on the test part, so that its score is slightly too "
    "high"
)


def probing_section(results: Results) -> Section | None:
    """Figures of every probe: its score on every layer, then what says how far to trust it."""
    figures: list[Figure] = []
    for probe in dict.fromkeys(results.probes["probe"]):
        probes = results.probes[results.probes["probe"] == probe]
        figures.append(_scores(results, probes, probe))
        figures += [figure for metric in EXTRAS if (figure := _extra(results, probe, metric))]
        confused = confusion_figure(results, "probe", probe)
        figures += [confused] if confused else []
    mixed = _mix(results)
    if not figures and mixed is None:
        return None
    overlap = probe_overlap_table(results)
    tables = [table for table in (_best(results), _codelengths(results), _without_layers(results)) if table]
    return Section(
        ident="probing",
        title="Layer-wise probing",
        figures=[*figures, *([mixed] if mixed else [])],
        tables=[overlap] if overlap else [],
        more=[*tables, *probe_classes(results)],
    )


def _scores(results: Results, probes: pd.DataFrame, probe: str) -> Figure:
    baselines = _baselines(results)
    ident = f"probing-{slug(probe) or 'unnamed'}"
    return Figure(
        title=f"{_title(probe)} probe, layer by layer",
        caption=SCORES
        + axes_note(results.models_in(probes))
        + (LEVELS if len(baselines) else "")
        + bands(probes)
        + _narrow_grid(results, probe),
        pictures=layer_curves(
            probes,
            results.models_in(probes),
            ident,
            best=True,
            baselines=baselines,
        ),
        table=_by_layer(
            probes, f"table-{ident}", f"Score of the {probe} probe by layer and share of the data"
        ),
    )


def _extra(results: Results, probe: str, metric: str) -> Figure | None:
    """Small multiples of what stands beside the score."""
    frame = probe_metric(results.rows, metric)
    frame = frame[frame["probe"] == probe]
    if frame.empty:
        return None
    ident = f"{slug(metric)}-{slug(probe) or 'unnamed'}"
    name = metric_name(metric)
    return Figure(
        title=f"{_title(probe)} probe: {name}",
        caption=EXTRAS[metric] + axes_note(results.models_in(frame)) + bands(frame),
        pictures=layer_curves(frame, results.models_in(frame), ident, height=1.3),
        table=_by_layer(frame, f"table-{ident}", f"{name} by layer and share of the data".capitalize()),
        folded=True,
    )


def _by_layer(frame: pd.DataFrame, ident: str, title: str) -> Table:
    index = [*ITEM, "metric", "layer"]
    wide = estimates(frame, index, "fraction", numbers(frame["fraction"]), percent)
    return as_table(wide.assign(metric=wide["metric"].map(metric_name)), ident, title)


def _mix(results: Results) -> Figure | None:
    """The layer weights of a scalar mix, with its centre of gravity and its score in the table."""
    weights = probe_metric(results.rows, "mix_weight")
    if weights.empty:
        return None
    keys = [*ITEM, "fraction"]
    rows = results.rows
    centres = over_seeds(rows[(rows["kind"] == "probe") & (rows["metric"] == "centre_of_gravity")], keys)
    score = results.unlayered[results.unlayered["probe"] == MIX]
    table = renamed(centres.drop(columns="n"), mean="centre of gravity").merge(
        renamed(score[[*keys, "metric", "mean", *BOUNDS]], mean="score"), on=keys, how="left"
    )
    table["metric"] = table["metric"].map(metric_name, na_action="ignore")
    return Figure(
        title="Layer weights of a scalar mix",
        caption=WEIGHTS + axes_note(results.models_in(weights)) + bands(weights),
        pictures=layer_curves(weights, results.models_in(weights), "scalar-mix", height=1.3, markers=centres),
        table=as_table(table, "table-scalar-mix", "Centre of gravity and score of the scalar mix"),
    )


def _baselines(results: Results) -> pd.DataFrame:
    """One score per task, model and baseline, of the smallest fraction: no model plays a part in them."""
    selected = results.unlayered[results.unlayered["probe"].isin(BASELINES)]
    return selected.sort_values("fraction", kind="stable").drop_duplicates(["probe", *ITEM])


def _best(results: Results) -> Table | None:
    """The best layer of each probe with its interval and its gain."""
    if results.probes.empty:
        return None
    best = best_layers(results.probes)
    keys = ["probe", *ITEM, "fraction", "layer"]
    tied = with_tied_layers(results, results.probes, best)
    frame = renamed(tied[[*keys, "metric", "tied", "mean", *BOUNDS]], mean="score")
    gains = results.derived_from("probe", "gain")
    styles: Styles = {}
    if not gains.empty:
        selected = gains[[*keys, "metric", "mean", *BOUNDS]]
        frame = frame.merge(renamed(selected, mean="gain"), on=[*keys, "metric"], how="left")
        sure = set(gains.loc[shown(gains), keys].itertuples(index=False, name=None))
        rows = frame[keys].itertuples(index=False, name=None)
        styles = {(row, "gain"): "sure" for row, key in enumerate(rows) if key in sure}
    rises = best_layer_gains(results)
    frame = frame.merge(rises, on=[*keys, "metric"], how="left")
    baselines = _baselines(results)
    for name in BASELINES:
        part = baselines[baselines["probe"] == name][[*ITEM, "mean", "low", "high"]]
        frame = frame.merge(part.rename(columns={"mean": name, **bounds_of(name)}), on=ITEM, how="left")
    frame = frame.assign(metric=frame["metric"].map(metric_name)).dropna(axis="columns", how="all")
    frame = frame[[*ITEM, "metric", "probe", "fraction", "layer", *list(frame)[len(keys) + 1 :]]]
    title = BEST + (CHOSEN_ON_DEV if best["dev"].notna().all() else CHOSEN_ON_TEST) + one_run(gains)
    return as_table(frame, "table-best-layers", title, styles=styles)


def _codelengths(results: Results) -> Table | None:
    """The codelength of every probed layer beside that of its control task and of the labels' frequencies."""
    keys = ["probe", *ITEM, "fraction", "layer"]
    rows = results.rows
    selected = rows[(rows["kind"] == "probe") & rows["metric"].isin(CODELENGTHS)].dropna(
        subset=["layer", "fraction"]
    )
    if selected.empty:
        return None
    frame = over_seeds(selected, [*keys, "metric"])
    wide = pivoted(frame, keys, "metric", list(CODELENGTHS)).rename(columns=CODELENGTHS)
    return as_table(wide, "table-codelengths", CODELENGTH_TITLE)


def _narrow_grid(results: Results, probe: str) -> str:
    """Of how many fits the strength lies beyond its grid, for a caption; empty if of none."""
    rows = results.rows[(results.rows["kind"] == "probe") & (results.rows["probe"] == probe)]
    fits, at_end = (int((rows["metric"] == name).sum()) for name in ("strength", "strength_at_end"))
    if not at_end:
        return ""
    return (
        f" In {at_end} of {fits} fits the best regularisation lies one step beyond its grid: a wider one "
        "(strengths, bag_strengths) might do better."
    )


def _without_layers(results: Results) -> Table | None:
    frame = results.unlayered
    if frame.empty:
        return None
    columns = [*ITEM, "probe", "metric", "fraction", "mean", *BOUNDS, "n"]
    named = frame[columns].assign(metric=frame["metric"].map(metric_name))
    return as_table(
        renamed(named, mean="score"),
        "table-unlayered",
        "Baselines, and probes of all layers together." + _narrow_grid(results, "bag-of-words"),
    )


def _title(probe: str) -> str:
    """A probe at the head of a title."""
    return {"svm": "SVM", "mlp": "MLP", "bilstm-crf": "BiLSTM-CRF"}.get(
        probe, (probe or "unnamed").capitalize()
    )
