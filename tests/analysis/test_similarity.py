import numpy as np
import pytest

from microtome.analysis.similarity import (
    SimilarityConfig,
    StreamedCKA,
    compare_similarity,
    linear_cka,
    rbf_cka,
    rsa,
)
from microtome.store.errors import InputError

LENGTHS = [5, 7, 6, 4]
WORDS = [w for n in LENGTHS for w in (-1, *range(n - 1))]
OWN = np.array(WORDS) >= 0
MEASURES = {"linear_cka": linear_cka, "rsa": rsa, "rbf_cka": rbf_cka}


@pytest.fixture
def published():
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    return x, rng.randn(100, 10) + x


def related(seed, n=300, widths=(12, 7), offset=0.0):
    """Two representations that share three directions."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 3))
    return [offset + common @ rng.standard_normal((3, d)) + 0.5 * rng.standard_normal((n, d)) for d in widths]


def test_published_values(published):
    assert linear_cka(*published, debiased=False) == pytest.approx(0.55761, abs=1e-5)
    assert linear_cka(*published) == pytest.approx(0.51346, abs=1e-5)
    assert rbf_cka(*published, threshold=0.5) == pytest.approx(0.65483, abs=1e-5)


def test_debiased_equals_the_estimate_from_gram_matrices():
    x, y = related(0, n=30)

    def hsic(x, y):
        k, m, n = x @ x.T, y @ y.T, len(x)
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        mixed = 2 / (n - 2) * (k @ m).sum()
        return np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - mixed

    assert linear_cka(x, y) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)))


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("block", [1, 37, 300])
def test_blocks_of_rows_give_what_all_rows_give(debiased, block):
    x, y = related(1, offset=100.0)
    streamed = StreamedCKA(debiased)
    for start in range(0, len(x), block):
        streamed.add(x[start : start + block], y[start : start + block])
    assert streamed.value() == pytest.approx(linear_cka(x, y, debiased), rel=1e-6)


def test_independent_gaussians_are_unlike_only_when_debiased():
    x, y = np.random.default_rng(2).standard_normal((2, 1024, 768)).astype(np.float32)
    assert abs(linear_cka(x, y)) < 0.01
    assert linear_cka(x, y, debiased=False) == pytest.approx(0.43, abs=0.01)


@pytest.mark.parametrize("measure", [linear_cka, rbf_cka])
def test_rotation_scale_and_origin_do_not_matter(measure):
    x, y = related(3, n=80)
    rotation, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((12, 12)))
    assert measure(x, y) < 0.95
    assert measure(3 * x @ rotation + 5, y) == pytest.approx(measure(x, y), rel=1e-6)
    assert measure(x, x @ rotation) == pytest.approx(1)


def test_too_few_or_unequal_rows_are_refused():
    x = np.eye(4)
    with pytest.raises(InputError, match="3 rows are too few"):
        linear_cka(x[:3], x[:3])
    with pytest.raises(InputError, match="4 rows cannot be compared with 3"):
        linear_cka(x, x[:3])
    with pytest.raises(InputError, match="3 rows are too few"):
        rsa(x[:3], x[:3])


def test_rsa_equals_its_definition():
    from scipy.stats import spearmanr

    x, y = related(5, n=25)
    upper = np.triu_indices(25, 1)
    wanted = spearmanr(1 - np.corrcoef(x)[upper], 1 - np.corrcoef(y)[upper]).statistic
    assert rsa(x, y) == pytest.approx(wanted)
    assert rsa(x, x) == pytest.approx(1)
    assert rsa(7 * x, y) == pytest.approx(wanted)


def test_rsa_of_a_sample_depends_on_the_seed_alone():
    x, y = related(6)
    assert rsa(x, y, items=50, seed=1) == rsa(x, y, items=50, seed=np.random.default_rng(1))
    assert rsa(x, y, items=50, seed=1) != rsa(x, y, items=50, seed=2)


def states(seed, layers=3, dim=4):
    """Hidden states in which each layer is near the one below."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.standard_normal((layers, sum(LENGTHS), dim)), 0).astype(np.float32)


def cache(make_cache, name, hidden, **more):
    return make_cache(
        name, hidden, LENGTHS, words=WORDS, labels=[0] * sum(OWN), classes=["O"], attention=None, **more
    )


