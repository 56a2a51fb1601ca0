import numpy as np
import pytest

from microtome.analysis.units import units
from microtome.store.errors import InputError

# two sentences: [CLS] w0 w1 w1 [SEP] | [CLS] w0 w0 [SEP]   (w2 of the second was truncated)
LENGTHS = [5, 4]
WORDS = [-1, 0, 1, 1, -1, -1, 0, 0, -1]
ENDS = ("first", "last")
HIDDEN = np.arange(9, dtype=np.float32)[None, :, None] * np.ones((2, 1, 3), np.float32)


@pytest.fixture
def words(make_cache):
    return make_cache(
        "words",
        HIDDEN,
        LENGTHS,
        words=WORDS,
        labels=[0, 2, 1, 0],
        words_per_example=[2, 2],
        classes=["O", "B-Gene", "I-Gene"],
    )


@pytest.mark.parametrize(
    ("pooling", "wanted"), [("mean", [1, 2.5, 6.5]), ("first", [1, 2, 6]), ("last", [1, 3, 7])]
)
def test_subwords_are_pooled_to_words_without_special_tokens(words, pooling, wanted):
    found = units(words, pooling)
    np.testing.assert_array_equal(found.features(words.hidden(1)), np.outer(wanted, np.ones(3)))


def test_labels_belong_to_their_words_merged_and_without_truncated_ones(words):
    found = units(words)
    assert found.classes == ("O", "Gene")
    assert found.y.tolist() == [0, 1, 1]


def test_pairs_are_the_means_of_their_segments(make_cache):
    cache = make_cache(
        "pairs",
        HIDDEN,
        LENGTHS,
        words=[-1, 0, 1, 2, -1, -1, 0, 1, -1],
        segments=[0, 0, 0, 1, 1, 0, 0, 0, 0],
        labels=[1, 0],
        unit="segment_pair",
        classes=["no", "yes"],
    )
    found = units(cache)
    assert found.y.tolist() == [1, 0]
    features = found.features(cache.hidden(0))
    np.testing.assert_array_equal(features[0], [1.5] * 3 + [3] * 3)
    np.testing.assert_array_equal(features[1], [6.5] * 3 + [0] * 3)  # an empty second text is zeros


def test_a_text_is_the_mean_of_its_own_tokens(make_cache):
    labels = [[1, 0, 1], [0, 0, 0]]
    cache = make_cache(
        "texts",
        HIDDEN**2,
        LENGTHS,
        words=WORDS,
        labels=labels,
        label_dtype=np.uint8,
        unit="text",
        classes="abc",
    )
    found = units(cache)
    own = [(1 + 4 + 9) / 3, (36 + 49) / 2]  # what no mean over special tokens too would give
    np.testing.assert_allclose(found.features(cache.hidden(1)), np.outer(own, np.ones(3)), rtol=1e-6)
    ends = {pooling: units(cache, pooling).features(cache.hidden(1))[:, 0].tolist() for pooling in ENDS}
    assert ends == {"first": [0, 25], "last": [16, 64]}  # those of the sequence, special ones included
    everything = units(cache, "mean-all").features(cache.hidden(1))[:, 0]
    np.testing.assert_allclose(everything, [(1 + 4 + 9 + 16) / 5, (25 + 36 + 49 + 64) / 4], rtol=1e-6)
    assert found.y.tolist() == labels


def test_the_texts_of_a_pair_may_be_means_over_special_tokens_too(make_cache):
    cache = make_cache(
        "pairs", HIDDEN**2, LENGTHS, words=WORDS, labels=[1, 0], unit="segment_pair", classes=["yes", "no"]
    )
    plain, everything = (units(cache, pooling).features(cache.hidden(0)) for pooling in ("mean", "mean-all"))
    segments = [
        cache.segment_ids[start:stop] for start, stop in zip(cache.offsets, cache.offsets[1:], strict=False)
    ]
    values = [np.asarray(cache.hidden(0, example))[:, 0] for example in range(2)]
    for example in range(2):
        for side in range(2):
            own = segments[example] == side
            expected = values[example][own].mean() if own.any() else 0
            assert everything[example, 3 * side] == pytest.approx(expected, rel=1e-3)
    assert not np.allclose(plain, everything)


def test_words_have_no_special_tokens_to_pool(words):
    with pytest.raises(InputError, match="pooling mean-all is of texts"):
        units(words, "mean-all")


