import numpy as np
import pytest

from analysis.probes import PROBES
from analysis.probing import ProbeConfig, probe
from store.errors import InputError

SENTENCES, WORDS, DIM, LAYERS = 60, 5, 6, 3


def planted(make_cache, name, seed, *, signal_layer=2, **more):
    """Words of three classes; only one layer says which, the others are noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, SENTENCES * WORDS)
    hidden = rng.normal(size=(LAYERS + 1, SENTENCES * WORDS, DIM)).astype(np.float32)
    hidden[signal_layer] *= 0.1
    hidden[signal_layer, np.arange(len(labels)), labels] += 1
    return make_cache(
        name,
        hidden,
        [WORDS] * SENTENCES,
        words=list(range(WORDS)) * SENTENCES,
        labels=labels,
        classes=["O", "B-x", "B-y"],
        **more,
    )


@pytest.mark.parametrize("name", list(PROBES))
def test_a_signal_planted_in_one_layer_is_found_in_that_layer_only(make_cache, name):
    train, test = planted(make_cache, "a", 1, split="train"), planted(make_cache, "b", 2)
    rows = probe(ProbeConfig(probe=name), train, test)
    score = {row["layer"]: row["value"] for row in rows if row["metric"] == "token_micro_f1"}
    assert list(score) == [0, 1, 2, 3]
    assert score[2] > 0.95
    assert max(score[layer] for layer in (0, 1, 3)) < 0.5
    assert {row["n"] for row in rows} == {SENTENCES * WORDS}
    assert {row["split"] for row in rows} == {"test"}


def test_chosen_layers_only(make_cache):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2)
    assert {row["layer"] for row in probe(ProbeConfig(layers=(1,)), train, test)} == {1}


def test_caches_of_different_checkpoints_are_refused(make_cache):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2, checkpoint="other")
    with pytest.raises(InputError, match="different checkpoints"):
        probe(ProbeConfig(), train, test)


@pytest.mark.parametrize("name", list(PROBES))
def test_a_single_class_is_predicted_without_fitting(name):
    classifier = PROBES[name](strength=1.0, seed=0)
    classifier.fit(np.ones((4, 2), np.float32), np.full(4, 7))
    assert classifier.predict(np.zeros((3, 2), np.float32)).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("kind", "dtype", "metric"), [("numbers", np.float32, "pearson"), ("sets", np.uint8, "micro_f1")]
)
def test_numbers_and_sets_of_classes_are_probed_too(make_cache, kind, dtype, metric):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3))

    def cache(name, size):
        hidden = rng.normal(size=(1, size * 2, 4)).astype(np.float32)
        truth = hidden[0, 1::2] @ weights
        return make_cache(
            name,
            hidden,
            [2] * size,
            words=[-1, 0] * size,
            labels=truth[:, 0] if kind == "numbers" else truth > 0.5,
            label_dtype=dtype,
            unit="text",
            classes=["a", "b", "c"],
        )

    [row] = [
        r for r in probe(ProbeConfig(), cache("train", 400), cache("test", 200)) if r["metric"] == metric
    ]
    assert row["value"] > 0.9
