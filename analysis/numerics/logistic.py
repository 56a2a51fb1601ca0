"""Multinomial logistic regression for many rows: L-BFGS preconditioned with the Hessian of a subsample.

The objective is that of scikit-learn's LogisticRegression, divided by the number of rows:

    mean cross-entropy + penalty / 2 * (squared norm of the weights, intercepts excepted)

with penalty = 1 / (strength * rows), twice that for two classes, where scikit-learn has one weight vector
and this solver has two. Hidden states are ill-conditioned, so plain L-BFGS takes many passes over the rows.
Newton's method takes few, but each needs the Hessian of all rows. Here the Hessian is taken on some of the
rows, and only every few steps; CONTRIBUTING.md has the times of all three.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import softmax

from microtome.analysis.numerics.parallel import linear_algebra_threads, map_row_blocks

TOLERANCE = 1e-4  # largest entry of the gradient, as scikit-learn has it
SUBSAMPLE = 0.1  # share of the rows, evenly spread, that the Hessian is taken on,
FEWEST_ROWS = 12_000  # but so many at least
HESSIANS = 40  # at most
STEPS = 8  # with one Hessian
DECREASE = 1e-4  # a step must bring this share of what the slope promises
SHORTEST_STEP = 1e-8
LARGEST_HESSIAN = 4096  # parameters; above that, one Hessian per class
RIDGE = 1e-7  # moving all intercepts together has no curvature

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]  # weights -> value, gradient
Solve = Callable[[np.ndarray], np.ndarray]  # gradient -> approximate inverse Hessian times gradient
Pair = tuple[np.ndarray, np.ndarray, float]  # change of the weights, of the gradient, their product


def fit_softmax(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    *,
    strength: float,
) -> np.ndarray:
    """Weights float64 [features + 1, classes], the intercepts last; the same for the same arguments.

    `x` is float32 [rows, features], best standardised, `y` int64 [rows] of class numbers.
    """
    rows, features = x.shape
    penalty = (2 if classes == 2 else 1) / (strength * rows)
    weights = np.zeros((features + 1, classes))
    subsample = x[:: max(1, int(rows / max(FEWEST_ROWS, SUBSAMPLE * rows)))]
    objective = partial(_value_and_gradient, x, y, penalty)
    value, gradient = objective(weights)
    for _ in range(HESSIANS):
        if np.abs(gradient).max() <= TOLERANCE:
            break
        solve = _hessian_solver(subsample, weights, penalty)
        weights, value, gradient, improved = _descend(objective, weights, value, gradient, solve)
        if not improved:  # the precision of the objective allows no more
            break
    return weights


def logits(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float32 [rows, classes] of float32 [rows, features] and weights [features + 1, classes]."""
    scores = np.empty((len(x), weights.shape[1]), np.float32)
    weights32 = weights.astype(np.float32)

    def of_block(rows: slice) -> None:
        np.add(x[rows] @ weights32[:-1], weights32[-1], out=scores[rows])

    map_row_blocks(of_block, len(x), x[:1].nbytes)
    return scores


def _descend(
    objective: Objective, weights: np.ndarray, value: float, gradient: np.ndarray, solve: Solve
) -> tuple[np.ndarray, float, np.ndarray, bool]:
    """A few steps of L-BFGS. Returns the new weights, value and gradient, and whether the last step brought
    a lower value."""
    pairs: list[Pair] = []
    for _ in range(STEPS):
        if np.abs(gradient).max() <= TOLERANCE:
            break
        direction = -_inverse_times(gradient, pairs, solve)
        slope = float((direction * gradient).sum())
        step = 1.0
        while True:
            candidate = weights + step * direction
            new_value, new_gradient = objective(candidate)
            if new_value <= value + DECREASE * step * slope:
                break
            if step < SHORTEST_STEP:
                return weights, value, gradient, False
            lowest = -0.5 * slope * step / (new_value - value - slope * step)  # of a parabola through both
            step *= min(0.5, max(0.1, lowest))
        weights_change, gradient_change = candidate - weights, new_gradient - gradient
        curvature = float((weights_change * gradient_change).sum())
        if curvature > 0:
            pairs.append((weights_change, gradient_change, curvature))
        weights, value, gradient = candidate, new_value, new_gradient
    return weights, value, gradient, True


