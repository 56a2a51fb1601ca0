"""What a cache says of itself, and what it hands on to other libraries."""

import sys

import numpy as np
import pytest

from microtome.store.cache.reader import ActivationCache, open_cache
from microtome.store.errors import MissingError, PackageError


def test_a_cache_says_what_it_is_of(small_cache):
    cache = open_cache(small_cache.artifact.path)
    assert (cache.task, cache.split, cache.unit, cache.classes) == (
        *("genes", "test", "word"),
        ("O", "B-gene", "I-gene"),
    )
    assert (cache.model, cache.fraction, cache.seed) == ("tiny", 30, 7)
    assert cache.id == small_cache.artifact.id
    assert repr(cache) == (
        f"<ActivationCache {small_cache.artifact.path.name}: 3 examples, 12 tokens, "
        "hidden 0-2 and attention 0-1, 2 heads, dim 6, float32>"
    )


def test_every_public_property_says_what_it_is():
    properties = {n: v for n, v in vars(ActivationCache).items() if isinstance(v, property)}
    assert {"examples", "labels", "offsets", "unit", "seed"} <= set(properties)
    for name, value in properties.items():
        assert value.__doc__, name
        assert "return" in value.fget.__annotations__, name


def test_a_cache_is_closed_after_with_and_opens_again(small_cache):
    with open_cache(small_cache.artifact.path) as cache:
        cache.hidden(0)
        assert cache._open.cache_info().currsize == 1
    assert cache._open.cache_info().currsize == 0
    np.testing.assert_array_equal(cache.hidden(1), small_cache.hidden[1])


def test_a_layer_as_a_tensor(small_cache):
    torch = pytest.importorskip("torch")
    cache = open_cache(small_cache.artifact.path)
    tensor = cache.to_torch(2)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (12, 6))
    np.testing.assert_array_equal(tensor.numpy(), small_cache.hidden[2])
    np.testing.assert_array_equal(cache.to_torch(1, 1).numpy(), small_cache.hidden[1, 4:7])


def test_all_examples_as_a_dataset(small_cache):
    pytest.importorskip("xarray")
    dataset = open_cache(small_cache.artifact.path).to_xarray()
    assert dict(dataset.sizes) == {"layer": 3, "token": 12, "feature": 6, "word": 9}
    assert dataset.attrs["task"] == "genes"
    assert dataset.attrs["seed"] == 7
    np.testing.assert_array_equal(dataset["hidden"].sel(layer=1), small_cache.hidden[1])
    second = dataset["hidden"].isel(token=dataset["token_example"] == 1)
    np.testing.assert_array_equal(second, small_cache.hidden[:, 4:7])
    assert dataset["label"][dataset["word_example"] == 2].values.tolist() == [2, 0, 1, 2]
    assert dataset["special"].values.nonzero()[0].tolist() == [0, 4, 7]


def test_some_layers_and_one_example_as_a_dataset(small_cache):
    pytest.importorskip("xarray")
    dataset = open_cache(small_cache.artifact.path).to_xarray(layers=[2], example=1)
    assert dict(dataset.sizes) == {
        **{"layer": 1, "token": 3, "feature": 6},
        **{"attention_layer": 2, "head": 2, "query": 3, "key": 3},
    }
    np.testing.assert_array_equal(dataset["hidden"].sel(layer=2), small_cache.hidden[2, 4:7])
    np.testing.assert_array_equal(dataset["attention"], small_cache.attention[1])
    np.testing.assert_allclose(dataset["attention"].sum("key"), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("package", "call", "error", "message"),
    [
        ("xarray", "to_xarray", MissingError, r"to_xarray needs xarray.*pip install 'microtome\[xarray\]'"),
        ("torch", "to_torch", PackageError, r"to_torch needs torch.*pip install 'microtome\[models\]'"),
    ],
)
def test_what_is_not_installed_is_named_in_one_line(small_cache, monkeypatch, package, call, error, message):
    monkeypatch.setitem(sys.modules, package, None)
    cache = open_cache(small_cache.artifact.path)
    arguments = [0] if call == "to_torch" else []
    with pytest.raises(error, match=message):
        getattr(cache, call)(*arguments)
