"""Scores by example: the same value, those of resamples, and the file that they are kept in."""

import numpy as np
import pytest

from microtome.analysis.metrics import SCORES
from microtome.analysis.metrics.labels import (
    ClassLabels,
    NumberLabels,
    SetLabels,
    class_labels,
    number_labels,
    set_labels,
)
from microtome.analysis.metrics.metric import Sums
from microtome.analysis.metrics.scoring import score
from microtome.analysis.metrics.tags import TagLabels, tag_labels
from microtome.analysis.metrics.terms import (
    METRIC_TERMS,
    MetricTerms,
    ScoreKey,
    metric_terms,
    read_metric_terms,
    write_metric_terms,
)
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import InputError, StoreError

NAMES = ["a", "b", "c", "d"]
TYPES = ["DNA", "RNA"]
TAGS = ["O", "O", "B-DNA", "I-DNA", "B-RNA", "I-RNA"]
EXAMPLES = 12


def repeated(examples, side):
    """The labels of these examples; each side is a list of lists of unit labels."""
    return [label for example in examples for label in side[example]]


def grouped(examples, side):
    return np.repeat(np.arange(len(examples)), [len(side[example]) for example in examples])


def random_units(rng, draw):
    """Two sides of 12 examples of one to four units; half of the predictions are right."""
    sizes = rng.integers(1, 5, EXAMPLES)
    gold = [[draw() for _ in range(size)] for size in sizes]
    return gold, [[label if rng.random() < 0.5 else draw() for label in example] for example in gold]


def maker(form, rng):
    """A function from numbers of examples to the labels of these examples, in that order."""
    if form is NumberLabels:
        gold, predicted = random_units(rng, rng.normal)
        make = number_labels
        more = ()
    elif form is ClassLabels:
        gold, predicted = random_units(rng, lambda: NAMES[rng.integers(3)])
        make, more = class_labels, (NAMES,)
    elif form is SetLabels:
        gold, predicted = random_units(rng, lambda: tuple(n for n in NAMES[:3] if rng.random() < 0.4))
        make, more = set_labels, (NAMES,)
    else:
        gold, predicted = random_units(rng, lambda: [TAGS[i] for i in rng.integers(len(TAGS), size=4)])
        make, more = tag_labels, (TYPES,)
    return lambda examples: make(
        repeated(examples, gold), repeated(examples, predicted), *more, groups=grouped(examples, gold)
    )


SUMS = [
    (name, form)
    for name, entry in SCORES.items()
    if isinstance(entry.definition, Sums)
    for form in entry.labels
]


def test_all_forms_are_tried():
    assert {form for _, form in SUMS} == {ClassLabels, SetLabels, NumberLabels, TagLabels}


@pytest.mark.parametrize(("metric", "form"), SUMS, ids=lambda one: getattr(one, "__name__", one))
def test_a_resample_scores_as_the_metric_of_the_resampled_examples(metric, form):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        make = maker(form, rng)
        terms = metric_terms(metric, make(range(EXAMPLES)))
        assert len(terms.terms) == EXAMPLES
        assert terms.value() == pytest.approx(score(metric, make(range(EXAMPLES))), abs=1e-12)
        resamples = rng.integers(EXAMPLES, size=(5, EXAMPLES))
        counts = np.stack([np.bincount(of, minlength=EXAMPLES) for of in resamples]).astype(float)
        expected = [score(metric, make(of)) for of in resamples]
        assert terms.values(counts) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_a_resample_lacks_is_not_averaged():
    labels = class_labels(["a", "a", "b"], ["a", "b", "a"], NAMES)
    of_two = class_labels(["a", "a", "a"], ["a", "a", "b"], NAMES)
    values = metric_terms("macro_f1", labels).values(np.array([[2.0, 1.0, 0.0]]))
    assert values == pytest.approx([score("macro_f1", of_two)])


def test_examples_stand_in_the_order_of_their_names():
    labels = class_labels(["a", "a", "b"], ["a", "b", "a"], NAMES, groups=["z", "x", "x"])
    terms = metric_terms("accuracy", labels)
    assert terms.terms.tolist() == [[0, 2], [1, 1]]
    renamed = class_labels(["a", "a", "b"], ["a", "b", "a"], NAMES, groups=["z", "y", "y"])
    assert metric_terms("accuracy", renamed).examples != terms.examples
    assert metric_terms("accuracy", class_labels(["a"], ["a"], NAMES)).examples == ""


def test_a_sentence_without_words_is_an_example():
    labels = tag_labels([["B-DNA"], []], [["B-DNA"], []], TYPES, groups=["x", "y"])
    assert metric_terms("entity_f1", labels).terms.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_what_is_no_sum_over_examples_has_no_terms():
    labels = number_labels([1.0, 2.0], [1.0, 3.0])
    with pytest.raises(
        InputError, match="spearman is no formula of sums over examples, so it has no interval"
    ):
        metric_terms("spearman", labels)


def artifact_of(scores, root):
    """An artifact that holds these scores."""
    request = Request("probe", 1, {}, {}, "scores")
    with Store(root).begin(request) as staging:
        write_metric_terms(staging.path / METRIC_TERMS, scores)
    return Store(root).find(request)


def test_scores_come_back_from_a_file(tmp_path):
    gold, predicted = ["a", "b", "b"], ["a", "a", "b"]
    named = class_labels(gold, predicted, NAMES, groups=["1", "2", "3"])
    written = {
        ScoreKey(): metric_terms("accuracy", named),
        ScoreKey("linear", 0): metric_terms("macro_f1", class_labels(gold, predicted, NAMES)),
        ScoreKey("own/../probe é", 3): metric_terms("accuracy", named),
        ScoreKey("majority"): metric_terms("accuracy", named),
    }
    read = read_metric_terms(artifact_of(written, tmp_path / "one"))
    assert list(read) == list(written)
    for key, terms in written.items():
        np.testing.assert_array_equal(read[key].terms, terms.terms)
        assert (read[key].metric, read[key].examples) == (terms.metric, terms.examples)
        assert read[key].value() == terms.value()
    assert read[ScoreKey()].examples != ""
    assert read_metric_terms(artifact_of({}, tmp_path / "other")) == {}


def test_the_file_is_as_its_description_says(tmp_path):
    terms = MetricTerms("accuracy", np.array([[1.0, 2.0]]), "digest")
    write_metric_terms(tmp_path / METRIC_TERMS, {ScoreKey(): terms, ScoreKey("svm", 2): terms})
    with np.load(tmp_path / "metric_terms.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {
            "probe": ["", "svm"],
            "layer": [-1, 2],
            "metric": ["accuracy", "accuracy"],
            "examples": ["digest", "digest"],
            "terms_0": [[1.0, 2.0]],
            "terms_1": [[1.0, 2.0]],
        }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "metric_terms.npz is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "metric_terms.npz has"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "metric_terms.npz differs"),
    ],
)
def test_a_missing_and_a_damaged_file_are_one_line(tmp_path, damage, message):
    labels = class_labels(["a"], ["a"], NAMES)
    artifact = artifact_of({ScoreKey(): metric_terms("accuracy", labels)}, tmp_path)
    damage(artifact.path / METRIC_TERMS)
    with pytest.raises(
        StoreError, match=rf"^probe/scores-\w+: {message}.*microtome cache rm {artifact.id[:8]}$"
    ):
        read_metric_terms(artifact)
