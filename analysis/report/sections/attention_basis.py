"""What a figure of attention is measured from, where that is not whole maps."""

import re
from collections.abc import Collection

import pandas as pd

from microtome.analysis.report.frames import in_order

SENTENCES = (
    (r"patterns", "Maps were not kept: patterns were computed with the model, from every row of each map."),
    (r"(\d+) rows", "Maps were not kept: each value is an estimate from {} rows of each map."),
    (
        r"top (\d+)",
        "Of each row of attention the {} largest weights were kept; the rest of it counts as spread evenly.",
    ),
)


def basis_sentences(rows: pd.DataFrame, metrics: Collection[str]) -> str:
    """For a caption, with a space before each sentence; empty where all was measured from whole maps."""
    of_figure = rows[(rows["kind"] == "attention") & rows["metric"].isin(metrics)]
    bases = [part for basis in in_order(of_figure["basis"]) for part in basis.split(", ")]
    partly = " This holds of some of the models." if (of_figure["basis"] == "").any() else ""
    sentences = [_sentence(basis) for basis in dict.fromkeys(bases)]
    return "".join(f" {sentence}" for sentence in sentences) + (partly if sentences else "")


def _sentence(basis: str) -> str:
    for pattern, sentence in SENTENCES:
        match = re.fullmatch(pattern, basis)
        if match:
            return sentence.format(*match.groups())
    return f"Measured from: {basis}."
