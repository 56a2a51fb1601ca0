"""ChemProt as bigbio converts it for the hub: an abstract per row, with its entities and relations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.chemprot import Abstract, add_entity, add_relation, pairs_of
from microtome.jobs.data.readers.parquet import named_rows
from microtome.jobs.data.readers.parsing import text_of
from microtome.jobs.data.readers.rows import row_id
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

# The groups that BioCreative VI evaluates: the tables of the corpus say so by row, the converted rows do not.
EVALUATED = ("CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9")
ENTITIES, RELATIONS = ("id", "type", "text", "offsets"), ("type", "arg1", "arg2")


def read_chemprot_parquet(path: Path, spec: DataSpec) -> list[Example]:
    """Columns pmid, text, entities and relations, the last two with a list per field, as in the configuration
    chemprot_full_source. Examples are those of the tables; where the title ends is not told here, so that it
    ends as every other sentence does.
    """
    rows = enumerate(named_rows(path))
    return pairs_of((_abstract(row, f"{path}: row {number}", spec.labelled) for number, row in rows), spec)


def _abstract(row: dict[str, Any], where: str, labelled: bool) -> Abstract:
    for column in ("pmid", "text", "entities", *(["relations"] if labelled else [])):
        if column not in row:
            raise InputError(f"{where}: no column '{column}'. Columns: {', '.join(row)}")
    text = text_of(row["text"], f"{where}: 'text'")
    abstract = Abstract(row_id(row["pmid"], f"{where}: 'pmid'"), text, len(text), where)
    for name, kind, mention, offsets in _records(row["entities"], ENTITIES, f"{where}: 'entities'"):
        if not (isinstance(offsets, list) and len(offsets) == 2):
            raise InputError(f"{where}: expected two offsets of '{name}', found {offsets!r:.40}")
        add_entity(abstract, [name, kind, str(offsets[0]), str(offsets[1]), mention], where)
    relations = _records(row["relations"], RELATIONS, f"{where}: 'relations'") if labelled else ()
    for group, *arguments in relations:
        if group in EVALUATED:
            add_relation(abstract, group, [f"Arg:{argument}" for argument in arguments], where)
    return abstract


def _records(value: Any, fields: tuple[str, ...], where: str) -> Iterator[tuple[Any, ...]]:
    """The records of an object that has a list per field, all of one length."""
    lists = [value.get(field) for field in fields] if isinstance(value, dict) else [None]
    lengths = {len(one) if isinstance(one, list) else None for one in lists}
    if None in lengths or len(lengths) > 1:
        raise InputError(f"{where}: expected lists of one length as {', '.join(fields)}")
    return zip(*lists, strict=True)
