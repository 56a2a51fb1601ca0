import numpy as np
import pytest

from microtome.analysis.metrics.terms import ScoreKey
from microtome.analysis.probing.probes import PROBES, ProbeSettings
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import MIX, ProbeConfig
from microtome.store.errors import InputError

SENTENCES, WORDS, DIM, LAYERS = 60, 5, 6, 3


def planted(make_cache, name, seed, *, signal_layer=2, sentences=SENTENCES, separation=1, **more):
    """Words of three classes; only one layer says which, the others are noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, sentences * WORDS)
    hidden = rng.normal(size=(LAYERS + 1, sentences * WORDS, DIM)).astype(np.float32)
    hidden[signal_layer] *= 0.1
    hidden[signal_layer, np.arange(len(labels)), labels] += separation
    return make_cache(
        name,
        hidden,
        [WORDS] * sentences,
        words=list(range(WORDS)) * sentences,
        labels=labels,
        classes=["O", "B-x", "B-y"],
        **more,
    )


def by_layer(found, metric, probe=None):
    rows = [row for row in found.rows if row["metric"] == metric and probe in (None, row["probe"])]
    rows = [row for row in rows if row["split"] != "dev"]
    return {row["layer"]: row for row in rows}


def narrow(name, width, **more):
    """Settings of a small network, for the probes that are one."""
    return {"width": width, **more} if name in ("mlp", "bilstm-crf") else {}


@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=pytest.mark.thorough if p == "mlp" else ()) for p in PROBES]
)
def test_a_signal_planted_in_one_layer_is_found_in_that_layer_only(make_cache, name):
    train, test = planted(make_cache, "a", 1, split="train"), planted(make_cache, "b", 2)
    config = ProbeConfig(probe=name, strengths=(0.1, 1), **narrow(name, 16), codelength=False, controls=False)
    found = probe(config, train, test)
    score = {layer: row["value"] for layer, row in by_layer(found, "token_micro_f1", name).items()}
    assert list(score) == [0, 1, 2, 3]
    assert score[2] > 0.95
    assert max(score[layer] for layer in (0, 1, 3)) < 0.5
    assert {row["n"] for row in found.rows if "label" not in row} == {SENTENCES * WORDS}
    assert {row["split"] for row in found.rows} == {"test"}
    primary = by_layer(found, "token_macro_f1", name)[2]
    assert primary["low"] <= primary["value"] <= primary["high"]
    assert found.terms[ScoreKey(name, 2)].value() == pytest.approx(primary["value"])


def test_the_signal_has_a_short_description_and_noise_that_of_its_frequencies(make_cache):
    train, test = planted(make_cache, "a", 1, sentences=300), planted(make_cache, "b", 2)
    found = probe(ProbeConfig(), train, test)
    compression = by_layer(found, "compression")
    assert compression[2]["value"] > 3
    assert all(compression[layer]["value"] <= 1.05 for layer in (0, 1, 3))
    for layer, row in compression.items():
        bits = by_layer(found, "codelength")[layer]["value"]
        assert row["value"] == pytest.approx(by_layer(found, "prior_codelength")[layer]["value"] / bits)
        uniform = by_layer(found, "uniform_compression")[layer]["value"]
        assert uniform == pytest.approx(300 * WORDS * np.log2(3) / bits)
    control = by_layer(found, "control_compression")
    assert all(row["value"] <= 1.05 for row in control.values())
    assert by_layer(found, "control_codelength")[2]["value"] > 3 * by_layer(found, "codelength")[2]["value"]


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_unbalanced_labels_that_are_shuffled_are_not_compressed(make_cache, name):
    rng = np.random.default_rng(7)
    train, test = planted(make_cache, "a", 1, sentences=400), planted(make_cache, "b", 2)
    for cache in (train, test):
        labels = cache.example_data.labels
        labels[:] = rng.choice(3, size=len(labels), p=(0.85, 0.1, 0.05))
    config = ProbeConfig(
        probe=name, layers=(1,), **narrow(name, 8), strengths=(0.01,), controls=False, baselines=False
    )
    found = probe(config, train, test)
    assert max(row["value"] for row in by_layer(found, "compression").values()) <= 1.05
    assert min(row["value"] for row in by_layer(found, "uniform_compression").values()) > 1.5


def test_a_probe_that_knows_words_only_has_no_selectivity(make_cache):
    rng = np.random.default_rng(0)
    types = rng.normal(size=(20, 40)).astype(np.float32)
    label = rng.integers(0, 2, 20)

    def cache(name, seed, context):
        ids = np.random.default_rng(seed).integers(0, 20, 400)
        hidden = types[ids][None].copy()
        truth = label[ids]
        if context:  # the label is said by the state, not by the word
            truth = np.random.default_rng(seed + 9).integers(0, 2, 400)
            hidden = np.stack([truth, 1 - truth], axis=1).astype(np.float32)[None]
        return make_cache(
            name,
            hidden,
            [4] * 100,
            words=list(range(4)) * 100,
            labels=truth,
            classes=["O", "B-x"],
            input_ids=ids,
        )

    def selectivity(context):
        found = probe(ProbeConfig(), cache(f"a{context}", 1, context), cache(f"b{context}", 2, context))
        row = by_layer(found, "selectivity")[0]
        assert row["low"] <= row["value"] <= row["high"]
        return row["value"]

    assert abs(selectivity(context=False)) < 0.05
    assert selectivity(context=True) > 0.3


def test_regularisation_is_chosen_on_dev_and_never_on_test(make_cache):
    train, dev = planted(make_cache, "a", 1, sentences=20), planted(make_cache, "b", 2)
    config = ProbeConfig(strengths=(1e-6, 1.0), layers=(2,), codelength=False)
    strength = by_layer(probe(config, train, planted(make_cache, "c", 3), dev), "strength")[2]["value"]
    assert strength == 1e6  # one step beyond the end of the grid
    rng = np.random.default_rng(5)
    shuffled = planted(make_cache, "d", 3)
    shuffled.example_data.labels[:] = rng.permutation(shuffled.labels)
    assert by_layer(probe(config, train, shuffled, dev), "strength")[2]["value"] == 1e6
    assert by_layer(probe(config, train, dev), "strength")[2]["value"] == 1e6  # a fifth of train
    only = probe(ProbeConfig(strengths=(0.5,), layers=(2,)), train, dev)
    assert by_layer(only, "strength")[2]["value"] == 0.5


def test_the_smallest_of_the_equally_good_strengths_is_taken_in_any_order(make_cache):
    train, dev = planted(make_cache, "a", 1, separation=20), planted(make_cache, "b", 2, separation=20)
    config = ProbeConfig(probe="svm", layers=(2,), controls=False, baselines=False)
    for strengths in ((1.0, 10.0), (10.0, 1.0)):
        found = probe(config.model_copy(update={"strengths": strengths}), train, dev, dev)
        assert by_layer(found, "token_macro_f1")[2]["value"] == 1
        assert by_layer(found, "strength")[2]["value"] == 1.0


def test_baselines_need_no_layer(make_cache):
    ids = np.random.default_rng(0).integers(0, 3, 300)
    train = planted(make_cache, "a", 1, input_ids=ids)
    train.example_data.labels[:] = ids
    found = probe(ProbeConfig(layers=(0,)), train, train)
    bag = by_layer(found, "token_micro_f1", "bag-of-words")
    assert list(bag) == [None]
    assert bag[None]["value"] == 1
    assert by_layer(found, "token_micro_f1", "majority")[None]["value"] == pytest.approx(
        np.bincount(ids).max() / 300
    )
    assert {row["probe"] for row in probe(ProbeConfig(baselines=False), train, train).rows} == {"linear"}


def test_the_strength_of_the_bag_is_chosen_too(make_cache):
    rng = np.random.default_rng(0)
    known, held_out = (
        planted(make_cache, name, seed, input_ids=rng.integers(0, 3, 300)) for seed, name in enumerate("ab")
    )
    held_out.example_data.labels[:] = held_out.input_ids
    known.example_data.labels[:] = np.where(rng.random(300) < 0.6, known.input_ids, 0)
    strengths = []
    for dev in (None, held_out):
        found = probe(ProbeConfig(layers=(0,), bag_strengths=(1e-9, 10.0)), known, held_out, dev)
        strengths.append(by_layer(found, "strength", "bag-of-words")[None]["value"])
    assert strengths == [10.0, 10.0]
    held_out.example_data.labels[:] = 0
    found = probe(ProbeConfig(layers=(0,), bag_strengths=(1e-9, 10.0)), known, held_out, held_out)
    assert by_layer(found, "strength", "bag-of-words")[None]["value"] == 1e-9


def test_the_bag_of_a_pair_has_the_words_of_both_texts(make_cache):
    rng = np.random.default_rng(0)
    sides = [0, 1] * 100  # a token of each text
    train, dev, test = (
        make_cache(
            name,
            np.random.default_rng(1).normal(size=(1, 200, 2)).astype(np.float32),
            [2] * 100,
            words=[0, 0] * 100,
            segments=sides,
            labels=(ids := rng.integers(0, 3, 200))[1::2],
            input_ids=ids,
            unit="segment_pair",
            classes=["a", "b", "c"],
        )
        for name in ("train", "dev", "test")
    )
    for held_out in (None, dev):
        found = probe(ProbeConfig(bag_strengths=(0.1, 10.0)), train, test, held_out)
        assert by_layer(found, "strength", "bag-of-words")[None]["value"] == 0.1  # the smaller of equals
        assert by_layer(found, "accuracy", "bag-of-words")[None]["value"] == 1


def test_the_mix_weighs_the_layer_that_knows(make_cache):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2)
    found = probe(ProbeConfig(probe=MIX, strengths=(1e-6, 1.0)), train, test)
    assert by_layer(found, "strength", MIX)[None]["value"] == 1.0  # chosen on a part of train
    weights = {layer: row["value"] for layer, row in by_layer(found, "mix_weight").items()}
    assert max(weights, key=weights.get) == 2
    assert sum(weights.values()) == pytest.approx(1)
    centre = sum(layer * weight for layer, weight in weights.items())
    assert by_layer(found, "centre_of_gravity")[None]["value"] == pytest.approx(centre)
    assert by_layer(found, "token_macro_f1", MIX)[None]["value"] > 0.9


def blurred(make_cache, name, seed, sentences=40):
    """Every layer says something of the class, and none says it without a doubt."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, sentences * WORDS)
    hidden = rng.normal(size=(LAYERS + 1, len(labels), DIM)).astype(np.float32)
    hidden[:, np.arange(len(labels)), labels] += np.linspace(0.2, 1.2, LAYERS + 1)[:, None]
    words, classes = list(range(WORDS)) * sentences, ["O", "B-x", "B-y"]
    return make_cache(name, hidden, [WORDS] * sentences, words=words, labels=labels, classes=classes)


