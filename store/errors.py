"""The errors a user can cause or must act on. Each message is one line: what, where, what next."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# What the extra `models` installs, by the names that are imported: reading a store does without.
MODEL_PACKAGES = {
    "accelerate",
    "datasets",
    "huggingface_hub",
    "peft",
    "ray",
    "sacremoses",
    "rouge_score",
    "safetensors",
    "tokenizers",
    "torch",
    "torchcrf",
    "transformers",
}


class MicrotomeError(Exception):
    """Base of every expected failure; the command line prints its text and exits with `exit_status`."""

    exit_status = 2


class InputError(MicrotomeError):
    """A setting, a file or an argument that cannot be used as it is."""


class MissingError(MicrotomeError):
    """A model, a dataset or an artifact that is not here; the message says how to get it."""


@dataclass(frozen=True)
class Absence:
    """Something that is not on this machine: `what` it is and its `name`, `why` it is not here, and `how` to
    get it."""

    what: str
    name: str
    why: str
    how: str

    def __str__(self) -> str:
        return f"{self.why.rstrip('. ')}. {self.how}"


class AbsentError(MissingError):
    """A model, a dataset or a corpus that is not on this machine, with what a table says of it."""

    def __init__(self, absence: Absence) -> None:
        super().__init__(absence)  # as the argument, so that another process gets it whole
        self.absence = absence


class StoreError(MicrotomeError):
    """The store cannot be read or written, or holds something damaged."""


class DamagedError(StoreError):
    """A folder of the store that is not, or no longer, an artifact of ours."""


class DtypeOverflowError(MicrotomeError):
    """An activation does not fit the storage dtype."""


class PackageError(MissingError):
    """A package of MODEL_PACKAGES that is not installed; the message says how to install it."""


@contextmanager
def model_packages(what: str) -> Iterator[None]:
    """Where `what` imports packages of MODEL_PACKAGES: PackageError in place of ModuleNotFoundError.

    Around a `with` or, as a decorator, around a function.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in MODEL_PACKAGES:
            raise
        raise PackageError(
            f"{what} needs {package}, which is not installed; run: pip install 'microtome[models]'"
        ) from None


def unknown(what: str, name: object, known: Iterable[str], see: str = "") -> InputError:
    """An InputError for a name that is in no registry, with the nearest known name.

    `see` is a command or a place that lists the known names; without it they are listed here.
    """
    names = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    tail = f" See: {see}" if see else f" Known: {', '.join(names)}"
    return InputError(f"unknown {what} '{name}'{hint}{tail}")
