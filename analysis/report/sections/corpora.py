"""The corpora of a study, what was cut off from their texts, and the settings of each task."""

import pandas as pd

from microtome.analysis.report.frames import ITEM, metric_name
from microtome.analysis.report.section import Section
from microtome.analysis.report.sections.results import Results
from microtome.analysis.report.tables import Table, as_table

LEAD = (
    "What a methods section says of the data: how many examples each part has, under which licence the "
    "corpus is, and what to cite. Training examples are those of the largest share of the data that was "
    "trained on."
)
CUT = (
    "Texts longer than max_length, where more than 1 % of the words, or of the gold entities or mentions, "
    "lie beyond it: the model never sees them, and they count as missed"
)
NOTHING_CUT = " Nowhere does more than 1 % of the words, entities or mentions lie beyond max_length."
SETTINGS = "Settings of the recipe of each task that are not at their defaults"
SHARES = ("truncated_share", "truncated_entity_share")
MOST_CUT = 0.01  # a share of the words or entities that need not be told of


def corpora_section(
    results: Results, corpora: pd.DataFrame | None, settings: pd.DataFrame | None
) -> Section | None:
    """A row per corpus, what was cut off, and the settings. `corpora` has a column task and, as far as it is
    known of each, train (examples), type, licence and citation; `settings` has columns task, setting, value
    and, where it was set, origin. Without `corpora` there is no such section."""
    if corpora is None or corpora.empty:
        return None
    frame = corpora.merge(_examples(results), on="task", how="left")
    front = [name for name in ("task", "type", "train", "dev", "test") if name in frame]
    frame = frame[[*front, *(name for name in frame if name not in front)]]
    cut = truncated(results)
    measured = results.rows["metric"].isin(SHARES).any()
    return Section(
        ident="corpora",
        title="Corpora and settings",
        lead=LEAD + (NOTHING_CUT if measured and cut is None else ""),
        tables=[as_table(frame, "table-corpora", "Corpora"), *([cut] if cut else [])],
        more=[as_table(settings, "table-settings", SETTINGS)]
        if settings is not None and not settings.empty
        else [],
    )


def truncated(results: Results) -> Table | None:
    """The shares of words, and of entities or mentions, beyond max_length, by task, model and part; only what
    exceeds MOST_CUT, as `suite plan` says it."""
    rows = results.rows
    rows = rows[(rows["kind"] == "finetune") & rows["metric"].isin(SHARES)]
    shares = rows.pivot_table(
        index=[*ITEM, "split"], columns="metric", values="value", aggfunc="max", sort=False
    )
    shares = shares[(shares > MOST_CUT).any(axis="columns")]
    if shares.empty:
        return None
    return as_table(shares.rename(columns=metric_name).reset_index(), "table-truncated", CUT)


def _examples(results: Results) -> pd.DataFrame:
    """How many examples of dev and test the fine-tuned models were scored on."""
    rows = results.rows
    scored = rows[(rows["kind"] == "finetune") & (rows["label"] == "") & rows["split"].isin(["dev", "test"])]
    counts = scored.pivot_table(index="task", columns="split", values="n", aggfunc="max", sort=False)
    return counts.reset_index()
