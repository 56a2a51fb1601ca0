"""What a cache holds, in the terms of other libraries; each is imported only where it is asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from microtome.store.cache.examples import Examples
from microtome.store.errors import MissingError, model_packages

if TYPE_CHECKING:
    from torch import Tensor
    from xarray import Dataset

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]  # by name: dims and values


def as_tensor(values: np.ndarray) -> "Tensor":
    """An array as a tensor that shares its memory."""
    with model_packages("to_torch"):
        import torch
    return torch.from_numpy(values)


def as_dataset(
    values: Variables, coordinates: Variables, attributes: Mapping[str, str | float | None]
) -> "Dataset":
    """Arrays with named dims as a Dataset; an attribute that is None is left out: files hold none."""
    try:
        import xarray
    except ModuleNotFoundError:
        raise MissingError(
            "to_xarray needs xarray, which is not installed; run: pip install 'microtome[xarray]'"
        ) from None
    present = {name: value for name, value in attributes.items() if value is not None}
    return xarray.Dataset(values, coordinates, present)


def hidden_variables(states: Sequence[np.ndarray], layers: Sequence[int]) -> tuple[Variables, Variables]:
    """Hidden states of some layers, [tokens, dim] each, and the numbers of the layers."""
    if not layers:
        return {}, {}
    return {"hidden": (("layer", "token", "feature"), np.stack(states))}, {
        "layer": (("layer",), np.array(layers))
    }


def attention_variables(maps: Sequence[np.ndarray], layers: Sequence[int]) -> tuple[Variables, Variables]:
    """Attentions of one example in some layers, [heads, T, T] each, and the numbers of the layers."""
    if not layers:
        return {}, {}
    dims = ("attention_layer", "head", "query", "key")
    return {"attention": (dims, np.stack(maps))}, {
        "attention_layer": (("attention_layer",), np.array(layers))
    }


def token_coordinates(examples: Examples, example: int | None) -> Variables:
    """What is known of every token, or of those of one example."""
    columns = {
        "token_example": np.repeat(np.arange(len(examples.rows)), examples.lengths),
        "input_id": examples.input_ids,
        "word_id": examples.word_ids,
        "segment_id": examples.segment_ids,
        "special": examples.special_mask,
    }
    window = slice(None) if example is None else slice(*examples.offsets[example : example + 2])
    return {name: (("token",), values[window]) for name, values in columns.items()}


def label_variables(examples: Examples, unit: str, classes: Sequence[str]) -> tuple[Variables, Variables]:
    """The labels of all examples along the dims that the task has: word, example, or example and class."""
    labels = examples.labels
    if labels.ndim == 2:
        return {"label": (("example", "class"), labels)}, {"class": (("class",), np.array(classes))}
    if unit != "word":
        return {"label": (("example",), labels)}, {}
    numbers = np.repeat(np.arange(len(examples.rows)), np.diff(examples.word_offsets))
    return {"label": (("word",), labels)}, {"word_example": (("word",), numbers)}