def of_layer(found, layer):
    """The rows of a layer, without those by class, which only the best of the layers has."""
    return [row for row in found.rows if row["layer"] == layer and "label" not in row]


@pytest.fixture
def few_steps(monkeypatch):
    """For what trains step by step: these tests ask whether a fit is the same, not whether it is good."""
    monkeypatch.setattr(ProbeSettings, "passes", lambda self, rows, fewest_steps: self.epochs)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", list(PROBES))
def test_what_a_layer_knows_does_not_depend_on_what_else_is_asked(make_cache, name):
    train, dev, test = (blurred(make_cache, split, seed) for seed, split in enumerate(("a", "b", "c")))
    config = ProbeConfig(probe=name, **narrow(name, 8, epochs=1), strengths=(0.01, 1.0), baselines=False)
    whole = probe(config, train, test, dev)
    for asked in ((3,), (3, 1, 0), (0, 2)):
        found = probe(config.model_copy(update={"layers": asked}), train, test, dev)
        assert {row["layer"] for row in found.rows} == set(asked)
        for layer in asked:
            assert of_layer(found, layer) == of_layer(whole, layer)
            ours, theirs = (of.terms[ScoreKey(name, layer)] for of in (found, whole))
            np.testing.assert_array_equal(ours.terms, theirs.terms)


