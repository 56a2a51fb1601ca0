"""Every score against the library that defines it, over thousands of small random cases.

Small cases meet the edges: no gold entity, no prediction, I- that goes on with nothing, one class, one unit,
constant numbers.
"""

import warnings

import numpy as np
import pytest
from scipy import stats
from seqeval.metrics import f1_score as f1_of_entities
from seqeval.metrics.v1 import precision_recall_fscore_support as of_entities
from seqeval.scheme import IOB2, Entities
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics import precision_recall_fscore_support as of_classes

from microtome.analysis.metrics.labels import class_labels, number_labels, set_labels
from microtome.analysis.metrics.scoring import by_class, score, scores
from microtome.analysis.metrics.tags import tag_labels

CASES = 500
FEWER = 250  # where scikit-learn takes milliseconds for each
TYPES = ["DNA", "RNA"]
TAGS = ["O", "B-DNA", "I-DNA", "B-RNA", "I-RNA"]
NAMES = ["a", "b", "c", "d"]


def agree(ours, theirs):
    assert ours.keys() == theirs.keys()
    for metric, value in theirs.items():
        assert ours[metric] == pytest.approx(value, abs=1e-12), metric


@pytest.fixture(autouse=True)
def quiet():
    """The libraries warn of every division by nothing, which is what these cases are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def strict(gold, predicted):
    """Precision, recall, F1 of seqeval; it is not defined without gold entities, and ours is 0 there."""
    if not any(tag != "O" for tags in gold for tag in tags):
        return 0.0, 0.0, 0.0
    options = {"average": "micro", "scheme": IOB2, "zero_division": 0}
    return tuple(float(value) for value in of_entities(gold, predicted, **options)[:3])


def lenient(gold, predicted):
    """F1 of seqeval in its default mode, which is that of conlleval."""
    return float(f1_of_entities(gold, predicted, average="micro", zero_division=0))


def relaxed(gold, predicted):
    """F1 of the share of predicted entities that touch a gold one of their type, and the other way round."""

    def share(side, other):
        pairs = list(zip(side, other, strict=True))
        touched = [any(touch(e, o) for o in others) for entities, others in pairs for e in entities]
        return np.mean(touched) if touched else 0.0

    def touch(one, other):
        return one.tag == other.tag and one.start < other.end and other.start < one.end

    sides = [Entities(side, IOB2).entities for side in (gold, predicted)]
    precision, recall = share(sides[1], sides[0]), share(sides[0], sides[1])
    return 2 * precision * recall / max(precision + recall, 1e-300)


def random_tags(rng, like=None):
    """One to four sentences of IOB2 tags, as strict as a model that knows no rule."""
    lengths = [len(tags) for tags in like] if like else rng.integers(1, 7, rng.integers(1, 5))
    weights = rng.dirichlet(np.full(len(TAGS), 0.7))
    sentences = [[TAGS[i] for i in rng.choice(len(TAGS), size=n, p=weights)] for n in lengths]
    if like is None or rng.random() < 0.2:
        return sentences
    pairs = zip(sentences, like, strict=True)
    return [[a if rng.random() < 0.4 else b for a, b in zip(*pair, strict=True)] for pair in pairs]


def tagged_cases():
    rng = np.random.default_rng(0)
    nothing = [["O", "O"], ["O"]]
    full = [["B-DNA", "I-DNA"], ["B-RNA"]]
    loose = [["I-DNA", "I-RNA"], ["I-DNA"]]
    for gold in (nothing, full, loose):
        for predicted in (nothing, full, loose):
            yield gold, predicted
    for _ in range(CASES):
        gold = random_tags(rng)
        yield gold, random_tags(rng, like=gold)


def test_entities_are_those_of_seqeval():
    values = set()
    for gold, predicted in tagged_cases():
        labels = tag_labels(gold, predicted, TYPES)
        precision, recall, f1 = strict(gold, predicted)
        untyped = [[[t[0] + "-x" * (t != "O") for t in tags] for tags in side] for side in (gold, predicted)]
        expected = {
            "entity_f1": f1,
            "entity_precision": precision,
            "entity_recall": recall,
            "entity_f1_untyped": strict(*untyped)[2],
        }
        agree(scores(expected, labels), expected)
        values.add(f1)
    assert {0.0, 1.0} < values


def test_lenient_entities_are_those_of_seqeval_by_default():
    differ = 0
    for gold, predicted in tagged_cases():
        ours = scores(["entity_f1", "entity_f1_lenient"], tag_labels(gold, predicted, TYPES))
        assert ours["entity_f1_lenient"] == pytest.approx(lenient(gold, predicted), abs=1e-12)
        differ += ours["entity_f1_lenient"] != ours["entity_f1"]
    assert differ > CASES / 4


def test_relaxed_entities_are_those_that_touch_and_are_never_fewer_than_the_exact_ones():
    more = 0
    for gold, predicted in tagged_cases():
        ours = scores(["entity_f1", "entity_f1_relaxed"], tag_labels(gold, predicted, TYPES))
        assert ours["entity_f1_relaxed"] == pytest.approx(relaxed(gold, predicted), abs=1e-12)
        assert ours["entity_f1_relaxed"] >= ours["entity_f1"] - 1e-12
        more += ours["entity_f1_relaxed"] > ours["entity_f1"]
    assert more > CASES / 10


def test_entities_of_classes_of_words_are_runs_of_a_class():
    names = ["entity_f1_lenient", "entity_f1_relaxed"]
    for gold, predicted in tagged_cases():
        runs = [[[f"I-{t[2:]}" if t != "O" else t for t in tags] for tags in s] for s in (gold, predicted)]
        flat = [["O" if t == "O" else t[2:] for tags in side for t in tags] for side in (gold, predicted)]
        groups = np.repeat(np.arange(len(gold)), [len(tags) for tags in gold])
        ours = scores(names, class_labels(*flat, ["O", *TYPES], groups=groups))
        assert ours["entity_f1_lenient"] == pytest.approx(lenient(*runs), abs=1e-12)
        assert ours["entity_f1_relaxed"] >= ours["entity_f1_lenient"] - 1e-12


def test_entities_of_a_type_are_those_of_seqeval_without_the_other_types():
    for gold, predicted in tagged_cases():
        table = by_class(tag_labels(gold, predicted, TYPES))
        for kind in TYPES:
            sides = [[[t if t[2:] == kind else "O" for t in tags] for tags in s] for s in (gold, predicted)]
            precision, recall, f1 = strict(*sides)
            support = sum(tag == f"B-{kind}" for tags in gold for tag in tags)
            agree(
                table[kind],
                {
                    "class_precision": precision,
                    "class_recall": recall,
                    "class_f1": f1,
                    "class_support": support,
                },
            )


def test_words_of_tags_are_those_of_scikit_learn():
    for gold, predicted in tagged_cases():
        flat = [["O" if t == "O" else t[2:] for tags in side for t in tags] for side in (gold, predicted)]
        present = sorted(set(flat[0]) | set(flat[1]))
        expected = {
            f"token_{average}_f1": f1_score(*flat, average=average, labels=present, zero_division=0)
            for average in ("macro", "micro")
        }
        agree(scores(expected, tag_labels(gold, predicted, TYPES)), expected)
        of_words = class_labels(*flat, ["O", *TYPES])
        agree(scores(expected, of_words), expected)


def class_cases():
    """Gold and predicted names; one of few units, often of one class only."""
    rng = np.random.default_rng(1)
    for _ in range(FEWER):
        weights = rng.dirichlet(np.full(len(NAMES), 0.5), size=2)
        units = rng.integers(1, 12)
        yield tuple([NAMES[i] for i in rng.choice(len(NAMES), size=units, p=w)] for w in weights)


def table_of(values, classes):
    columns = ("class_precision", "class_recall", "class_f1", "class_support")
    return {
        name: {column: float(value[number]) for column, value in zip(columns, values, strict=True)}
        for number, name in enumerate(classes)
    }


def test_one_class_per_unit_is_that_of_scikit_learn():
    for gold, predicted in class_cases():
        labels = class_labels(gold, predicted, NAMES)
        options = {"labels": sorted(set(gold)), "zero_division": 0}
        expected = {
            "accuracy": accuracy_score(gold, predicted),
            "macro_f1": f1_score(gold, predicted, average="macro", **options),
            "weighted_f1": f1_score(gold, predicted, average="weighted", **options),
        }
        agree(scores(expected, labels), expected)
        table = table_of(of_classes(gold, predicted, labels=NAMES, zero_division=0), NAMES)
        for name, row in by_class(labels).items():
            agree(row, table[name])
        numbers = [np.array([NAMES.index(name) for name in side]) for side in (gold, predicted)]
        agree(scores(expected, class_labels(*numbers, NAMES)), expected)


def test_relations_are_those_of_scikit_learn_over_the_positive_classes():
    for gold, predicted in class_cases():
        labels = class_labels(gold, predicted, NAMES, first_counted=1)
        positive = NAMES[1:]
        precision, recall, f1, _ = of_classes(
            gold, predicted, labels=positive, average="micro", zero_division=0
        )
        occurring = [name for name in positive if name in gold]
        macro = f1_score(gold, predicted, labels=occurring, average="macro", zero_division=0)
        expected = {
            "micro_f1": f1,
            "micro_precision": precision,
            "micro_recall": recall,
            "macro_f1": macro if occurring else 0.0,
            "accuracy": accuracy_score(gold, predicted),
        }
        agree(scores(expected, labels), expected)


def set_cases():
    """Zeros and ones [units, classes], some of them empty on one side or both."""
    rng = np.random.default_rng(2)
    for _ in range(FEWER):
        shape = rng.integers(1, 10), len(NAMES)
        shares = rng.choice([0, 0.2, 0.5, 1], size=2, p=[0.1, 0.4, 0.4, 0.1])
        yield tuple((rng.random(shape) < share).astype(np.uint8) for share in shares)


def test_sets_of_classes_are_those_of_scikit_learn():
    for gold, predicted in set_cases():
        expected = {
            f"{average}_f1": f1_score(gold, predicted, average=average, zero_division=0)
            for average in ("micro", "macro", "weighted")
        }
        expected["samples_f1"] = f1_score(gold, predicted, average="samples", zero_division=1)
        expected["exact_match"] = accuracy_score(gold, predicted)
        precision, recall, _, _ = of_classes(gold, predicted, average="micro", zero_division=0)
        expected |= {"micro_precision": precision, "micro_recall": recall}
        labels = set_labels(gold, predicted, NAMES)
        agree(scores(expected, labels), expected)
        named = [[[NAMES[i] for i in np.flatnonzero(row)] for row in side] for side in (gold, predicted)]
        agree(scores(expected, set_labels(*named, NAMES)), expected)
        table = table_of(of_classes(gold, predicted, average=None, zero_division=0), NAMES)
        for name, row in by_class(labels).items():
            agree(row, table[name])


def of_documents(gold, predicted, documents):
    """The definition of BLUE, document by document."""
    sides = []
    for side in (gold, predicted):
        sides.append({name: set() for name in documents})
        for row, name in zip(side, documents, strict=True):
            sides[-1][name] |= set(np.flatnonzero(row))
    rows = []
    for name in sides[0]:
        true, guessed = sides[0][name], sides[1][name]
        if true:  # BLUE has no others
            both = len(true & guessed)
            rows.append((both / len(guessed) if guessed else 0, both / len(true)))
    precision, recall = np.mean(rows, axis=0) if rows else (0.0, 0.0)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"example_f1": f1, "example_precision": precision, "example_recall": recall}


def test_documents_are_those_of_their_rows_together():
    rng = np.random.default_rng(3)
    for gold, predicted in set_cases():
        documents = [f"d{number}" for number in rng.integers(4, size=len(gold))]
        expected = of_documents(gold, predicted, documents)
        agree(scores(expected, set_labels(gold, predicted, NAMES, groups=documents)), expected)
        rows = of_documents(gold, predicted, range(len(gold)))
        agree(scores(rows, set_labels(gold, predicted, NAMES)), rows)


def number_cases():
    rng = np.random.default_rng(4)
    for _ in range(CASES):
        units = rng.integers(3, 30)
        gold = rng.choice(
            [rng.normal(size=units), rng.integers(3, size=units), 1000 + rng.normal(size=units)]
        )
        noise = rng.normal(size=units) * rng.choice([0, 0.1, 10])
        yield gold, rng.choice([-2.0, 1.0, 0.001]) * gold + noise


def test_correlations_are_those_of_scipy():
    for gold, predicted in number_cases():
        if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
            continue
        expected = {
            "pearson": stats.pearsonr(gold, predicted).statistic,
            "spearman": stats.spearmanr(gold, predicted).statistic,
        }
        agree(scores(expected, number_labels(gold, predicted)), expected)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, 1e-300])
def test_a_correlation_with_a_constant_is_zero(metric, constant):
    varied = [0.3, 0.1, 0.2]
    assert score(metric, number_labels([constant] * 3, varied)) == 0
    assert score(metric, number_labels(varied, [constant] * 3)) == 0
    assert score(metric, number_labels([], [])) == 0
