import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from microtome.analysis.probing.mdl import (
    SHARES,
    compression,
    label_frequencies,
    online_codelength,
    uniform_codelength,
)
from microtome.store.errors import InputError


def uniform(classes):
    return lambda x, y: lambda x, y: np.full(len(y), -math.log(classes))


def logistic(classes):
    """Logistic regression mixed with the uniform distribution, for classes that it has not seen."""

    def fit(x, y):
        share = 1 / (len(y) + classes)
        model = LogisticRegression(C=0.01).fit(x, y) if len(set(y.tolist())) > 1 else None

        def log_likelihood(x, y):
            p = np.zeros((len(y), classes))
            if model is None:
                p[:] = 1 / classes
            else:
                p[:, model.classes_] = model.predict_proba(x)
            return np.log((1 - share) * p[np.arange(len(y)), y] + share / classes)

        return log_likelihood

    return fit


def recorder(blocks):
    """A uniform model of two classes that notes which rows it was fitted on and asked about."""

    def fit(rows, y):
        def log_likelihood(asked, y):
            blocks.append((rows.tolist(), asked.tolist()))
            return np.full(len(y), -math.log(2))

        return log_likelihood

    return fit


@pytest.mark.parametrize(("units", "classes"), [(2000, 6), (37, 3), (1, 2)])
def test_a_uniform_predictor_compresses_by_exactly_one(units, classes):
    y = np.arange(units) % classes
    length = online_codelength(np.zeros((units, 1)), y, classes=classes, fit=uniform(classes))
    assert compression(length, uniform_codelength(units, classes)) == pytest.approx(1, abs=1e-12)


def test_sets_of_classes_cost_a_bit_per_class():
    y = np.zeros((100, 5), np.int64)
    length = online_codelength(
        np.zeros((100, 1)), y, classes=5, fit=lambda x, y: lambda x, y: np.full(len(y), -5 * math.log(2))
    )
    assert length == pytest.approx(500)
    assert compression(length, uniform_codelength(100 * 5, 2)) == pytest.approx(1)


def test_four_labels_by_hand():
    # first unit: log2(4) = 2 bits; second at p = 1/2: 1 bit; the last two at p = 1/8: 3 bits each
    def fit(x, y):
        p = {1: 0.5, 2: 0.125}[len(y)]
        return lambda x, y: np.full(len(y), math.log(p))

    length = online_codelength(np.zeros((4, 1)), np.arange(4), classes=4, fit=fit, shares=(0.25, 0.5, 1))
    assert length == pytest.approx(2 + 1 + 3 + 3)
    assert compression(length, uniform_codelength(4, 4)) == pytest.approx(8 / 9)


def test_blocks_end_where_published_and_every_unit_is_sent_once():
    blocks = []
    rows = np.arange(10_000)
    online_codelength(rows, rows % 2, classes=2, fit=recorder(blocks))
    ends = [len(known) for known, _ in blocks] + [10_000]
    assert ends == [10, 20, 40, 80, 160, 320, 625, 1250, 2500, 5000, 10_000]
    assert len(ends) == len(SHARES)
    for known, asked in blocks:
        assert known + asked == list(range(len(known) + len(asked)))


def test_blocks_that_would_be_empty_are_joined():
    blocks = []
    rows = np.arange(20)
    online_codelength(rows, rows % 2, classes=2, fit=recorder(blocks))
    assert [len(known) for known, _ in blocks] == [1, 2, 5, 10]


def test_a_block_never_splits_an_example():
    blocks = []
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.integers(1, 30, 60))
    rows = np.arange(len(groups))
    online_codelength(rows, rows % 2, classes=2, fit=recorder(blocks), groups=groups)
    assert len(blocks) > 4
    for known, asked in blocks:
        assert groups[known[-1]] != groups[asked[0]]
        assert known + asked == list(range(len(known) + len(asked)))


