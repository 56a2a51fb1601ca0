"""BioC, as XML or as JSON: collections of documents in passages, with annotations and relations."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import read_json, text_of, xml_root
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.data.readers.standoff import Mention, Relation, StandoffDocument, standoff_examples
from microtome.store.errors import InputError

Node = dict[str, Any]  # a document, passage, sentence, annotation or relation as BioC JSON has it


def read_bioc(path: Path, spec: DataSpec) -> list[Example]:
    """Sentences with tags of a file, or of every *.xml and *.json below a folder; pairs of mentions with
    `annotations: relations`. Offsets count characters of the document."""
    files = sorted(f for f in path.rglob("*") if f.suffix in (".xml", ".json")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: no *.xml or *.json in this folder")
    documents = [document for file in files for document in _documents(file, spec)]
    return standoff_examples(documents, spec, path)


def _documents(file: Path, spec: DataSpec) -> Iterator[StandoffDocument]:
    nodes: Any = None
    if file.suffix == ".json":
        value = read_json(file)
        if isinstance(value, dict):  # PubTator calls its list by its own name
            nodes = value.get("documents", value.get("PubTator3", [value] if "passages" in value else None))
    else:
        nodes = [_as_json(element) for element in xml_root(file).iter("document")]
    if not isinstance(nodes, list):
        raise InputError(f"{file}: expected a BioC collection with documents")
    for node in nodes:
        yield _document(node, file, spec)


def _document(node: Node, file: Path, spec: DataSpec) -> StandoffDocument:
    if not isinstance(node, dict) or not str(node.get("id") or "").strip():
        raise InputError(f"{file}: a document without an id")
    where = f"{file}: document {node['id']}"
    blocks = [block for passage in _list(node, "passages", where) for block in _blocks(passage, where)]
    text, ends = "", set()
    for block in blocks:
        offset = _number(block.get("offset"), f"{where}: offset of a passage")
        if offset < len(text):
            raise InputError(f"{where}: a passage at {offset} overlaps the one before it")
        text = text.ljust(offset)
        ends.add(offset)
        text += text_of(block.get("text") or "", where)
    document = StandoffDocument(str(node["id"]), text, where, ends=ends)
    holders = [node, *_list(node, "passages", where)]
    holders += [s for passage in holders[1:] for s in _list(passage, "sentences", where)]
    if spec.labelled or spec.annotations == "relations":
        for holder in holders:
            for annotation in _list(holder, "annotations", where):
                _annotate(document, annotation, where)
        for holder in holders:
            for relation in _list(holder, "relations", where):
                _relate(document, relation, where)
    return document


def _blocks(passage: Node, where: str) -> list[Node]:
    """What has text: the sentences of a passage, or the passage itself."""
    return [passage] if passage.get("text") else _list(passage, "sentences", where)


def _annotate(document: StandoffDocument, node: Node, where: str) -> None:
    place = f"{where}: annotation {node.get('id')}"
    parts = []
    for location in _list(node, "locations", place):
        start, length = (_number(location.get(key), f"{place}: {key}") for key in ("offset", "length"))
        parts.append((start, start + length))
    mention = Mention(tuple(sorted(parts)), _kind(node, place), str(node.get("id")))
    document.add(mention, place, node.get("text"))


def _relate(document: StandoffDocument, node: Node, where: str) -> None:
    """A relation of two mentions of the document; those of concepts, or of more, are not of a sentence."""
    ids = [str(member.get("refid")) for member in _list(node, "nodes", where)]
    if len(ids) == 2 and all(id in document.mentions for id in ids):
        document.relations.append(Relation(_kind(node, where), frozenset(ids)))


def _kind(node: Node, where: str) -> str:
    infons = node.get("infons") or {}
    kind = infons.get("type") or infons.get("relation")
    if not isinstance(kind, str) or not kind.strip():
        raise InputError(f"{where}: its infons have no type")
    return kind


def _list(node: Node, key: str, where: str) -> list[Node]:
    found = node.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InputError(f"{where}: expected a list of objects as '{key}'")
    return found


def _number(value: Any, where: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and len(value.strip()) < 10:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where}: expected a number, found {value!r:.40}")
    return value


def _as_json(element: ElementTree.Element) -> Node:
    """An element of BioC XML as BioC JSON writes it."""
    node: Node = dict(element.attrib)
    infons = {str(infon.get("key")): infon.text or "" for infon in element.findall("infon")}
    node |= {"infons": infons, "locations": [], "nodes": []}
    for child in element:
        if child.tag in ("passage", "sentence", "annotation", "relation"):
            node.setdefault(f"{child.tag}s", []).append(_as_json(child))
        elif child.tag in ("location", "node"):
            node[f"{child.tag}s"].append(dict(child.attrib))
        elif child.tag in ("id", "offset", "text"):
            node[child.tag] = child.text or ""
    return node