def cells(rows, stage, metric):
    chosen = [row for row in rows if (row["stage"], row["metric"]) == (stage, metric)]
    return {(row["layer"], row["other_layer"]): row["value"] for row in chosen}


def test_every_pair_of_layers_within_and_across(make_cache):
    old, new = states(1), states(2, layers=2, dim=6)
    config = SimilarityConfig(measures=tuple(MEASURES))
    rows = compare_similarity(config, cache(make_cache, "old", old), cache(make_cache, "new", new))
    sides = {"before": (old, old), "after": (new, new), "across": (old, new)}
    for stage, (one, other) in sides.items():
        for metric, measure in MEASURES.items():
            found = cells(rows, stage, metric)
            assert set(found) == {(i, j) for i in range(len(one)) for j in range(len(other))}
            for (i, j), value in found.items():
                wanted = measure(one[i][OWN], other[j][OWN])
                assert value == pytest.approx(wanted, abs=1e-4), (stage, metric, i, j)
    assert {row["n"] for row in rows} == {OWN.sum()}
    assert {row["split"] for row in rows} == {"test"}
    assert len(rows) == 3 * (9 + 4 + 6)


def test_an_unchanged_model_has_ones_on_the_diagonal(make_cache):
    one, copy = (cache(make_cache, name, states(1)) for name in ("one", "copy"))
    rows = compare_similarity(SimilarityConfig(measures=tuple(MEASURES)), one, copy)
    for metric in MEASURES:
        within, across = (cells(rows, stage, metric) for stage in ("before", "across"))
        assert across == pytest.approx(within)
        assert [across[i, i] for i in range(3)] == pytest.approx([1, 1, 1])
        assert max(across[0, 2], across[0, 1]) < 0.999


def test_the_same_cache_twice_is_compared_within_alone(make_cache):
    one = cache(make_cache, "one", states(1))
    rows = compare_similarity(SimilarityConfig(measures=("rsa",), layers=(0, 2)), one, one)
    assert {row["stage"] for row in rows} == {"before"}
    assert set(cells(rows, "before", "rsa")) == {(0, 0), (0, 2), (2, 0), (2, 2)}


def test_a_sample_of_tokens_depends_on_the_seed(make_cache):
    one = cache(make_cache, "one", states(1))
    few = [
        compare_similarity(SimilarityConfig(tokens=10, items=5, seed=seed), one, one) for seed in (0, 0, 1)
    ]
    assert few[0] == few[1]
    assert few[0] != few[2]
    assert {(row["metric"], row["n"]) for row in few[0]} == {("linear_cka", 10), ("rsa", 5)}


def test_other_tokens_no_hidden_states_and_other_layers_are_refused(make_cache):
    one = cache(make_cache, "one", states(1))
    other = cache(make_cache, "other", states(1), input_ids=np.arange(len(WORDS)) + 1)
    with pytest.raises(InputError, match="same tokens"):
        compare_similarity(SimilarityConfig(), one, other)
    with pytest.raises(InputError, match="layer 3 is not in"):
        compare_similarity(SimilarityConfig(layers=(3,)), one, one)


def test_a_layer_that_tells_no_tokens_apart_is_like_no_other_and_has_no_row(make_cache):
    old, new = states(1), states(2)
    old[1] = 0.5
    config = SimilarityConfig(measures=tuple(MEASURES))
    with np.errstate(all="raise"):
        rows = compare_similarity(config, cache(make_cache, "old", old), cache(make_cache, "new", new))
    for metric in MEASURES:
        assert set(cells(rows, "before", metric)) == {(i, j) for i in (0, 2) for j in (0, 2)}
        assert set(cells(rows, "across", metric)) == {(i, j) for i in (0, 2) for j in (0, 1, 2)}
        assert len(cells(rows, "after", metric)) == 9
    assert np.isfinite([row["value"] for row in rows]).all()


def test_states_beyond_what_products_can_hold_are_refused(make_cache):
    with pytest.raises(InputError, match="so large that their products are not finite"):
        large = cache(make_cache, "large", 1e30 * states(1))
        compare_similarity(SimilarityConfig(measures=("linear_cka",)), large, large)