def test_with_a_generator_whole_examples_are_drawn():
    groups = np.repeat(np.arange(60), 3)
    rows = np.arange(len(groups))
    found = []
    for seed in (1, 1, 2):
        blocks = []
        rng = np.random.default_rng(seed)
        online_codelength(rows, rows % 2, classes=2, fit=recorder(blocks), groups=groups, rng=rng)
        found.append(blocks)
        for known, asked in blocks:
            assert known == sorted(known)
            assert not set(groups[known]) & set(groups[asked])
        assert sorted(known + asked) == rows.tolist()
    assert found[0] == found[1] != found[2]
    assert found[0][-1][1] != list(range(90, 180))


def prior_codelength(y, classes):
    rows = np.arange(len(y))
    return online_codelength(rows, y, classes=classes, fit=label_frequencies(classes))


def test_the_prior_code_by_hand():
    # first unit: log2(2) bits; then (1 + 1/2) of 2, of what the first unit was; then of 1 and 2 units
    length = online_codelength(
        np.arange(4), np.array([0, 0, 1, 0]), classes=2, fit=label_frequencies(2), shares=(0.25, 0.5, 1)
    )
    assert length == pytest.approx(1 - math.log2(1.5 / 2) - math.log2(0.5 / 3) - math.log2(2.5 / 3))
    sets = np.array([[1, 0], [1, 0], [1, 1]])
    length = online_codelength(np.arange(3), sets, classes=2, fit=label_frequencies(2), shares=(0.66, 1))
    assert length == pytest.approx(4 - math.log2(2.5 / 3) - math.log2(0.5 / 3))


def test_of_many_labels_the_prior_code_is_their_entropy():
    shares = np.array([0.8, 0.1, 0.06, 0.04])
    y = np.random.default_rng(0).choice(4, size=20_000, p=shares)
    assert prior_codelength(y, 4) / 20_000 == pytest.approx(-(shares * np.log2(shares)).sum(), rel=0.03)


@pytest.mark.parametrize("shares", [(0.25, 0.25, 0.25, 0.25), (0.85, 0.05, 0.05, 0.05)])
def test_signal_compresses_and_shuffled_labels_do_not(shares):
    rng = np.random.default_rng(0)
    y = rng.choice(4, size=2000, p=shares)
    x = rng.normal(size=(2000, 8)) + 4 * np.eye(4, 8)[y]
    clean = online_codelength(x, y, classes=4, fit=logistic(4))
    shuffled = rng.permutation(y)
    noise = online_codelength(x, shuffled, classes=4, fit=logistic(4))
    assert compression(clean, prior_codelength(y, 4)) > 3
    assert 0.8 < compression(noise, prior_codelength(shuffled, 4)) <= 1.05
    if shares[0] > 0.8:  # unbalanced labels are short in the uniform code, whatever is known of them
        assert compression(noise, uniform_codelength(2000, 4)) > 1.5


def test_an_impossible_label_makes_the_codelength_infinite():
    length = online_codelength(
        np.zeros((4, 1)), np.arange(4), classes=4, fit=lambda x, y: lambda x, y: np.full(len(y), -np.inf)
    )
    assert length == math.inf
    assert compression(length, 8.0) == 0


def test_what_has_no_codelength_is_refused():
    x = np.zeros((4, 1))
    with pytest.raises(InputError, match="real numbers"):
        online_codelength(x, np.zeros(4, np.float32), classes=2, fit=uniform(2))
    with pytest.raises(InputError, match="there are none"):
        online_codelength(x[:0], np.zeros(0, int), classes=2, fit=uniform(2))
    with pytest.raises(InputError, match="stand together"):
        online_codelength(x, np.zeros(4, int), classes=2, fit=uniform(2), groups=np.array([0, 1, 0, 1]))
    with pytest.raises(InputError, match="3 units in groups"):
        online_codelength(x, np.zeros(4, int), classes=2, fit=uniform(2), groups=np.arange(3))
    with pytest.raises(InputError, match="must end at share 1"):
        online_codelength(x, np.zeros(4, int), classes=2, fit=uniform(2), shares=(0.1, 0.5))
