"""Figures as compact SVG: the same picture in fewer characters, in the page and as a file."""

import re
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from microtome.analysis.report.canvas import MODEL_COLOURS, style, themed
from microtome.analysis.report.svg import PREFIX, StyleSheet, compact_svg, svg_address, svg_file

NAME = """<i>a "b" & 'c' #1 100 % \N{GREEK SMALL LETTER RHO}\x0b url(#2) {x}"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figure() -> Figure:
    with style("one"):
        figure = Figure(figsize=(4, 3))
        line, image = figure.subplots(1, 2)
        line.plot([0, 1, 2], [0.125, 1, 0.5], color=MODEL_COLOURS[0], marker="o")
        line.fill_between([0, 1, 2], [0, 0, 0], [1, 1, 1], alpha=0.15)
        line.set_title(NAME)
        line.set_xlim(0.5, 2)  # a part of the line is beyond the panel
        image.imshow(np.eye(3), interpolation="none")
        return figure


@pytest.fixture(scope="module")
def as_drawn(figure: Figure) -> str:
    stream = StringIO()
    with style("one"):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


@pytest.fixture(scope="module")
def compact(figure: Figure) -> str:
    with style("one"):
        return compact_svg(figure)


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_nothing_that_can_be_seen_is_lost(as_drawn: str, compact: str) -> None:
    before = ElementTree.fromstring(as_drawn.replace("\x0b", ""))
    after = ElementTree.fromstring(svg_file(compact))
    assert texts(after) == texts(before)
    assert NAME.replace("\x0b", "") in texts(after)
    for tag in ("image", "use"):
        assert len(list(after.iter(f"{SVG}{tag}"))) == len(list(before.iter(f"{SVG}{tag}"))) > 0
    invisible = [path for path in before.iter(f"{SVG}path") if path.get("style") == "fill: none"]
    assert len(list(after.iter(f"{SVG}path"))) == len(list(before.iter(f"{SVG}path"))) - len(invisible)


def test_it_takes_a_fraction_of_the_characters(as_drawn: str, compact: str) -> None:
    assert len(StyleSheet([compact]).applied(compact)) < 0.4 * len(as_drawn)


def test_only_what_is_beyond_its_panel_is_clipped(compact: str) -> None:
    root = ElementTree.fromstring(svg_file(compact))
    clipped = [element for element in root.iter() if element.get("clip-path")]
    assert {element.tag for element in clipped} == {f"{SVG}path", f"{SVG}g"}  # line and band; markers
    assert len(clipped) == 3
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    assert {re.findall(r"#(\w+)", element.attrib["clip-path"])[0] for element in clipped} <= ids


def test_coordinates_have_two_decimals_and_numbers_in_a_text_stay(compact: str) -> None:
    assert not re.search(r"\d\.\d{3}", re.sub(r">[^<]*<|transform=\"[^\"]*\"|base64,[^\"]*", "><", compact))
    with style("two"):
        figure = Figure()
        figure.text(0.5, 0.5, "0.12345678")
        assert ">0.12345678</text>" in compact_svg(figure)


def test_a_line_without_points_is_no_error() -> None:
    with style("two"):
        figure = Figure()
        figure.subplots().plot([0, 1], [np.nan, np.nan])
        assert compact_svg(figure).startswith("<svg")


def test_drawings_share_the_styles_of_a_sheet(compact: str) -> None:
    sheet = StyleSheet([compact, compact.replace("font-size:8px", "font-size:9px")])
    first, second = sheet.applied(compact, "a"), sheet.applied(compact, "b")
    assert "style=" not in first
    assert PREFIX not in first
    assert {*re.findall(r' id="([^"]+)"', first)}.isdisjoint(re.findall(r' id="([^"]+)"', second))
    rules = sheet.rules(themed)
    used = set(re.findall(r'class="(\w+)"', first))
    assert used <= set(re.findall(r"\.(\w+)\{", rules))
    assert f"stroke:var(--figure-{MODEL_COLOURS[0][1:]},{MODEL_COLOURS[0]})" in rules


def test_the_address_of_the_file_is_the_file_in_any_browser(compact: str) -> None:
    class Links(HTMLParser):
        href = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.href = dict(attrs)["href"] or ""

    links = Links()
    links.feed(f'<a href="{svg_address(compact)}">')
    head, _, text = links.href.partition(",")
    assert head == "data:image/svg+xml;charset=utf-8"
    assert not set(text) & set('#"\n')
    assert unquote(text) == svg_file(compact)
