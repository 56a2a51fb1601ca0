"""One reader per file format. A reader takes a file and a DataSpec and gives examples in file order.

A file that is not what the format says is an InputError with file, line and what was found.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.bioc import read_bioc
from microtome.jobs.data.readers.biosses import read_biosses
from microtome.jobs.data.readers.blue_relation import read_blue_relation
from microtome.jobs.data.readers.brat import read_brat
from microtome.jobs.data.readers.chemprot import read_chemprot
from microtome.jobs.data.readers.chemprot_parquet import read_chemprot_parquet
from microtome.jobs.data.readers.conll import read_conll
from microtome.jobs.data.readers.ddi import read_ddi
from microtome.jobs.data.readers.formats import SETTINGS
from microtome.jobs.data.readers.hoc import read_hoc
from microtome.jobs.data.readers.i2b2 import read_i2b2
from microtome.jobs.data.readers.jsonl import read_json_list, read_jsonl
from microtome.jobs.data.readers.medsts import read_medsts
from microtome.jobs.data.readers.nli4ct import read_nli4ct
from microtome.jobs.data.readers.opening import EncodingError, encoded_as
from microtome.jobs.data.readers.parquet import read_parquet
from microtome.jobs.data.readers.pubmedqa import read_pubmedqa
from microtome.jobs.data.readers.share_clefe import read_share_clefe
from microtome.jobs.data.readers.soundness import refuse_unsound
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.data.readers.stop_reasons import read_boolean_classes, read_covid_stop_reasons
from microtome.jobs.data.readers.synthetic import read_synthetic
from microtome.jobs.data.readers.trials import read_trials
from microtome.jobs.data.readers.tsv import read_csv, read_tsv
from microtome.jobs.data.readers.xml_rows import read_xml
from microtome.store.errors import InputError, unknown

Reader = Callable[[Path, DataSpec], list[Example]]

READERS: dict[str, Reader] = {
    "bioc": read_bioc,
    "biosses": read_biosses,
    "blue-relation": read_blue_relation,
    "boolean-classes": read_boolean_classes,
    "brat": read_brat,
    "chemprot": read_chemprot,
    "chemprot-parquet": read_chemprot_parquet,
    "conll": read_conll,
    "covid-stop-reasons": read_covid_stop_reasons,
    "csv": read_csv,
    "ddi": read_ddi,
    "hoc": read_hoc,
    "i2b2-2010": read_i2b2,
    "json": read_json_list,
    "jsonl": read_jsonl,
    "medsts": read_medsts,
    "nli4ct": read_nli4ct,
    "parquet": read_parquet,
    "pubmedqa": read_pubmedqa,
    "share-clefe": read_share_clefe,
    "synthetic": read_synthetic,
    "trials": read_trials,
    "tsv": read_tsv,
    "xml": read_xml,
}


def read_examples(path: Path, spec: DataSpec, *, labels: bool = True) -> list[Example]:
    """The examples of a file, each sound: with an id of its own, words, and a label.

    With `labels=False` nothing is asked of the labels, which may be absent: those of the examples are blank.
    """
    if spec.format not in READERS:
        raise unknown("data format", spec.format, READERS)
    try:
        with encoded_as(spec.encoding):
            examples = READERS[spec.format](path, spec if labels else spec.without_labels())
    except EncodingError as error:
        if "encoding" not in SETTINGS.get(spec.format, ("encoding",)):
            raise
        raise InputError(f"{error}; if it is in another encoding, name it: encoding: latin-1") from None
    refuse_unsound(examples, path, labelled=labels)
    if spec.document is None:
        return examples
    return [replace(e, document=_document(spec.document, e.id, path)) for e in examples]


def _document(pattern: str, id: str, path: Path) -> str:
    in_id = re.search(pattern, id)
    if in_id is None:
        raise InputError(f"{path}: id '{id}' names no document (expected {pattern})")
    return in_id[1]
