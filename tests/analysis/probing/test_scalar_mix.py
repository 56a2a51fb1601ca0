import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from microtome.analysis.probing.scalar_mix import _Coordinates, _Objective, scalar_mix

LAYERS, UNITS, FEATURES, CLASSES = 4, 1500, 8, 3


def planted(seed, *, signal_layer, units=UNITS, scales=(1, 1, 1, 1)):
    """Layers of noise, of which one says the class, each on its own scale."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, units)
    layers = rng.normal(size=(LAYERS, units, FEATURES)).astype(np.float32)
    if signal_layer is not None:
        layers[signal_layer, np.arange(units), y] += 2
    return [3 + layer * np.float32(scale) for layer, scale in zip(layers, scales, strict=True)], y


def make_objective(layers, y):
    return _Objective(np.stack(layers, axis=1), y, CLASSES, 0.1)


def by_hand(parameters, x_tld, y, penalty):
    scores = parameters[-x_tld.shape[1] :]
    classifier = parameters[: -x_tld.shape[1]].reshape(-1, CLASSES)
    mix = np.tensordot(x_tld.astype(np.float64), softmax(scores), axes=(1, 0))
    logits = mix @ classifier[:-1] + classifier[-1]
    loss = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean()
    return loss + penalty / 2 * ((classifier[:-1] ** 2).sum() + (scores**2).sum())


@pytest.mark.parametrize("inside", [False, True], ids=["parameters", "coordinates"])
def test_the_gradient_is_that_of_the_value(monkeypatch, inside):
    several_blocks = 7 * LAYERS * FEATURES * 4
    monkeypatch.setattr("microtome.analysis.numerics.parallel.BLOCK_BYTES", several_blocks)
    layers, y = planted(1, signal_layer=1, units=50)
    objective = make_objective(layers, y)
    rng = np.random.default_rng(2)
    point = objective.start() + 0.3 * rng.normal(size=len(objective.start()))
    coordinates = _Coordinates(objective, point)
    through = coordinates.outward if inside else lambda parameters: parameters
    function = coordinates.value_and_gradient if inside else objective.value_and_gradient
    value, gradient = function(point)
    assert value == pytest.approx(by_hand(through(point), objective.x_tld, y, 0.1), rel=1e-5)
    for place in range(len(point)):
        shift = np.zeros_like(point)
        shift[place] = 1e-5
        up, down = (by_hand(through(point + sign * shift), objective.x_tld, y, 0.1) for sign in (1, -1))
        assert gradient[place] == pytest.approx((up - down) / 2e-5, abs=2e-4, rel=2e-4)


def test_coordinates_lead_there_and_back():
    layers, y = planted(1, signal_layer=1, units=50)
    objective = make_objective(layers, y)
    parameters = np.random.default_rng(3).normal(size=len(objective.start()))
    coordinates = _Coordinates(objective, parameters)
    np.testing.assert_allclose(coordinates.outward(coordinates.inward(parameters)), parameters, rtol=1e-6)


@pytest.mark.parametrize("signal_layer", range(LAYERS))
def test_the_layer_with_the_signal_has_the_weight_whatever_its_scale(signal_layer):
    scales = (100, 0.01, 1, 10)
    layers, y = planted(1, signal_layer=signal_layer, scales=scales)
    mix = scalar_mix(layers, y, CLASSES, strength=1.0)
    assert mix.weights.sum() == pytest.approx(1)
    assert mix.weights.argmax() == signal_layer
    assert mix.weights[signal_layer] > 0.8
    assert mix.centre_of_gravity == pytest.approx(signal_layer, abs=0.4)
    asked, gold = planted(2, signal_layer=signal_layer, scales=scales)
    assert (mix.predict(asked) == gold).mean() > 0.8


def test_layers_without_information_weigh_about_the_same():
    layers, y = planted(1, signal_layer=None)
    mix = scalar_mix(layers, y, CLASSES, strength=0.01)
    np.testing.assert_allclose(mix.weights, 1 / LAYERS, atol=0.05)
    assert mix.centre_of_gravity == pytest.approx((LAYERS - 1) / 2, abs=0.1)


def test_layers_that_are_the_same_weigh_the_same_and_are_the_linear_model_of_one():
    layers, y = planted(1, signal_layer=0)
    mix = scalar_mix([layers[0]] * 3, y, CLASSES, strength=1.0)
    np.testing.assert_allclose(mix.weights, 1 / 3, atol=1e-6)
    assert mix.gamma == pytest.approx(1, abs=1e-3)
    scaler = StandardScaler().fit(layers[0])
    theirs = LogisticRegression(C=1.0).fit(scaler.transform(layers[0]), y)
    centred = mix.classifier[:-1] - mix.classifier[:-1].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred, theirs.coef_.T, atol=5e-3)
    same = mix.predict([layers[0]] * 3) == theirs.predict(scaler.transform(layers[0]))
    assert same.mean() > 0.995


def test_gamma_gives_the_mix_a_mean_square_of_one():
    layers, y = planted(1, signal_layer=2)
    mix = scalar_mix(layers, y, CLASSES, strength=1.0)
    scaled = [StandardScaler().fit_transform(layer) for layer in layers]
    made = mix.gamma * sum(weight * layer for weight, layer in zip(mix.weights, scaled, strict=True))
    assert (made**2).mean() == pytest.approx(1, abs=1e-3)


def test_half_precision_and_a_class_that_is_not_there():
    layers, y = planted(1, signal_layer=1)
    full = scalar_mix(layers, y, CLASSES + 2, strength=1.0)
    half = scalar_mix([layer.astype(np.float16) for layer in layers], y, CLASSES + 2, strength=1.0)
    np.testing.assert_allclose(half.weights, full.weights, atol=0.02)
    assert half.predict(layers).max() < CLASSES


def test_a_constant_y():
    layers, _ = planted(1, signal_layer=None)
    mix = scalar_mix(layers, np.full(UNITS, 2), CLASSES, strength=1.0)
    assert set(mix.predict(layers)) == {2}
    np.testing.assert_allclose(mix.weights, 1 / LAYERS, atol=0.05)
