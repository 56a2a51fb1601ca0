"""DDIExtraction 2013: an XML file per document; sentences with drugs and all pairs of drugs."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.mentions import Parts, inside, mask_pair
from microtome.jobs.data.readers.parsing import xml_root
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

MASK, BOTH = "@DRUG$", "@DRUG-DRUG$"


def read_ddi(path: Path, spec: DataSpec) -> list[Example]:
    """The pairs of all files below a folder, by their ids. Labels are `DDI-` and the type, or `DDI-false`.

    A pair that is said to interact, but not how, is left out.
    """
    if not path.is_dir():
        raise InputError(f"{path}: expected a folder of XML files")
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise InputError(f"{path}: no *.xml in this folder")
    return [example for file in files for example in _document(file, spec)]


def _document(file: Path, spec: DataSpec) -> Iterator[Example]:
    root = xml_root(file)
    document = root.get("id") or file.stem
    for sentence in root.iter("sentence"):
        text = _get(sentence, "text", str(file))
        drugs: dict[str, Parts] = {}
        for entity in sentence.iter("entity"):
            name = _get(entity, "id", str(file))
            if name in drugs:
                raise InputError(f"{file}: the entity '{name}' is there twice")
            drugs[name] = _parts(entity, text, str(file))
        for pair in sentence.iter("pair"):
            name = _get(pair, "id", str(file))
            where = f"{file}: pair {name}"
            label = _label(pair, where) if spec.labelled else ""
            if label is None:
                continue
            mentions = _drug(drugs, pair, "e1", where), _drug(drugs, pair, "e2", where)
            words, spans = mask_pair(text, mentions, (MASK, MASK), BOTH)
            label = spec.label(label, where)
            yield Example(name, (words,), label, spans, document=document, where=where)


def _label(pair: ElementTree.Element, where: str) -> str | None:
    interacts = _get(pair, "ddi", where)
    if interacts not in ("true", "false"):
        raise InputError(f"{where}: expected ddi 'true' or 'false', found '{interacts}'")
    if interacts == "false":
        return "DDI-false"
    kind = pair.get("type")
    return f"DDI-{kind}" if kind else None


def _drug(drugs: dict[str, Parts], pair: ElementTree.Element, role: str, where: str) -> Parts:
    name = _get(pair, role, where)
    if name not in drugs:
        raise InputError(f"{where}: its sentence has no entity '{name}'")
    return drugs[name]


def _parts(entity: ElementTree.Element, text: str, file: str) -> Parts:
    """`start-end` with the end included; `;` joins the parts of a split mention."""
    offsets = _get(entity, "charOffset", file)
    try:
        bounds = [tuple(map(int, part.split("-"))) for part in offsets.split(";")]
        parts = [(start, last + 1) for start, last in bounds]
    except ValueError:
        parts = []
    if not parts or not inside(parts, text):
        where = f"{file}: entity {entity.get('id')}"
        raise InputError(f"{where}: '{offsets}' is no part of a text of {len(text)} characters")
    return parts


def _get(element: ElementTree.Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None:
        raise InputError(f"{where}: a {element.tag} without '{name}'")
    return value