def _inverse_times(gradient: np.ndarray, pairs: list[Pair], solve: Solve) -> np.ndarray:
    """The two-loop recursion of L-BFGS."""
    result = gradient
    factors = []
    for weights_change, gradient_change, curvature in reversed(pairs):
        factor = float((weights_change * result).sum()) / curvature
        result = result - factor * gradient_change
        factors.append(factor)
    result = solve(result)
    for (weights_change, gradient_change, curvature), factor in zip(pairs, reversed(factors), strict=True):
        correction = factor - float((gradient_change * result).sum()) / curvature
        result = result + correction * weights_change
    return result


def _value_and_gradient(
    x: np.ndarray, y: np.ndarray, penalty: float, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    weights32 = weights.astype(np.float32)
    intercepts = weights32[-1][:, None]

    def of_block(rows: slice) -> tuple[float, np.ndarray]:
        block = x[rows]
        at_gold = y[rows], np.arange(len(block))
        scores = np.ascontiguousarray((block @ weights32[:-1]).T)  # [classes, rows]: rows are many
        scores += intercepts
        scores -= scores.max(axis=0)
        of_gold = scores[at_gold]
        residuals = np.exp(scores, out=scores)
        normaliser = residuals.sum(axis=0)
        loss = float(np.log(normaliser).sum(dtype=np.float64) - of_gold.sum(dtype=np.float64))
        residuals /= normaliser
        residuals[at_gold] -= 1
        gradient = np.empty_like(weights)
        gradient[:-1] = (residuals @ block).T
        gradient[-1] = residuals.sum(axis=1, dtype=np.float64)
        return loss, gradient

    blocks = map_row_blocks(of_block, len(x), x[:1].nbytes)
    norm = float((weights[:-1] ** 2).sum())
    value = sum(loss for loss, _ in blocks) / len(x) + penalty / 2 * norm
    gradient: np.ndarray = np.sum([block_gradient for _, block_gradient in blocks], axis=0) / len(x)
    gradient[:-1] += penalty * weights[:-1]
    return value, gradient


def _hessian_solver(x: np.ndarray, weights: np.ndarray, penalty: float) -> Solve:
    """Solves linear systems with the Hessian of the objective on the rows `x`."""
    features, classes = weights.shape
    probabilities = softmax(logits(x, weights), axis=1)
    diagonal = np.full(features, penalty + RIDGE)
    diagonal[-1] = RIDGE

    def class_block(one: int, other: int) -> np.ndarray:
        same = one == other
        weight = probabilities[:, one] * (1 - probabilities[:, one] if same else probabilities[:, other])
        roots = np.sqrt(weight)[:, None]

        def product(rows: slice) -> np.ndarray:
            scaled = np.empty((rows.stop - rows.start, features), np.float32)
            np.multiply(x[rows], roots[rows], out=scaled[:, :-1])
            scaled[:, -1:] = roots[rows]
            return scaled.T @ scaled  # with itself: half the work

        parts = map_row_blocks(product, len(x), x[:1].nbytes)
        derivatives = np.stack(parts).sum(axis=0, dtype=np.float64) / len(x)
        if not same:
            return -derivatives
        derivatives[np.diag_indices(features)] += diagonal
        return derivatives

    if classes == 2:  # one weight vector is the negative of the other
        only = _factor(2 * class_block(0, 0) - np.diag(diagonal))
        return lambda right: np.stack([half := cho_solve(only, right[:, 0]), -half], axis=1)
    if weights.size > LARGEST_HESSIAN:
        factors = [_factor(class_block(k, k)) for k in range(classes)]
        return lambda right: np.stack([cho_solve(f, right[:, k]) for k, f in enumerate(factors)], axis=1)
    hessian = np.empty((classes, features, classes, features))
    for one in range(classes):
        for other in range(one + 1):
            hessian[one, :, other] = hessian[other, :, one] = class_block(one, other)
    factor = _factor(hessian.reshape(weights.size, weights.size))
    return lambda right: cho_solve(factor, right.T.reshape(-1)).reshape(classes, features).T


def _factor(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """The Cholesky factor of a Hessian. Where rounding has left no curvature, as on few rows that the weights
    separate, a ridge is added until there is some. One thread does it: numpy's own threads may still spin on
    the other cores."""
    ridge = 0.0
    with linear_algebra_threads().limit(limits=1):
        while True:
            try:
                return cho_factor(matrix + ridge * np.eye(len(matrix)), overwrite_a=True, check_finite=False)
            except LinAlgError:
                ridge = max(10 * ridge, RIDGE * float(np.abs(matrix.diagonal()).max()))
