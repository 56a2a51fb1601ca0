"""How much of the gain from fine-tuning little training data brings."""

import pandas as pd
from markupsafe import Markup

from microtome.analysis.report.frames import numbers, percent, shown
from microtome.analysis.report.sections.findings.wording import MOST_MODELS, listed
from microtome.analysis.report.sections.results import Results


def share_of_gain(results: Results, task: str) -> Markup:
    """The share of the gain of all training data that the smallest training set brings, by model.

    Only of gains that are shown: a share of a gain whose interval holds zero is a share of nothing. The
    range of a share goes from the least gain over the most to the reverse, by their 95 % intervals, so it
    is rather too wide; a share that may be nothing or all is left out.
    """
    gains = results.derived_from("finetune", "gain")
    gains = gains[gains["task"] == task]
    fractions = [fraction for fraction in numbers(gains["fraction"]) if fraction > 0]
    if len(fractions) < 2:
        return Markup("")
    some, most = fractions[0], fractions[-1]
    shares = [
        share
        for model, part in gains.groupby("model", sort=False)
        if (share := _share(str(model), part, some, most))
    ]
    if not shares or len(shares) > MOST_MODELS:
        return Markup("")
    return Markup("Of the gain of {}, {} of the training data brings {}.").format(
        percent(most), percent(some), listed(shares)
    )


def _share(model: str, gains: pd.DataFrame, some: float, most: float) -> Markup:
    by_fraction = gains.drop_duplicates("fraction").set_index("fraction")
    if not {some, most} <= set(by_fraction.index):
        return Markup("")
    little, whole = by_fraction.loc[some], by_fraction.loc[most]
    if not shown(by_fraction)[most] or whole["low"] <= 0:
        return Markup("")
    low, high = little["low"] / whole["high"], little["high"] / whole["low"]
    if low <= 0 and high >= 1:
        return Markup("")
    return Markup("<b>{:.0f} %</b> ({:.0f} to {:.0f} %) for {}").format(
        100 * little["mean"] / whole["mean"], 100 * max(low, 0.0), 100 * high, model
    )
