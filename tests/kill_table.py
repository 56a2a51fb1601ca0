"""What was done twice after kills: tests note it, and the end of a run shows all of it as a table."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

PROPERTY = "kills"  # of a test's report, which also travels between processes that share the tests


@pytest.fixture
def note_kills(record_property):
    """note_kills(where, kills, twice, what): after so many kills, at most `twice` of `what` were done again
    after one of them."""

    def note(where: str, kills: int, twice: int, what: str) -> None:
        record_property(PROPERTY, [where, kills, twice, what])

    return note


def show_kills(terminalreporter: Any) -> None:
    """The table, at the end of a run in which kills were noted."""
    reports = terminalreporter.getreports("passed")
    noted = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if noted:
        terminalreporter.section("what was done again after a kill")
        for line in table(noted):
            terminalreporter.write_line(line)


def table(noted: Iterable[list[Any]]) -> Iterator[str]:
    """One line per place that was killed in: how often, and how much was done twice at most."""
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for where, kills, twice, what in noted:
        before = rows.get((where, what), (0, 0))
        rows[where, what] = before[0] + kills, max(before[1], twice)
    yield f"{'killed in':<32} {'kills':>5}  done twice after one kill, at most"
    for (where, what), (kills, twice) in rows.items():
        yield f"{where:<32} {kills:>5}  {twice} {what}"
    yield f"{'in all':<32} {sum(kills for kills, _ in rows.values()):>5}"
