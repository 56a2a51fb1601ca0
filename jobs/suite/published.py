"""Published scores beside our own."""

from collections.abc import Mapping, Sequence
from typing import Any

from microtome.jobs.tasks import Published


def published_score(row: Mapping[str, Any], published: Sequence[Published]) -> Published | None:
    """The published score to print beside a test row: that of the same model if there is one, else the
    first of the same metric."""
    same_metric = [p for p in published if p.metric == row["metric"] and row.get("split") == "test"]
    same_model = [p for p in same_metric if p.model == row.get("model")]
    return next(iter(same_model or same_metric), None)


def published_columns(score: Published | None) -> dict[str, Any]:
    """A published score as columns of a result row."""
    if score is None:
        return {}
    return {"published": score.value, "published_model": score.model, "source": score.source}
