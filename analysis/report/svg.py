"""A figure as compact SVG: within the page, and as a file of its own.

matplotlib repeats the style of every line and letter where it draws it, and gives six decimals of a point.
What is written here is the same picture in about a fifth of the characters: styles that are written once, as
classes; two decimals; and no clip path around what lies within it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from urllib.parse import quote
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

PREFIX = "\ue000"  # before every id, until the page says which of its drawings this is
INVISIBLE = "fill:none"  # a path without a line
MARKER = 4.0  # points from the middle of a marker to its edge
PER_INCH = 72, 96  # units of the drawing, and pixels of the page

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_LEFT_OUT = ("metadata", "style")
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # labels may hold anything
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_AROUND_LETTER = re.compile(r"\s*([A-Za-z]|$)\s*")
_REFERENCE = re.compile(r"#([^)]+)")
_STYLE = re.compile(r'style="([^"]*)"')
_COLOUR = re.compile(r"\b(fill|stroke):(#[0-9a-f]{6})")
_MATRIX_DECIMALS = 4  # the cells of a map add up
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", PREFIX: ""}

Box = tuple[float, float, float, float]  # left, upper, right and lower edge


def compact_svg(figure: Figure) -> str:
    """The figure as an <svg> element in which styles are style attributes and ids begin with PREFIX."""
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(_NO_XML.sub("", stream.getvalue()))
    _unclip(root)
    names = {name: f"{PREFIX}{number}" for number, name in enumerate(dict.fromkeys(_references(root)))}
    width, height = figure.get_size_inches()
    units, pixels = PER_INCH
    box = f'viewBox="0 0 {_short(width * units)} {_short(height * units)}"'
    inner = "".join(_written(child, names) for child in root)
    return f'<svg role="img" {box} width="{width * pixels:.0f}" height="{height * pixels:.0f}">{inner}</svg>'


class StyleSheet:
    """The styles in some drawings as classes: `s0` for the first one, in the order of the drawings."""

    def __init__(self, svgs: Iterable[str]) -> None:
        styles = dict.fromkeys(style for svg in svgs for style in _STYLE.findall(svg))
        self.names = {style: f"s{number}" for number, style in enumerate(styles)}

    def rules(self, colour: Callable[[str], str] = str) -> str:
        """The style sheet; `colour` says how a colour is written in it."""
        return "".join(
            f".{name}{{{_COLOUR.sub(lambda match: f'{match[1]}:{colour(match[2])}', style)}}}"
            for style, name in self.names.items()
        )

    def applied(self, svg: str, prefix: str = "") -> Markup:
        """A drawing with classes in place of its styles, and `prefix` before its ids."""
        named = _STYLE.sub(lambda match: f'class="{self.names[match[1]]}"', svg)
        return Markup(named.replace(PREFIX, prefix))


def svg_file(svg: str) -> str:
    """A drawing as an SVG file of its own, on white, in the colours of the light theme; quotes are single."""
    sheet = StyleSheet([svg])
    head, _, inner = sheet.applied(svg, "i").partition(">")
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    white = '<rect width="100%" height="100%" fill="#ffffff"/>'
    text = f'{head} {names} font-family="sans-serif"><style>{sheet.rules()}</style>{white}{inner}'
    return text.replace('"', "'")


def svg_address(svg: str) -> Markup:
    """The file as a data: address, to be put between double quotes."""
    address = quote(svg_file(svg), safe="<>'& ;:/=(),.-_!*?@$+~{}[]|^`")
    return Markup("data:image/svg+xml;charset=utf-8,") + Markup(address.replace("&", "&amp;"))


def _unclip(root: ElementTree.Element) -> None:
    """Take clip paths off what lies within them anyway, which is nearly everything."""
    boxes = {clip.get("id"): _box_of_rectangle(clip[0]) for clip in root.iter(f"{_SVG}clipPath")}
    for element in root.iter():
        clip = element.get("clip-path")
        if clip is None:
            continue
        outer, box = boxes[clip[len("url(#") : -1]], _box(element)
        if outer is not None and box is not None and _holds(outer, box):
            del element.attrib["clip-path"]


def _box_of_rectangle(element: ElementTree.Element) -> Box | None:
    if element.tag != f"{_SVG}rect":
        return None
    x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _box(element: ElementTree.Element) -> Box | None:
    """A box that holds what an element draws, or nothing where that is not clear."""
    tag = element.tag.removeprefix(_SVG)
    if tag == "path":
        numbers = [float(number) for number in _NUMBER.findall(element.get("d", ""))]
        return _around(numbers[::2], numbers[1::2])
    if tag == "use":
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        return x - MARKER, y - MARKER, x + MARKER, y + MARKER
    if tag == "image":
        return _box_of_image(element)
    boxes = [_box(child) for child in element] if tag == "g" else []
    if not boxes or None in boxes:
        return None
    left, upper, right, lower = zip(*(box for box in boxes if box is not None), strict=True)
    return min(left), min(upper), max(right), max(lower)


def _box_of_image(element: ElementTree.Element) -> Box | None:
    """matplotlib places an image by a matrix that only scales and moves."""
    matrix = [float(number) for number in _NUMBER.findall(element.get("transform", ""))]
    if len(matrix) != 6:
        return None
    scale_x, _, _, scale_y, x, y = matrix
    right, lower = (float(element.attrib[name]) for name in ("width", "height"))
    return _around([x, x + scale_x * right], [y, y + scale_y * lower])


def _around(x: list[float], y: list[float]) -> Box | None:
    return (min(x), min(y), max(x), max(y)) if x and y else None


def _holds(outer: Box, inner: Box) -> bool:
    """Whether a box lies in another, or beyond its edge by less than can be seen."""
    slack = 0.1
    left, upper, right, lower = inner
    return (
        left >= outer[0] - slack
        and upper >= outer[1] - slack
        and right <= outer[2] + slack
        and lower <= outer[3] + slack
    )


def _references(root: ElementTree.Element) -> Iterator[str]:
    """The ids that something refers to."""
    for element in root.iter():
        for name in (_HREF, "clip-path"):
            yield from _REFERENCE.findall(element.get(name, ""))


def _written(element: ElementTree.Element, names: Mapping[str, str]) -> str:
    """An element and what is in it; nothing if it draws nothing and nobody refers to it."""
    tag = element.tag.removeprefix(_SVG)
    if tag in _LEFT_OUT or (tag == "clipPath" and element.get("id") not in names):
        return ""
    attributes = dict(_attributes(element, names))
    if tag == "path" and attributes.get("style") == INVISIBLE and "id" not in attributes:
        return ""
    inner = "".join(_written(child, names) for child in element) or _escaped((element.text or "").strip("\n"))
    if tag in ("g", "defs", "clipPath") and not inner.strip():
        return ""
    if tag == "g" and not attributes:
        return inner
    head = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{head}>{inner}</{tag}>" if inner else f"<{tag}{head}/>"


def _attributes(element: ElementTree.Element, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name == "id":
            if value in names:
                yield name, names[value]
        elif name == _HREF:
            own = value.startswith("#")
            yield "xlink:href", f"#{names[value[1:]]}" if own else value.replace(" ", "")
        elif name == "clip-path":
            yield name, f"url(#{names[_REFERENCE.findall(value)[0]]})"
        elif name == "style":
            if style := _short_style(value):
                yield name, style
        elif name == "transform":
            if not value.startswith("rotate(-0 "):
                yield name, _rounded(value, _MATRIX_DECIMALS)
        else:
            yield (
                name,
                re.sub(r"\s*([A-Za-z])\s*", r"\1", _rounded(value)) if name == "d" else _rounded(value),
            )


def _short_style(style: str) -> str:
    """A style without blanks, without the font, and without what is the default anyway."""
    parts = (part.strip().replace(": ", ":") for part in style.split(";"))
    return ";".join(
        part
        for part in parts
        if part and not part.startswith("font-family") and part != "stroke-dashoffset:0"
    )


def _rounded(text: str, decimals: int = 2) -> str:
    return _LONG_NUMBER.sub(lambda match: _short(float(match[0]), decimals), text)


def _short(number: float, decimals: int = 2) -> str:
    text = f"{number:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _escaped(text: str) -> str:
    for character, written in _ESCAPED.items():
        text = text.replace(character, written)
    return text
