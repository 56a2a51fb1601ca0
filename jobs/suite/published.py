"""Published scores beside our own."""

from collections.abc import Mapping
from typing import Any

from microtome.jobs.tasks import Published


def published_score(row: Mapping[str, Any], published: tuple[Published, ...]) -> dict[str, Any]:
    """The published score of a test row: that of the same model if there is one, else the first."""
    same = [p for p in published if p.metric == row["metric"] and row.get("split") == "test"]
    same.sort(key=lambda p: p.model != row.get("model"))
    if not same:
        return {}
    return {"published": same[0].value, "source": f"{same[0].source} ({same[0].model})"}
