import numpy as np
import pytest

from microtome.analysis.probing.model_selection import Choice, best_strength
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig

GRID = (0.01, 0.1, 1.0, 10.0)


def quality_with_its_peak_at(peak):
    return lambda strength: -abs(np.log10(strength) - np.log10(peak))


@pytest.mark.parametrize(
    ("peak", "choice"),
    [
        (0.1, Choice(0.1)),
        (10, Choice(10)),  # the end, and one more step is worse
        (0.01, Choice(0.01)),
        (100, Choice(100, at_the_end=True)),
        (0.001, Choice(0.001, at_the_end=True)),
        (1e6, Choice(100, at_the_end=True)),  # one step, not more
    ],
)
def test_one_more_step_is_taken_beyond_the_end_of_a_grid(peak, choice):
    assert best_strength(GRID, quality_with_its_peak_at(peak)) == choice
    assert best_strength(GRID[::-1], quality_with_its_peak_at(peak)) == choice


def test_of_equally_good_strengths_the_smallest_is_taken_unless_more_is_better_still():
    assert best_strength(GRID, lambda strength: 0.5) == Choice(0.01)
    assert best_strength(GRID, lambda strength: float(strength > 50)) == Choice(100, at_the_end=True)


def test_one_strength_is_no_choice():
    assert best_strength((3.0,), lambda strength: strength) == Choice(3.0)


def texts(make_cache, name, seed, examples=200, words=8, vocabulary=60):
    """Texts whose class is which of two words is more frequent in them; their states are noise."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocabulary, (examples, words))
    labels = (ids < vocabulary // 2).sum(axis=1) > words / 2
    return make_cache(
        name,
        rng.normal(size=(1, examples * words, 60)).astype(np.float32),
        [words] * examples,
        words=list(range(words)) * examples,
        labels=labels.astype(int),
        unit="text",
        classes=["rare", "often"],
        input_ids=ids.ravel(),
    )


def test_the_bag_has_a_wide_grid_of_its_own(make_cache):
    train, dev, test = (texts(make_cache, name, seed) for seed, name in enumerate("abc"))
    settings = {"codelength": False, "controls": False}

    def accuracy(**more):
        rows = probe(ProbeConfig(**settings, **more), train, test, dev).rows
        bag = {row["metric"]: row["value"] for row in rows if row["probe"] == "bag-of-words"}
        return bag["accuracy"], bag["strength"], bag.get("strength_at_end")

    weak = accuracy(bag_strengths=(1e-3, 1e-2))
    assert weak[1:] == (0.1, 1)  # one more step was taken, and told
    fair = accuracy()
    assert 0.01 <= fair[1] <= 1000
    assert fair[0] > weak[0]


def test_an_end_of_the_grid_is_told(make_cache):
    train, dev = texts(make_cache, "a", 1), texts(make_cache, "b", 2)
    lines = []
    config = ProbeConfig(strengths=(0.1, 1.0), controls=False, baselines=False, codelength=False)
    rows = probe(config, train, dev, dev, lines.append).rows
    assert {row["metric"]: row["value"] for row in rows}["strength"] == 0.01  # less is better for noise
    assert [row["layer"] for row in rows if row["metric"] == "strength_at_end"] == [0]
    assert any("layer 0: the strength 0.01, one step beyond its grid" in line for line in lines)
