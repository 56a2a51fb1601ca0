"""Which heads fine-tuning changed: those that differ more from the pretrained model than two training runs of
the same fine-tuning differ from each other, which is the floor of change."""

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm

from microtome.analysis.attention.compare import BETWEEN_SEEDS

MEASURE = "jensen_shannon"
RUN = ["task", "model", "fraction"]
HEAD = [*RUN, "layer", "head"]
RATE = 0.05  # of heads that are called changed, how many may not be
COLUMNS = [*HEAD, "change", "floor", "p", "changed"]


def changed_heads(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each head its change, the floor, and `changed`, whether it is beyond it: COLUMNS.

    `rows` are measured rows with missing texts as "" and numbers as NaN. `p` is one-sided, over examples and
    training runs, by Benjamini and Hochberg's correction over the heads of a task, model and fraction. Fewer
    than two training runs: no rows. That change and floor are of the same examples is not used, which makes
    p rather too large.
    """
    rows = rows[(rows["kind"] == "attention") & (rows["fraction"] > 0)].dropna(subset=["layer", "head"])
    change, floor = (_by_head(rows[rows["stage"] == stage]) for stage in ("", BETWEEN_SEEDS))
    table = change.join(floor, how="inner", lsuffix=" of change", rsuffix=" of floor").reset_index()
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    error = np.sqrt(table["variance of change"] + table["variance of floor"])
    table = table.rename(columns={"mean of change": "change", "mean of floor": "floor"})
    beyond = table["change"] - table["floor"]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(error > 0, beyond / error, np.sign(beyond) * np.inf)
    table["p"] = np.where(beyond > 0, norm.sf(z), 1.0)
    table["p"] = table.groupby(RUN, sort=False)["p"].transform(
        lambda p: false_discovery_control(p.to_numpy(), method="bh")
    )
    return table.assign(changed=table["p"] <= RATE)[COLUMNS]


def _by_head(rows: pd.DataFrame) -> pd.DataFrame:
    """By head the mean over comparisons of two runs and the variance of that mean: over examples, which are
    the same in all comparisons, and over runs."""
    means = rows[rows["metric"] == MEASURE]
    spread = rows[rows["metric"] == f"{MEASURE}_std"]
    over_runs = means.groupby(HEAD, sort=False)["value"].agg(["mean", "var", "size"])
    over_examples = (spread["value"] ** 2 / spread["n"].clip(lower=1)).groupby(
        [spread[name] for name in HEAD], sort=False
    )
    runs = over_runs["var"].fillna(0) / over_runs["size"]
    variance = runs + over_examples.mean().reindex(over_runs.index).fillna(0)
    return pd.DataFrame({"mean": over_runs["mean"], "variance": variance})
