"""Which layers a task reads: a learned mix of all of them, and a classifier of the mix (Tenney et al. 2019).

    mix = gamma * sum over layers of softmax(a)_l h_l, classes from softmax(mix @ W + b)

a, W and b are fitted together. With V = gamma * W the objective, divided by the number of rows, is

    mean cross-entropy + penalty / 2 * (|V|^2 + |a|^2),  penalty = 1 / (strength * rows)

so that without evidence every layer weighs the same. Under a linear classifier gamma only shares a scale
with it: it is chosen such that the mix has a mean square of one. Every layer is standardised by its own
training mean and deviation: a layer does not weigh more by being larger. L-BFGS runs over V in coordinates
in which the cross-entropy is about as curved in every direction; hidden states are ill-conditioned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from microtome.analysis.numerics.parallel import linear_algebra_threads, map_row_blocks
from microtome.analysis.numerics.standardise import Standardiser

STAGES = 4  # of L-BFGS; each has the coordinates that suit the mix at its start
METRIC_ROWS = 10_000  # that the coordinates are taken from
TOLERANCE = 1e-5  # largest entry of the gradient


@dataclass(frozen=True)
class ScalarMix:
    """A fitted mix and its classifier.

    weights     float64 [layers], softmax(a)
    gamma       what gives the mix of the training units a mean square of one
    classifier  float64 [features + 1, classes], the intercepts last
    standards   of the layers
    """

    weights: np.ndarray
    gamma: float
    classifier: np.ndarray
    standards: tuple[Standardiser, ...]

    @property
    def centre_of_gravity(self) -> float:
        """Sum of l times the weight of layer l, counted from 0 in the order of the layers given."""
        return float(np.arange(len(self.weights)) @ self.weights)

    def predict(self, layers_x: Sequence[np.ndarray]) -> np.ndarray:
        """Class numbers int64 [units] from the features [units, features] of every layer."""
        mix = sum(
            np.float32(self.gamma * weight) * standard(x.astype(np.float32, copy=False))
            for weight, standard, x in zip(self.weights, self.standards, layers_x, strict=True)
        )
        return (mix @ self.classifier[:-1].astype(np.float32) + self.classifier[-1]).argmax(axis=1)


def scalar_mix(
    layers_x: Sequence[np.ndarray], y: np.ndarray, classes: int, *, strength: float, iterations: int = 100
) -> ScalarMix:
    """Fit the mix. `layers_x` is float32 or float16 [units, features] per layer, `y` int64 [units].

    Needs memory for all layers in float32. Nothing is drawn at random. `iterations` bounds those of L-BFGS;
    twice as many moved the centre of gravity by less than 0.01 of a layer on 13 layers of 10,000 units.
    """
    standards = tuple(Standardiser(x.astype(np.float32, copy=False)) for x in layers_x)
    x_tld = np.empty((len(y), len(layers_x), layers_x[0].shape[1]), np.float32)
    for layer, (standard, x) in enumerate(zip(standards, layers_x, strict=True)):
        x_tld[:, layer] = standard(x.astype(np.float32, copy=False))
    objective = _Objective(x_tld, y, classes, 1 / (strength * len(y)))
    parameters = objective.start()
    for _ in range(STAGES):
        parameters, finished = _descend(objective, parameters, max(1, iterations // STAGES))
        if finished:
            break
    classifier, scores = objective.parts(parameters)
    gamma = 1 / float(np.sqrt(np.maximum((objective.mix(scores) ** 2).mean(dtype=np.float64), 1e-12)))
    classifier[:-1] /= gamma
    return ScalarMix(softmax(scores), gamma, classifier, standards)


def _descend(objective: "_Objective", parameters: np.ndarray, iterations: int) -> tuple[np.ndarray, bool]:
    """The parameters after so many iterations, and whether there is nothing more to gain."""
    coordinates = _Coordinates(objective, parameters)
    options = {"maxiter": iterations, "maxcor": 20, "gtol": TOLERANCE, "ftol": 1e-9}
    start = coordinates.inward(parameters)
    found = minimize(coordinates.value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return coordinates.outward(found.x), found.nit < iterations


class _Objective:
    """Value and gradient by flat parameters: V and b row by row, then a."""

    def __init__(self, x_tld: np.ndarray, y: np.ndarray, classes: int, penalty: float) -> None:
        self.x_tld, self.y, self.classes, self.penalty = x_tld, y, classes, penalty

    def start(self) -> np.ndarray:
        """Every layer alike, and a classifier that knows how frequent the classes are."""
        rows, layers, features = self.x_tld.shape
        classifier = np.zeros((features + 1, self.classes))
        classifier[-1] = np.log((np.bincount(self.y, minlength=self.classes) + 1) / (rows + self.classes))
        return np.concatenate([classifier.ravel(), np.zeros(layers)])

    def parts(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Views: classifier [features + 1, classes], a [layers]."""
        layers = self.x_tld.shape[1]
        return parameters[:-layers].reshape(-1, self.classes), parameters[-layers:]

    def mix(self, scores: np.ndarray) -> np.ndarray:
        """float32 [some units, features], before gamma."""
        some = self.x_tld[:: max(1, len(self.y) // METRIC_ROWS)]
        return np.einsum("tld,l->td", some, softmax(scores).astype(np.float32))

    def value_and_gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        rows = len(self.y)
        parts = map_row_blocks(partial(self._of_rows, parameters), rows, self.x_tld[:1].nbytes)
        classifier, scores = self.parts(parameters)
        gradient: np.ndarray = np.sum([part for _, part in parts], axis=0) / rows
        of_classifier, of_scores = self.parts(gradient)
        weights = softmax(scores)
        of_scores[:] = weights * (of_scores - weights @ of_scores) + self.penalty * scores
        of_classifier[:-1] += self.penalty * classifier[:-1]
        norms = float((classifier[:-1] ** 2).sum() + (scores**2).sum())
        return sum(loss for loss, _ in parts) / rows + self.penalty / 2 * norms, gradient

    def _of_rows(self, parameters: np.ndarray, rows: slice) -> tuple[float, np.ndarray]:
        """Summed loss and its gradient by V, b and the layers' weights, without the penalty."""
        classifier, scores = self.parts(parameters)
        weights, classifier32 = softmax(scores), classifier[:-1].astype(np.float32)
        gradient = np.empty_like(parameters)
        of_classifier, of_weights = self.parts(gradient)
        x_tld, gold = self.x_tld[rows], self.y[rows]
        flat = x_tld.reshape(-1, x_tld.shape[2])
        logits_tlc = (flat @ classifier32).reshape(len(gold), len(weights), -1)
        logits = np.einsum("tlc,l->tc", logits_tlc, weights) + classifier[-1]
        logits -= logits.max(axis=1, keepdims=True)
        at_gold = np.arange(len(gold)), gold
        residuals = softmax(logits, axis=1)
        loss = float(np.log(np.exp(logits).sum(axis=1)).sum() - logits[at_gold].sum())
        residuals[at_gold] -= 1
        of_weights[:] = np.einsum("tlc,tc->l", logits_tlc, residuals)
        by_layer = (residuals[:, None, :] * weights[:, None]).astype(np.float32)
        of_classifier[:-1] = flat.T @ by_layer.reshape(len(flat), -1)
        of_classifier[-1] = residuals.sum(axis=0)
        return loss, gradient


class _Coordinates:
    """In which the cross-entropy at some parameters is about as curved in every direction of V and b.

    The Hessian of a class is taken for c * (second moments of the mix) + penalty, c its mean p * (1 - p).
    """

    def __init__(self, objective: _Objective, parameters: np.ndarray) -> None:
        self.objective = objective
        classifier, scores = objective.parts(parameters)
        mix = objective.mix(scores)
        shares = softmax(mix @ classifier[:-1] + classifier[-1], axis=1)
        curvature = np.maximum((shares * (1 - shares)).mean(axis=0), 1 / len(objective.y))
        with linear_algebra_threads().limit(limits=1):
            moments, self.axes = np.linalg.eigh((mix.T @ mix / len(mix)).astype(np.float64))
        moments = np.maximum(moments, 0)[:, None]
        self.scale = 1 / np.sqrt(np.vstack([moments * curvature + objective.penalty, curvature]))

    def inward(self, parameters: np.ndarray) -> np.ndarray:
        point = parameters.copy()
        classifier = self.objective.parts(point)[0]
        classifier[:-1] = self.axes.T @ classifier[:-1]
        classifier /= self.scale
        return point

    def outward(self, point: np.ndarray) -> np.ndarray:
        parameters = point.copy()
        classifier = self.objective.parts(parameters)[0]
        classifier *= self.scale
        classifier[:-1] = self.axes @ classifier[:-1]
        return parameters

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.objective.value_and_gradient(self.outward(point))
        of_classifier = self.objective.parts(gradient)[0]
        of_classifier[:-1] = self.axes.T @ of_classifier[:-1]
        of_classifier *= self.scale
        return value, gradient
