"""The synthetic corpus behind the interface of a file reader."""

from pathlib import Path

from microtome.jobs.data.examples import Example
from microtome.jobs.data.readers.spec import DataSpec
from microtome.jobs.demo.corpus import ner_sentences, nli_pairs
from microtome.store.errors import InputError


def read_synthetic(path: Path, spec: DataSpec) -> list[Example]:
    """Examples for a 'file' named `<ner|nli>-<how many>-<seed>`; nothing is read from disk."""
    kind, _, rest = path.name.partition("-")
    size, _, seed = rest.partition("-")
    if not (size.isdigit() and seed.isdigit()):
        raise InputError(f"synthetic data is named <ner|nli>-<how many>-<seed>, not '{path.name}'")
    if kind == "ner":
        tagged = ner_sentences(int(size), int(seed))
        return [Example(str(i), (words,), tags) for i, (words, tags) in enumerate(tagged)]
    if kind == "nli":
        pairs = nli_pairs(int(size), int(seed))
        return [Example(str(i), (tuple(a.split()), tuple(b.split())), y) for i, (a, b, y) in enumerate(pairs)]
    raise InputError(f"no synthetic data of kind '{kind}' (known: ner, nli)")