def test_a_pair_of_mentions_is_two_means_that_may_share_words(make_cache):
    cache = make_cache(
        "mentions",
        HIDDEN,
        LENGTHS,
        words=WORDS,
        spans=[[[1, 2], [0, 1]], [[0, 1], [0, 1]]],
        labels=[1, 0],
        unit="entity_pair",
        classes=["none", "some"],
    )
    features = units(cache).features(cache.hidden(0))
    np.testing.assert_array_equal(features, np.repeat([[2.5, 1], [6.5, 6.5]], 3, axis=1))


def relations(make_cache, spans):
    hidden = np.arange(2 * 12 * 3, dtype=np.float32).reshape(2, 12, 3)
    words = [-1, 0, 1, -1] * 3
    return make_cache(
        "cut", hidden, [4, 4, 4], words=words, spans=spans, labels=[1, 0, 1], unit="entity_pair",
        classes=["none", "some"], words_per_example=[5, 5, 5],
    )  # fmt: skip


def test_a_relation_of_which_a_mention_was_cut_off_is_no_unit(make_cache):
    """Of the second example the second mention lies beyond its last token."""
    cache = relations(make_cache, [[[0, 1], [1, 2]], [[0, 1], [4, 5]], [[1, 2], [0, 1]]])
    pairs = units(cache)
    assert (pairs.left_out, pairs.y.tolist(), pairs.groups.tolist()) == (1, [1, 1], [0, 2])
    hidden = cache.hidden(0)
    sides = [np.concatenate([hidden[1], hidden[2]]), np.concatenate([hidden[10], hidden[9]])]
    np.testing.assert_array_equal(pairs.features(hidden)[:, :6], sides)
    assert pairs.bag(12).shape == (2, 24)
    assert (pairs.bag(12).sum(axis=1) == 2).all()


def test_relations_that_are_all_cut_are_refused(make_cache):
    with pytest.raises(InputError, match="no example has both its mentions within max_length"):
        units(relations(make_cache, [[[0, 1], [4, 5]]] * 3))


def test_numbers_stay_numbers(make_cache):
    cache = make_cache(
        "scores",
        HIDDEN,
        LENGTHS,
        words=WORDS,
        labels=[0.5, 3.25],
        label_dtype=np.float32,
        unit="segment_pair",
        classes=["score"],
    )
    assert units(cache).y.tolist() == [0.5, 3.25]
    assert units(cache).y.dtype == np.float32


@pytest.mark.parametrize(
    ("unit", "labels", "more"),
    [
        ("word", [0, 1, 1], {"words_per_example": [2, 1]}),
        ("text", [0, 1], {}),
        ("segment_pair", [0, 1], {}),
        ("entity_pair", [0, 1], {"spans": [[[0, 1], [0, 1]]] * 2}),
    ],
)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_features_that_are_the_same_for_all_units_are_refused(make_cache, unit, labels, more, value):
    hidden = np.full((2, 9, 3), value, np.float32)
    hidden[1, 6:] += 1  # only the last layer tells the second example from the first
    words = [-1, 0, 1, 1, -1, -1, 0, 0, -1]
    cache = make_cache(
        "same", hidden, LENGTHS, words=words, labels=labels, unit=unit, classes=["O", "B-a"], **more
    )
    found = units(cache)
    assert len(np.unique(found.features(cache.hidden(1)), axis=0)) == 2
    what = "zero" if value == 0 else "one and the same"
    with pytest.raises(InputError, match=f"same.*: the features of all . units are {what}, so a probe"):
        found.features(cache.hidden(0))


def test_features_that_differ_by_rounding_alone_are_the_same(make_cache):
    hidden = np.full((1, 9, 3), 1.5, np.float32)
    hidden[0, 6:] += 1.5 / 1024
    cache = make_cache("round", hidden, LENGTHS, words=WORDS, labels=[0, 1], unit="text", classes="ab")
    with pytest.raises(InputError, match="one and the same"):
        units(cache).features(cache.hidden(0))


def test_a_cache_of_relations_without_mentions_is_refused(make_cache):
    cache = make_cache(
        "blind", HIDDEN, LENGTHS, words=WORDS, labels=[1, 0], unit="entity_pair", classes=["none", "some"]
    )
    with pytest.raises(InputError, match="no example says where its two mentions are; set marks"):
        units(cache)
