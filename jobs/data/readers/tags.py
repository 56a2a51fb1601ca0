"""Tags of words in the schemes that corpora come in, turned into IOB2.

iob2: B begins every entity. iob1: B begins one only right after another of its type, I every other.
iobes: S is an entity of one word, E the last word of a longer one. bilou: the same with U for S and L for E.
"""

from collections.abc import Sequence

from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

OUTSIDE = "O"
SCHEMES = {"iob2": "IOB2", "iob1": "IOB1", "iobes": "IOBES", "bilou": "BILOU"}
PREFIXES = {"iob2": "BI", "iob1": "BI", "iobes": "BIES", "bilou": "BILU"}
AS_IOBES = {"U": "S", "L": "E"}
Tag = tuple[str, str]  # prefix and type; ("O", "") outside


def iob2_tags(tags: Sequence[str], spec: DataSpec, where: Sequence[str]) -> tuple[str, ...]:
    """The tags of a sentence in IOB2, with the task's names of the types; `where` has the place of each tag.

    A type that `label_map` maps to O is left out. InputError for a tag that the scheme does not have, or that
    cannot follow the one before it.
    """
    converted: list[str] = []
    before: Tag = (OUTSIDE, "")
    for tag, place in zip(tags, where, strict=True):
        prefix, kind = _parsed(tag, spec, place)
        begins = _begins((prefix, kind), before, tag, spec, place)
        converted.append(OUTSIDE if OUTSIDE in (prefix, kind) else f"{'B' if begins else 'I'}-{kind}")
        before = prefix, kind
    if spec.scheme in ("iobes", "bilou") and before[0] in ("B", "I"):
        raise InputError(f"{where[-1]}: the entity '{before[1]}' does not end; not {SCHEMES[spec.scheme]}")
    return tuple(converted)


def _parsed(tag: str, spec: DataSpec, where: str) -> Tag:
    prefix, _, kind = tag.partition("-")
    if tag == OUTSIDE:
        return OUTSIDE, ""
    allowed = PREFIXES[spec.scheme]
    if len(tag) == 1 and spec.entity is not None:
        kind = spec.entity
    if len(prefix) != 1 or prefix not in allowed or not kind:
        wanted = f"O, {', '.join(f'{letter}-type' for letter in allowed[:-1])} or {allowed[-1]}-type"
        raise InputError(f"{where}: '{tag}' is no {SCHEMES[spec.scheme]} tag ({wanted})")
    prefix = AS_IOBES.get(prefix, prefix) if spec.scheme == "bilou" else prefix
    return prefix, spec.label_map.get(kind, kind)


def _begins(tag: Tag, before: Tag, published: str, spec: DataSpec, where: str) -> bool:
    """Whether a tag begins an entity."""
    prefix, kind = tag
    scheme = SCHEMES[spec.scheme]
    opened = before[0] in ("B", "I") and before[1] != ""
    continues = prefix in ("I", "E") and opened and before[1] == kind
    if spec.scheme == "iob1":
        return prefix == "B" or not continues
    if spec.scheme in ("iobes", "bilou") and opened and not continues:
        raise InputError(
            f"{where}: '{published}' leaves the entity '{before[1]}' without an end; not {scheme}"
        )
    if prefix in ("I", "E") and not continues:
        if spec.scheme == "iob2" and len(published) == 1:
            return True  # how BLUE tags a later part of a split mention: here a mention of its own
        tag_before = before[0] if before[0] == OUTSIDE else f"{before[0]}-{before[1]}"
        raise InputError(
            f"{where}: '{published}' continues no entity (the tag before is '{tag_before}'); not {scheme}"
        )
    return prefix in ("B", "S")
