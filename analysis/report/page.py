"""The page: its sections written as one HTML file, and on request every figure as a file beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import humanize
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from microtome.analysis.report import canvas
from microtome.analysis.report.frames import in_order
from microtome.analysis.report.section import Section
from microtome.analysis.report.sections.attention import attention_section
from microtome.analysis.report.sections.classes import classes_section, published_section
from microtome.analysis.report.sections.corpora import corpora_section
from microtome.analysis.report.sections.correlation import correlation_section
from microtome.analysis.report.sections.language import (
    adaptation_section,
    answers_section,
    generation_section,
)
from microtome.analysis.report.sections.probing import probing_section
from microtome.analysis.report.sections.results import Results, inventory, read
from microtome.analysis.report.sections.scores import scores_section
from microtome.analysis.report.sections.similarity import similarity_section
from microtome.analysis.report.sections.summary import summary_section
from microtome.analysis.report.stamp import stamped
from microtome.analysis.report.svg import StyleSheet
from microtome.analysis.report.tables import Table, as_table
from microtome.store.errors import InputError
from microtome.store.files.outputs import write_whole

MEASUREMENTS = "Every kind of measurement in the results, with the number of rows and the range of values."
OURS = b'<meta name="generator" content="microtome">'  # in the head of every page
HEAD_BYTES = 2048
FIGURES = "figures"  # the folder beside the page


def write_report(
    rows: pd.DataFrame,
    out: Path,
    *,
    suite: str,
    description: str,
    provenance: Mapping[str, str],
    derived: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    figures: canvas.Form | None = None,
    sources: str = "",
    corpora: pd.DataFrame | None = None,
    settings: pd.DataFrame | None = None,
) -> Path:
    """Write the report of a suite to `out/index.html` and return that path.

    `rows` are what was measured and `derived` what is derived from it (both: store.results); a kind or metric
    that the page has no figure for is listed, not refused. `provenance` is printed as it is given. `costs`
    has columns kind, jobs, seconds and bytes; `corpora` and `settings` are described in sections/corpora.py.
    With `figures`, every figure is also a file of that form in
    `out/figures`. The page is one file that loads nothing, and the same arguments give the same bytes;
    `sources`, a digest of what it is made of, stands in its last line (see stamp.py). Raises InputError when
    there are no rows, and for an index.html that is no report.
    """
    if rows.empty:
        raise InputError(f"no results yet for suite '{suite}'; run: microtome suite run {suite}")
    _refuse_to_replace_what_is_no_report(out / "index.html")
    results = read(rows, derived)
    sections = _sections(results)
    methods = corpora_section(results, corpora, settings)
    sections += [methods] if methods else []
    pictures = [one for section in sections for figure in section.figures for one in figure.pictures]
    style_sheet, drawings = _drawings(pictures)
    template = _environment().get_template("page.html.jinja")
    page = template.render(
        suite=suite,
        description=description,
        counts=_counts(results, len(rows)),
        sections=sections,
        steps=max((len(figure.steps) for section in sections for figure in section.figures), default=0),
        provenance=dict(provenance),
        costs=None if costs is None or costs.empty else _costs(costs),
        artifacts=_artifacts(rows),
        style_sheet=style_sheet,
        drawings=drawings,
        light=Markup(canvas.theme(canvas.LIGHT)),
        dark=Markup(canvas.theme(canvas.DARK)),
    )
    if figures is not None:
        for picture in pictures:
            canvas.save(picture, out / FIGURES, figures)
    return _put(stamped(page, sources) if sources else page, out / "index.html")


def _sections(results: Results) -> list[Section]:
    """The sections that have something to show, in the order of the page."""
    made = (
        make(results)
        for make in (
            summary_section,
            scores_section,
            classes_section,
            published_section,
            probing_section,
            attention_section,
            similarity_section,
            correlation_section,
            adaptation_section,
            generation_section,
            answers_section,
            measurements_section,
        )
    )
    return [section for section in made if section]


def measurements_section(results: Results) -> Section | None:
    """A list of everything that was measured, drawn or not."""
    frame = inventory(results.rows)
    if frame.empty:
        return None
    table = as_table(frame, "table-measurements", "Rows by kind, metric and split")
    return Section(ident="measurements", title="What was measured", lead=MEASUREMENTS, more=[table])


def _drawings(pictures: Sequence[canvas.Picture]) -> tuple[Markup, dict[str, Markup]]:
    """The style sheet of all drawings, and each of them by its name, with ids that no other has."""
    svgs: dict[str, str] = {}
    for picture in pictures:
        svgs |= {picture.ident: picture.svg, f"{picture.ident}-narrow": picture.narrow}
    sheet = StyleSheet(svgs.values())
    drawings = {name: sheet.applied(svg, f"d{at}-") for at, (name, svg) in enumerate(svgs.items())}
    return Markup(sheet.rules(canvas.themed)), drawings


def _costs(costs: pd.DataFrame) -> Table:
    """What the jobs took, and all together."""
    frame = costs[["kind", "jobs", "seconds", "bytes"]]
    total = frame[["jobs", "seconds", "bytes"]].sum()
    frame = pd.concat([frame, pd.DataFrame([{"kind": "all", **total}])], ignore_index=True)
    title = "Time and disk of the jobs that are done"
    texts: dict[str, Callable[[float], str]] = {"seconds": _duration, "bytes": humanize.naturalsize}
    return as_table(frame, "table-costs", title, texts=texts, heads={"seconds": "time", "bytes": "disk"})


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _counts(results: Results, total: int) -> list[tuple[str, str]]:
    """The numbers in the header of the page."""
    rows = results.rows
    counts = {
        "model": len(results.models),
        "task": len(in_order(rows["task"])),
        "fraction": rows["fraction"].nunique(),
        "seed": rows["seed"].nunique(),
        "row": total,
    }
    narrow = "\N{NARROW NO-BREAK SPACE}"
    return [
        (f"{count:,}".replace(",", narrow), name if count == 1 else f"{name}s")
        for name, count in counts.items()
        if count
    ]


def _artifacts(rows: pd.DataFrame) -> dict[str, list[str]]:
    """The ids of the artifacts that the rows come from, by kind."""
    if not {"kind", "artifact"} <= set(rows):
        return {}
    pairs = rows[["kind", "artifact"]].dropna().drop_duplicates()
    return {str(kind): sorted(map(str, part["artifact"])) for kind, part in pairs.groupby("kind", sort=False)}


def _environment() -> Environment:
    """Templates from this folder, everything escaped, an unknown name an error."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _refuse_to_replace_what_is_no_report(target: Path) -> None:
    if target.is_file() and OURS not in target.read_bytes()[:HEAD_BYTES]:
        raise InputError(f"{target} is no report of microtome and is left alone; choose another folder")


def _put(page: str, target: Path) -> Path:
    """Nobody ever opens half a page."""
    write_whole(target, page)
    return target