def test_the_mix_does_not_depend_on_the_order_of_its_layers(make_cache):
    train, dev, test = (blurred(make_cache, split, seed) for seed, split in enumerate(("a", "b", "c")))
    config = ProbeConfig(probe=MIX, strengths=(0.01, 1.0), layers=(0, 1, 3))
    turned = config.model_copy(update={"layers": (3, 0, 1)})
    assert probe(turned, train, test, dev).rows == probe(config, train, test, dev).rows


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", [name for name, kind in PROBES.items() if kind.regularised])
def test_the_fit_does_not_depend_on_the_strengths_that_were_tried_before(make_cache, name):
    train, dev, test = (blurred(make_cache, split, seed) for seed, split in enumerate(("a", "b", "c")))
    strengths = (1e-3, 0.01, 0.1, 1.0)
    config = ProbeConfig(probe=name, **narrow(name, 8), strengths=strengths, layers=(2,), baselines=False)
    tried = probe(config, train, test, dev)
    [strength] = [row["value"] for row in tried.rows if row["metric"] == "strength"]
    only = probe(config.model_copy(update={"strengths": (strength,)}), train, test, dev)
    assert only.rows == tried.rows


def test_chosen_layers_only(make_cache):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2)
    found = probe(ProbeConfig(layers=(1,), baselines=False), train, test)
    assert {row["layer"] for row in found.rows} == {1}


