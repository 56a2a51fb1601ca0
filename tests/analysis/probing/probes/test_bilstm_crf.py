import sys
from itertools import product

import numpy as np
import pytest

from microtome.analysis.probing.probes import ProbeSettings
from microtome.analysis.probing.probes.bilstm_crf import BilstmCrfProbe
from microtome.store.errors import InputError, MissingError

SETTINGS = ProbeSettings(width=12, epochs=20, batch_size=16, learning_rate=0.01, fewest_steps=1)
LENGTHS = np.resize([5, 2, 7, 3, 1], 100)
GROUPS = np.repeat(np.arange(100), LENGTHS)


def in_context(seed):
    """A word's tag is on if the word before or the word after it says so, never its own features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(GROUPS), 4)).astype(np.float32)
    y = np.zeros(len(GROUPS), np.int64)
    for sentence in np.unique(GROUPS):
        here = np.flatnonzero(sentence == GROUPS)
        y[here[1:]] |= x[here[:-1], 0] > 0.5
        y[here[:-1]] |= x[here[1:], 1] > 0.5
    return x, y


def fitted(x, y, **settings):
    probe = BilstmCrfProbe(ProbeSettings(**{**vars(SETTINGS), **settings}))
    probe.fit(x, y, GROUPS)
    return probe


def test_words_on_both_sides_are_read():
    (x, y), (asked, gold) = in_context(1), in_context(2)
    probe = fitted(x, y, learning_rate=0.03, width=16)
    right = probe.predict(asked, GROUPS) == gold
    assert right.mean() > 0.9
    assert max(gold.mean(), 1 - gold.mean()) < 0.7


def test_the_likelihood_and_the_best_tags_are_those_of_all_sequences_counted_out():
    x, y = in_context(1)
    probe = fitted(x, np.where(np.arange(len(y)) % 5 == 0, 2, y), epochs=1)
    for sentence in (0, 1, 4):
        words = sentence == GROUPS
        length = int(words.sum())
        likelihoods = {
            tags: probe.log_likelihood(x[words], np.array(tags), GROUPS[words], 3).sum()
            for tags in product(range(3), repeat=length)
        }
        assert sum(map(np.exp, likelihoods.values())) == pytest.approx(1, abs=1e-4)
        best = max(likelihoods, key=likelihoods.__getitem__)
        assert tuple(probe.predict(x[words], GROUPS[words])) == best


def test_a_seed_repeats_to_the_bit_and_torchs_own_state_is_left_alone():
    import torch

    x, y = in_context(1)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = fitted(x, y, epochs=1).log_likelihood(x, y, GROUPS, 2)
    torch.testing.assert_close(torch.rand(3), expected)
    np.testing.assert_array_equal(fitted(x, y, epochs=1).log_likelihood(x, y, GROUPS, 2), one)
    other = fitted(x, y, epochs=1, seed=1).log_likelihood(x, y, GROUPS, 2)
    assert not np.allclose(other, one)


def test_training_sentences_in_batches_of_any_size_and_groups_with_gaps():
    x, y = in_context(1)
    probe = fitted(x, y, batch_size=1000, epochs=5)
    np.testing.assert_array_equal(probe.predict(x, 3 * GROUPS + 5), probe.predict(x, GROUPS))


@pytest.mark.parametrize("y", [np.zeros(6, np.float32), np.zeros((6, 2), np.int64)], ids=["numbers", "sets"])
def test_only_tags_are_learnt(y):
    with pytest.raises(InputError, match="tags the words of sentences"):
        BilstmCrfProbe(SETTINGS).fit(np.zeros((6, 2), np.float32), y, np.repeat([0, 1], 3))


def test_texts_are_not_sentences_of_words():
    with pytest.raises(InputError, match="tags the words of sentences"):
        BilstmCrfProbe(SETTINGS).fit(np.zeros((6, 2), np.float32), np.arange(6) % 2, np.arange(6))


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcrf", None)
    x, y = in_context(1)
    with pytest.raises(MissingError, match="torchcrf.*pip install 'microtome\\[models\\]'"):
        fitted(x, y)
