"""The solver against scikit-learn: an objective no worse, the same predictions."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from microtome.analysis.numerics import logistic, parallel


def problem(rows, features, classes, seed=0):
    """Ill-conditioned features, as hidden states are, and labels drawn from a linear model of them."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features)) * np.exp(-np.arange(features) / 5)[:, None]
    x = rng.normal(size=(rows, features)) @ mixing
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    logits = x @ rng.normal(size=(features, classes)) * 0.5
    return x, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def objective(weights, x, y, penalty):
    logits = x.astype(np.float64) @ weights[:-1] + weights[-1]
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return losses.mean() + penalty / 2 * (weights[:-1] ** 2).sum()


def of_sklearn(x, y, classes, strength):
    model = LogisticRegression(C=strength, max_iter=5000).fit(x, y)
    if classes == 2:  # one weight vector there, two here
        half = np.append(model.coef_[0], model.intercept_) / 2
        return np.stack([-half, half], axis=1)
    return np.vstack([model.coef_.T, model.intercept_])


@pytest.mark.parametrize("strength", [0.01, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("largest", [logistic.LARGEST_HESSIAN, 1], ids=["full", "by class"])
def test_the_objective_is_no_worse_than_scikit_learns(monkeypatch, classes, strength, largest):
    monkeypatch.setattr(logistic, "FEWEST_ROWS", 500)  # a subsample gives the Hessian
    monkeypatch.setattr(logistic, "LARGEST_HESSIAN", largest)
    x, y = problem(3000, 30, classes)
    penalty = (2 if classes == 2 else 1) / (strength * len(x))
    ours = logistic.fit_softmax(x, y, classes, strength=strength)
    theirs = of_sklearn(x, y, classes, strength)
    assert objective(ours, x, y, penalty) <= objective(theirs, x, y, penalty) + 1e-5
    same = (x @ ours[:-1] + ours[-1]).argmax(1) == (x @ theirs[:-1] + theirs[-1]).argmax(1)
    assert same.mean() > 0.99


def test_the_weights_do_not_depend_on_the_number_of_cores(monkeypatch):
    x, y = problem(3000, 20, 3)
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 100 * x[:1].nbytes)  # thirty blocks
    fits = []
    for count in (1, 3):
        monkeypatch.setattr(parallel, "_thread_pool", lambda process, n=count: (ThreadPoolExecutor(n), n))
        fits.append(logistic.fit_softmax(x, y, 3, strength=0.1))
    np.testing.assert_array_equal(*fits)


def test_the_gradient_is_that_of_the_value():
    x, y = problem(300, 8, 3)
    weights = np.random.default_rng(2).normal(size=(9, 3))
    _, gradient = logistic._value_and_gradient(x, y, 0.1, weights)
    for place in np.ndindex(weights.shape):
        shift = np.zeros_like(weights)
        shift[place] = 1e-6
        change = objective(weights + shift, x, y, 0.1) - objective(weights - shift, x, y, 0.1)
        assert gradient[place] == pytest.approx(change / 2e-6, abs=1e-4)


def test_separable_classes_and_few_rows_come_to_an_end():
    x = np.array([[-1.0], [1.0]], np.float32)
    weights = logistic.fit_softmax(x, np.array([0, 1]), 2, strength=1e6)
    assert (x @ weights[:-1] + weights[-1]).argmax(1).tolist() == [0, 1]
    assert np.isfinite(weights).all()
