import numpy as np
import pytest

from microtome.analysis.cache_checks import require_same_tokens, same_cache, select_layers
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError

LENGTHS = [3, 4]


@pytest.fixture
def cache(make_cache):
    def make(name, lengths=LENGTHS, ids=None):
        tokens = sum(lengths)
        ids = np.arange(tokens) if ids is None else ids
        hidden = np.zeros((3, tokens, 2), np.float32)
        words = [w for n in lengths for w in range(n)]
        return make_cache(
            name, hidden, lengths, words=words, labels=[0] * tokens, classes=["O"], input_ids=ids
        )

    return make


def test_a_cache_is_the_same_by_whatever_path_it_is_opened(cache, tmp_path):
    one, other = cache("one"), cache("other")
    (tmp_path / "link").symlink_to(one.path)
    assert same_cache(one, ActivationCache(tmp_path / "link"))
    assert not same_cache(one, other)


def test_layers_are_those_asked_for_or_all_that_are_kept(cache):
    one = cache("one")
    assert select_layers(None, (0, 2), one) == (0, 2)
    assert select_layers((2,), (0, 2), one) == (2,)
    with pytest.raises(InputError, match="layer 1 is not in .*one.*; give some of 0, 2"):
        select_layers((2, 1), (0, 2), one)


def test_tokens_are_the_same_in_number_length_and_order(cache):
    one = cache("one")
    require_same_tokens(one, cache("again"))
    for other in (cache("cut", [4, 3]), cache("fewer", [3]), cache("turned", ids=np.arange(7)[::-1])):
        with pytest.raises(InputError, match="one.* and .* do not hold the same tokens; extract both"):
            require_same_tokens(one, other)
