"""What every probe does."""

import numpy as np
import pytest

from microtome.analysis.probing.probes import PROBES, ProbeSettings
from microtome.analysis.probing.probes.probe import gold_log_likelihood
from microtome.store.errors import InputError

SENTENCES, WORDS, FEATURES, CLASSES = 80, 4, 6, 3
SETTINGS = ProbeSettings(width=12, epochs=15, batch_size=16, learning_rate=0.02, fewest_steps=1)

probabilistic = [name for name, probe in PROBES.items() if probe.probabilistic]
of_texts = [name for name in PROBES if name != "bilstm-crf"]  # the others do not ask for sentences


def planted(seed, sentences=SENTENCES):
    """Words of three classes, which the first three features say: x, y, groups."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, sentences * WORDS)
    x = 0.2 * rng.normal(size=(len(y), FEATURES)).astype(np.float32)
    x[np.arange(len(y)), y] += 1
    return x, y, np.repeat(np.arange(sentences), WORDS)


def fitted(name, x, y, groups, **settings):
    probe = PROBES[name](ProbeSettings(**{**vars(SETTINGS), **settings}))
    probe.fit(x, y, groups)
    return probe


def sets(y):
    return (y[:, None] == np.arange(CLASSES)).astype(np.int64)


@pytest.mark.parametrize("name", list(PROBES))
def test_a_planted_signal_is_found_and_noise_is_not(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    predicted = fitted(name, x, y, groups).predict(asked, asked_groups)
    assert predicted.dtype == np.int64
    assert (predicted == gold).mean() > 0.95
    noise = np.random.default_rng(3).permutation(gold)
    assert (predicted == noise).mean() < 0.5


@pytest.mark.parametrize("name", list(PROBES))
def test_class_numbers_may_have_gaps(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    numbers = np.array([2, 5, 9])
    predicted = fitted(name, x, numbers[y], groups).predict(asked, asked_groups)
    assert (predicted == numbers[gold]).mean() > 0.95


@pytest.mark.parametrize("name", of_texts)
def test_sets_of_classes_and_numbers(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    predicted = fitted(name, x, sets(y), groups).predict(asked, asked_groups)
    assert predicted.shape == (len(gold), CLASSES)
    assert predicted.dtype == np.int64
    assert (predicted == sets(gold)).mean() > 0.95
    one = fitted(name, x, sets(y)[:, :1], groups).predict(asked, asked_groups)
    assert (one == sets(gold)[:, :1]).mean() > 0.95
    number = 10 * x[:, 0] + 100
    numbers = fitted(name, x, number, groups).predict(asked, asked_groups)
    assert np.corrcoef(numbers, asked[:, 0])[0, 1] > 0.9
    assert abs(numbers.mean() - (10 * asked[:, 0] + 100).mean()) < 1


@pytest.mark.parametrize("name", list(PROBES))
def test_a_fit_forgets_the_one_before(name):
    x, y, groups = planted(1, sentences=40)
    blurred = x + np.random.default_rng(5).normal(size=x.shape).astype(np.float32)
    noise = np.random.default_rng(4).normal(size=(200, FEATURES)).astype(np.float32)
    asked_groups, gold = np.repeat(np.arange(50), 4), np.arange(200) % CLASSES
    again, fresh = fitted(name, x, y, groups), fitted(name, blurred, y, groups)
    again.fit(blurred, y, groups)
    np.testing.assert_array_equal(again.predict(noise, asked_groups), fresh.predict(noise, asked_groups))
    if again.probabilistic:
        one, other = (probe.log_likelihood(noise, gold, asked_groups, CLASSES) for probe in (again, fresh))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", list(PROBES))
def test_a_seed_repeats(name):
    x, y, groups = planted(1, sentences=20)
    noise = np.random.default_rng(4).normal(size=(200, FEATURES)).astype(np.float32)
    asked_groups = np.repeat(np.arange(50), 4)
    one, other = (fitted(name, x, y, groups).predict(noise, asked_groups) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", list(PROBES))
def test_layer_after_layer_a_fit_is_that_of_its_own_layer(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    probe = fitted(name, x[:, ::-1].copy(), y, groups)
    probe.settings = ProbeSettings(**{**vars(SETTINGS), "strength": 10.0})
    probe.fit(x, y, groups)
    assert (probe.predict(asked, asked_groups) == gold).mean() > 0.95


@pytest.mark.parametrize("name", list(PROBES))
def test_a_constant_y_is_predicted_and_is_nearly_certain(name):
    x, y, groups = planted(1)
    probe = fitted(name, x, np.full_like(y, 7), groups)
    assert probe.predict(x[:8], groups[:8]).tolist() == [7] * 8
    if probe.probabilistic:
        likelihood = probe.log_likelihood(x[:8], np.full(8, 7), groups[:8], 9)
        assert np.exp(likelihood) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", of_texts)
def test_constant_sets_and_numbers(name):
    x, y, groups = planted(1)
    on = np.tile(np.array([0, 1, 1]), (len(y), 1))
    assert fitted(name, x, on, groups).predict(x[:2], groups[:2]).tolist() == [[0, 1, 1]] * 2
    some = np.column_stack([y == 0, y > 5, y >= 0]).astype(np.int64)
    predicted = fitted(name, x, some, groups).predict(x, groups)
    assert predicted[:, 1:].tolist() == [[0, 1]] * len(y)
    numbers = fitted(name, x, np.full(len(y), 2.5, np.float32), groups).predict(x[:2], groups[:2])
    np.testing.assert_allclose(numbers, 2.5, atol=1e-5)


@pytest.mark.parametrize("name", probabilistic)
def test_the_likelihood_of_a_signal_is_better_than_uniform_and_no_more_than_certain(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    probe = fitted(name, x, y, groups)
    likelihood = probe.log_likelihood(asked, gold, asked_groups, CLASSES)
    assert likelihood.shape == gold.shape
    assert likelihood.dtype == np.float64
    assert -0.5 * len(gold) * np.log(CLASSES) < likelihood.sum() <= 0
    assert probe.log_likelihood(asked, (gold + 1) % 3, asked_groups, CLASSES).sum() < likelihood.sum()


@pytest.mark.parametrize("name", probabilistic)
def test_probabilities_of_all_label_sequences_sum_to_one(name):
    x, y, groups = planted(1)
    probe = fitted(name, x, np.minimum(y, 1), groups)
    sequences = np.stack(np.meshgrid(*[np.arange(CLASSES)] * WORDS), axis=-1).reshape(-1, WORDS)
    total = sum(
        np.exp(probe.log_likelihood(x[:WORDS], sequence, groups[:WORDS], CLASSES).sum())
        for sequence in sequences
    )
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", probabilistic)
def test_a_class_unseen_in_training_keeps_a_finite_likelihood(name):
    x, y, groups = planted(1)
    probe = fitted(name, x, np.where(y == 2, 0, y), groups)
    for unseen in (2, 9):
        likelihood = probe.log_likelihood(x, np.full_like(y, unseen), groups, 10)
        assert np.isfinite(likelihood).all()
        assert likelihood.max() < np.log(1 / 10)


@pytest.mark.parametrize("name", [name for name in probabilistic if name in of_texts])
def test_the_likelihood_of_sets_is_summed_over_classes(name):
    (x, y, groups), (asked, gold, asked_groups) = planted(1), planted(2)
    probe = fitted(name, x, sets(y), groups)
    likelihood = probe.log_likelihood(asked, sets(gold), asked_groups, CLASSES)
    every = np.stack(np.meshgrid(*[[0, 1]] * CLASSES), axis=-1).reshape(-1, CLASSES)
    total = sum(
        np.exp(probe.log_likelihood(asked, np.tile(one, (len(gold), 1)), asked_groups, CLASSES))
        for one in every
    )
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert likelihood.sum() > -0.5 * len(gold) * CLASSES * np.log(2)
    on = np.tile(np.array([0, 1, 1]), (len(y), 1))
    certain = fitted(name, x, on, groups)
    assert certain.log_likelihood(x, on, groups, CLASSES).mean() == pytest.approx(0, abs=0.02)
    assert np.isfinite(certain.log_likelihood(x, 1 - on, groups, CLASSES)).all()


@pytest.mark.parametrize("name", list(PROBES))
def test_what_is_asked_beside_an_example_does_not_matter(name):
    x, y, groups = planted(1)
    asked, gold, _ = planted(2)
    asked, gold = asked + 0.5, gold[:]  # less certain than the training words
    lengths = np.resize([1, 7, 3, 5], SENTENCES)
    asked_groups = np.repeat(np.arange(SENTENCES), lengths)[: len(asked)]
    order = np.argsort(np.random.default_rng(5).permutation(SENTENCES)[asked_groups], kind="stable")
    new_groups = np.cumsum(np.diff(asked_groups[order], prepend=asked_groups[order][0]) != 0)
    probe = fitted(name, x, y, groups)
    together = probe.predict(asked, asked_groups)
    np.testing.assert_array_equal(probe.predict(asked[order], new_groups), together[order])
    if probe.probabilistic:
        likelihood = probe.log_likelihood(asked, gold, asked_groups, CLASSES)
        shuffled = probe.log_likelihood(asked[order], gold[order], new_groups, CLASSES)
        np.testing.assert_allclose(shuffled, likelihood[order], atol=1e-4)
        alone = asked_groups == 1
        by_itself = probe.log_likelihood(asked[alone], gold[alone], asked_groups[alone], CLASSES)
        np.testing.assert_allclose(by_itself, likelihood[alone], atol=1e-4)


@pytest.mark.parametrize("name", list(PROBES))
def test_numbers_and_probes_without_probabilities_have_no_likelihood(name):
    x, y, groups = planted(1, sentences=10)
    probe = fitted(name, x, y, groups)
    with pytest.raises(InputError, match="numbers"):
        probe.log_likelihood(x, x[:, 0], groups, CLASSES)
    if not probe.probabilistic:
        with pytest.raises(InputError, match="no probabilities"):
            probe.log_likelihood(x, y, groups, CLASSES)


@pytest.mark.parametrize("name", list(PROBES))
def test_the_docstring_starts_with_one_line_that_says_what_it_is(name):
    first, *rest = PROBES[name].__doc__.splitlines()
    assert first.endswith(".")
    assert not rest or rest[0] == ""


def test_a_uniform_predictor_stays_uniform():
    y = np.arange(5)
    found = gold_log_likelihood(np.full((5, 5), 0.2), y, y, 5, rows=3)
    np.testing.assert_allclose(found, -np.log(5), rtol=1e-12)


def test_few_rows_are_passed_more_often():
    settings = ProbeSettings(epochs=3, batch_size=10)
    assert settings.passes(1000, fewest_steps=300) == 3
    assert settings.passes(1001, fewest_steps=400) == 4
    assert settings.passes(5, fewest_steps=300) == 300


@pytest.mark.parametrize("name", ["svm", "bilstm-crf"])
def test_features_may_be_taken_as_they_are(name):
    (x, y, groups), (asked, _, asked_groups) = planted(1), planted(2)
    scale = np.array(
        [1, 1, 1, 5000, 5000, 5000], np.float32
    )  # noise drowns the signal unless it is scaled down
    scaled = fitted(name, x * scale, y, groups).predict(asked * scale, asked_groups)
    raw = fitted(name, x * scale, y, groups, standardise=False).predict(asked * scale, asked_groups)
    assert (scaled != raw).mean() > 0.1


def test_a_raw_machine_is_that_of_scikit_learn():
    from sklearn.svm import SVC

    (x, y, groups), (asked, _, asked_groups) = planted(1), planted(2)
    scale = np.array([1, 2, 3, 4, 5, 6], np.float32)
    ours = fitted("svm", x * scale, y, groups, standardise=False).predict(asked * scale, asked_groups)
    theirs = SVC(C=1, kernel="rbf").fit(x * scale, y).predict(asked * scale)
    assert (ours == theirs).all()