def test_caches_of_different_checkpoints_are_refused(make_cache):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2, checkpoint="other")
    with pytest.raises(InputError, match="different checkpoints"):
        probe(ProbeConfig(), train, test)


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

    found = probe(ProbeConfig(), cache("train", 400), cache("test", 200))
    assert by_layer(found, metric, "linear")[0]["value"] > 0.9
    assert by_layer(found, metric, "majority")[None]["value"] < 0.3
    if kind == "sets":
        assert by_layer(found, "random_label_selectivity")[0]["value"] > 0.2
        assert by_layer(found, "compression")[0]["value"] > 1.5
    else:
        assert not by_layer(found, "compression")


@pytest.mark.parametrize("name", ["linear", MIX])
def test_a_layer_that_is_not_there_is_refused_in_one_line(make_cache, name):
    train, test = planted(make_cache, "a", 1), planted(make_cache, "b", 2)
    with pytest.raises(InputError, match=r"layer 9 is not in .*; give some of 0, 1, 2, 3"):
        probe(ProbeConfig(probe=name, layers=(9,)), train, test)


def test_each_layer_is_scored_on_dev_where_there_is_one(make_cache):
    train, dev, test = (planted(make_cache, name, seed) for seed, name in enumerate("abc"))
    config = ProbeConfig(controls=False, codelength=False, baselines=False)
    rows = [row for row in probe(config, train, test, dev).rows if row["split"] == "dev"]
    assert [row["layer"] for row in rows] == [0, 1, 2, 3]
    assert {row["metric"] for row in rows} == {"token_macro_f1"}
    on_dev = probe(config.model_copy(update={"strengths": (1.0,)}), train, dev)
    assert rows[2]["value"] == pytest.approx(by_layer(on_dev, "token_macro_f1")[2]["value"], abs=0.05)
    assert not [row for row in probe(config, train, test).rows if row["split"] == "dev"]


def test_the_layer_that_is_best_on_dev_has_rows_by_class(make_cache):
    train, test = planted(make_cache, "a", 1, split="train"), planted(make_cache, "b", 2)
    dev = planted(make_cache, "c", 3, split="dev")
    rows = probe(ProbeConfig(codelength=False, controls=False), train, test, dev).rows
    of_classes = [row for row in rows if "label" in row]
    assert {(row["layer"], row["probe"], row["split"]) for row in of_classes} == {(2, "linear", "test")}
    assert {row["label"] for row in of_classes} == {"O", "x", "y"}
    counts = [row for row in of_classes if row["metric"] == "confusion"]
    assert sum(row["value"] for row in counts) == SENTENCES * WORDS
    right = sum(row["value"] for row in counts if row["label"] == row["predicted_label"])
    accuracy = next(r["value"] for r in rows if r["metric"] == "token_micro_f1" and r["layer"] == 2)
    assert right / (SENTENCES * WORDS) == pytest.approx(accuracy)
