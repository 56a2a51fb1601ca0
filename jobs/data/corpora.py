"""Text corpora for adapting a language model: documents, in order."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from jobs.data.readers.spec import reading
from jobs.demo.corpus import biomedical_text, general_text
from store.config import Config
from store.errors import InputError, MissingError
from store.fingerprint import digest


class CorpusSpec(Config):
    """Where the documents come from."""

    format: Literal["text", "synthetic"] = Field(
        description="text: a folder of .txt files, one document each"
    )
    path: str | None = Field(None, description="folder, absolute or relative to the working directory")
    topic: Literal["general", "biomedical"] = Field("general", description="of synthetic documents")
    documents: int | None = Field(None, ge=1, description="at most so many; all if unset")
    seed: int = Field(0, ge=0, description="of synthetic documents")

    @model_validator(mode="after")
    def _complete(self) -> "CorpusSpec":
        if self.format == "text" and self.path is None:
            raise ValueError("format: text needs a path")
        return self


def read_corpus(spec: CorpusSpec) -> list[str]:
    """The documents; InputError if there are none, MissingError if the folder is not there."""
    if spec.format == "synthetic":
        make = general_text if spec.topic == "general" else biomedical_text
        return make(spec.documents or 500, spec.seed)
    folder = Path(str(spec.path)).expanduser()
    if not folder.is_dir():
        raise MissingError(f"no corpus folder {folder}")
    documents = []
    for path in sorted(folder.glob("*.txt"))[: spec.documents]:
        with reading(path):
            documents.append(path.read_text("utf-8"))
    if not documents:
        raise InputError(f"{folder}: no .txt files")
    return documents


def corpus_digest(documents: list[str]) -> str:
    """The identity of a corpus: its documents after reading."""
    return digest(documents)
