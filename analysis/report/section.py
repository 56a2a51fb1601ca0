"""What a section of the page is made of."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from markupsafe import Markup

from microtome.analysis.report.canvas import Picture
from microtome.analysis.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure that the page numbers: its pictures, how to read it, and the table behind it."""

    title: str
    caption: str
    pictures: list[Picture]
    table: Table
    folded: bool = False

    @property
    def steps(self) -> list[str]:
        """What the reader may choose one of, in order; empty where there is no choice."""
        return list(dict.fromkeys(picture.step for picture in self.pictures if picture.step))

    def tasks(self) -> Iterator[tuple[str, list[Picture]]]:
        """The pictures under each heading."""
        for heading in dict.fromkeys(picture.heading for picture in self.pictures):
            yield heading, [picture for picture in self.pictures if picture.heading == heading]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. `note` stands below the findings; `tables` are printed open, `more` folded."""

    ident: str
    title: str
    lead: str = ""
    findings: dict[str, list[Markup]] = field(default_factory=dict)
    note: str = ""
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    more: list[Table] = field(default_factory=list)
