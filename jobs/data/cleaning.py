"""Cleaning rules for text that a language model is adapted to. A rule takes a document and gives a document.

They are applied in the order in which a corpus names them. Most leave double spaces where they take
something out, so `whitespace` or `one_line` comes last.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

from microtome.store.errors import unknown

Rule = Callable[[str], str]

SPACES = [0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]
LINE_ENDS = [0x0085, 0x2028, 0x2029]
INVISIBLE = [0x00AD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF]
CONTROLS = [code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n\r"]
CHARACTERS: dict[int, str | None] = {
    **dict.fromkeys(SPACES, " "),
    **dict.fromkeys(LINE_ENDS, "\n"),
    **dict.fromkeys([*INVISIBLE, *CONTROLS]),
}

# Named, because PubMed and WikiText have much in angle brackets that is no tag.
BLOCK_TAGS = "p br hr div li ul ol dl dt dd table tr td th thead tbody h1 h2 h3 h4 h5 h6 pre blockquote"
INLINE_TAGS = "a b i u em strong sub sup span font tt code small big img abbr"

BLOCK = re.compile(rf"</?(?:{'|'.join(BLOCK_TAGS.split())})(?:\s[^<>]*)?/?>", re.IGNORECASE)
INLINE = re.compile(rf"</?(?:{'|'.join(INLINE_TAGS.split())})(?:\s[^<>]*)?/?>", re.IGNORECASE)
COMMENT = re.compile(r"<!--.{0,2000}?-->", re.DOTALL)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
URL = re.compile(r"\b(?:https?://|ftp://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", re.IGNORECASE)
EMAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+\b")
# A bracket that a word goes on behind is a locant in a chemical's name, as in [1,4]oxazepine.
CITATION = re.compile(r"(?<![ \t])[ \t]*\[[1-9]\d{0,2}(?:\s*[,;–-]\s*[1-9]\d{0,2})*\](?![\w-])")
DEIDENTIFIED = re.compile(r"\[\*\*.{0,200}?\*\*\]|_{2,}", re.DOTALL)
BULLET = re.compile(
    r"^[ \t]*(?:[-*•‣▪–]|\(?\d{1,3}[.)]|\(?[a-z]\)|[1-9]\d?(?:\.\d{1,2})+\.?(?=[ \t]+[A-Z][a-z]{2}))[ \t]+",
    re.MULTILINE,
)
TRUNCATED = re.compile(r"\(ABSTRACT TRUNCATED[^()\n]{0,40}\)")
COPYRIGHT = re.compile(r"(?:\bcopyright\s*(?:©|\(c\))?|©)\s*(?:19|20)\d\d[^\n]{0,200}\s*\Z", re.IGNORECASE)
LOST_LINE_END = re.compile(r"(:) *, *|([.?!]) *,(?: {2,})?(?=[A-Z]|\d{1,2}\.)")


def unicode(text: str) -> str:
    """Composed characters (NFC), plain spaces, no invisible or control characters."""
    return unicodedata.normalize("NFC", text.translate(CHARACTERS))


def whitespace(text: str) -> str:
    """One space between words and at most one blank line between lines; lines are kept."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def one_line(text: str) -> str:
    """One space between words, no line ends; for text that was indented or broken by a form."""
    return " ".join(text.split())


def html_marks(text: str) -> str:
    """HTML tags out, a line end for those that end a line; entities become their characters."""
    text = INLINE.sub("", BLOCK.sub("\n", COMMENT.sub("", text)))
    return ENTITY.sub(lambda found: html.unescape(found[0]), text)


def urls(text: str) -> str:
    """Web addresses out."""
    return URL.sub("", text)


def emails(text: str) -> str:
    """Mail addresses out."""
    return EMAIL.sub("", text)


def citations(text: str) -> str:
    """Numbered citations such as [12] and [3, 5-7] out; a range of numbers in square brackets goes too."""
    return CITATION.sub("", text)


def deidentified(text: str) -> str:
    """What stands for a removed name in clinical notes, [**...**] and ___, out."""
    return DEIDENTIFIED.sub("", text)


def bullets(text: str) -> str:
    """Bullets, list numbers and section numbers at the start of a line out."""
    return BULLET.sub("", text)


def medline_notes(text: str) -> str:
    """MEDLINE's note of a truncated abstract and the publisher's copyright at the end out."""
    return COPYRIGHT.sub("", TRUNCATED.sub("", text)).rstrip()


def lost_line_ends(text: str) -> str:
    """A line end again where a comma stands for one, after a colon or a sentence's end (MTSamples)."""
    return LOST_LINE_END.sub(lambda found: (found[1] or found[2]) + "\n", text)


CLEANING: dict[str, Rule] = {
    "unicode": unicode,
    "html": html_marks,
    "urls": urls,
    "emails": emails,
    "citations": citations,
    "deidentified": deidentified,
    "bullets": bullets,
    "medline_notes": medline_notes,
    "lost_line_ends": lost_line_ends,
    "whitespace": whitespace,
    "one_line": one_line,
}


def cleaner(names: Sequence[str]) -> Rule:
    """The named rules one after the other, as one; InputError for a name that is no rule."""
    for name in names:
        if name not in CLEANING:
            raise unknown("cleaning rule", name, CLEANING)
    rules = [CLEANING[name] for name in names]

    def clean(document: str) -> str:
        for rule in rules:
            document = rule(document)
        return document

    return clean
