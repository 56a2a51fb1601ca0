"""The best layer of a probe with the layers that tie with it, for sentences and tables alike."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from microtome.analysis.report.frames import ITEM, MOST_P, matches
from microtome.analysis.report.sections.results import Results, best_layers
from microtome.analysis.report.tables import bounds_of

RUN = ["probe", *ITEM, "fraction"]  # what a best layer is of
TIED = (
    "Tied with the best layer are those that are not shown to be worse on the same test examples (paired "
    "bootstrap, Holm's correction over the layers, models and shares of the task). "
)


def tied_layers(results: Results, probes: pd.DataFrame) -> list[float]:
    """The layers of one probe, model and fraction that are not shown to be worse than the best one, which is
    among them. Where the layers were not compared, those whose interval reaches into that of the best; every
    layer where there are no intervals either."""
    best = best_layers(probes).iloc[0]
    compared = results.derived_from("probe", "from_best_layer")
    same_run = matches(compared, best, [*RUN, "metric"])
    of_best = compared[same_run & (compared["reference_layer"] == best["layer"])]
    if len(of_best):
        worse = of_best.loc[(of_best["mean"] < 0) & (of_best["p"] <= MOST_P), "layer"]
        return sorted(set(probes["layer"]) - set(worse))
    apart = (probes["high"] < best["low"]) | (probes["low"] > best["high"])
    return sorted(probes.loc[~apart, "layer"])


def with_tied_layers(results: Results, probes: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Best layers, and as text in `tied` the layers that tie with each."""
    sets = [tied_layers(results, probes[matches(probes, row, RUN)]) for row in best.to_dict("records")]
    return best.assign(tied=[layer_ranges(layers) for layers in sets])


def best_layer_gains(results: Results) -> pd.DataFrame:
    """How far the best layer of each probe after fine-tuning is above the best one before, as `rise` with its
    bounds, and the `effect`: the rise over the standard deviation between training runs."""
    gains = results.derived_from("probe", "best_layer_gain")
    columns = {"mean": "rise", **bounds_of("rise")}
    return gains[[*RUN, "layer", "metric", *columns, "effect"]].rename(columns=columns)


def layer_ranges(layers: Sequence[float]) -> str:
    """Layers in ascending order as "1, 3 to 5": neighbours are one range."""
    runs = np.split(np.array(layers), np.flatnonzero(np.diff(layers) != 1) + 1) if layers else []
    return ", ".join(f"{run[0]:g} to {run[-1]:g}" if len(run) > 1 else f"{run[0]:g}" for run in runs)
