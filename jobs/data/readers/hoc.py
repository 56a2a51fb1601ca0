"""Hallmarks of Cancer as BLUE-like splits have it: a sentence per row, a bit per hallmark."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.parsing import tab_rows
from microtome.jobs.data.readers.spec import DataSpec
from microtome.store.errors import InputError

HALLMARKS = (  # by their number in the files
    "activating invasion and metastasis",
    "avoiding immune destruction",
    "cellular energetics",
    "enabling replicative immortality",
    "evading growth suppressors",
    "genomic instability and mutation",
    "inducing angiogenesis",
    "resisting cell death",
    "sustaining proliferative signaling",
    "tumor promoting inflammation",
)


def read_hoc(path: Path, spec: DataSpec) -> list[Example]:
    """Columns labels (`0_x,1_x,...,9_x`, x is 0 or 1), sentence, index (`<pmid>_s<sentence>`). The document
    of a sentence is its abstract, the pmid."""
    examples = []
    for where, row in tab_rows(path, needs=("sentence", "index", *(("labels",) if spec.labelled else ()))):
        label = _hallmarks(row["labels"], spec, where) if spec.labelled else ()
        words, document = tuple(row["sentence"].split()), row["index"].rpartition("_s")[0]
        examples.append(Example(row["index"], (words,), label, document=document, where=where))
    return examples


def _hallmarks(bits: str, spec: DataSpec, where: str) -> tuple[str, ...]:
    values = bits.split(",")
    wanted = [(f"{number}_0", f"{number}_1") for number in range(len(HALLMARKS))]
    right = len(values) == len(wanted) and all(v in two for v, two in zip(values, wanted, strict=True))
    if not right:
        raise InputError(f"{where}: expected labels '0_x,1_x,...,9_x' with x 0 or 1, found '{bits}'")
    present = [name for name, value in zip(HALLMARKS, values, strict=True) if value.endswith("_1")]
    return tuple(spec.label(name, where) for name in present)
