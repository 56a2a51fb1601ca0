import numpy as np
import pytest

from microtome.analysis.metrics import scores as metrics
from microtome.analysis.metrics.terms import read_summed, summed, write_summed
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import InputError, StoreError
from microtome.store.results import SUMMED

TYPES = ["DNA", "RNA"]
TAGS = ["O", "O", "B-DNA", "I-DNA", "B-RNA", "I-RNA"]
NAMES = ["a", "b", "c", "d"]  # d never occurs
SEEDS = range(5)


def sentences(rng, like=None):
    """Random tags; with `like` of the same lengths, half of them copied."""
    lengths = [len(tags) for tags in like] if like else rng.integers(1, 9, 30)
    drawn = [[TAGS[i] for i in rng.integers(len(TAGS), size=n)] for n in lengths]
    if like is None:
        return drawn
    pairs = zip(drawn, like, strict=True)
    return [[a if rng.random() < 0.5 else b for a, b in zip(*pair, strict=True)] for pair in pairs]


def labels(rng, n=60):
    return [NAMES[i] for i in rng.integers(3, size=n)]


def sets(rng, n=60):
    return [tuple(name for name in NAMES[:3] if rng.random() < 0.3) for _ in range(n)]


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_tagged_sentences(seed):
    rng = np.random.default_rng(seed)
    gold = sentences(rng)
    predicted = sentences(rng, like=gold)
    scores = metrics.entity_scores(gold, predicted) | metrics.merged_token_scores(gold, predicted, TYPES)
    assert scores["entity_f1"] not in (0, 1)
    for metric, value in scores.items():
        score = summed(metric, gold, predicted, classes=TYPES)
        assert score.value() == pytest.approx(value, abs=1e-9), metric
        assert len(score.terms) == len(gold)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_words(seed):
    rng = np.random.default_rng(seed)
    gold, predicted = rng.integers(3, size=80).tolist(), rng.integers(1, 4, size=80).tolist()
    sentence = np.sort(rng.integers(12, size=80))
    for metric, value in metrics.token_scores(gold, predicted, range(5)).items():
        score = summed(metric, gold, predicted, classes=range(5), groups=sentence)
        assert score.value() == pytest.approx(value, abs=1e-9), metric
        assert len(score.terms) == len(set(sentence))


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_one_class_per_example(seed):
    rng = np.random.default_rng(seed)
    gold, predicted = labels(rng), [NAMES[i] for i in rng.integers(4, size=60)]
    for metric, value in metrics.class_scores(gold, predicted).items():
        assert summed(metric, gold, predicted).value() == pytest.approx(value, abs=1e-9), metric
    positive = ["b", "c", "d"]
    for metric, value in metrics.relation_scores(gold, predicted, positive).items():
        score = summed(metric, gold, predicted, classes=positive)
        assert score.value() == pytest.approx(value, abs=1e-9), metric


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_sets_of_classes(seed):
    rng = np.random.default_rng(seed)
    gold, predicted = sets(rng), sets(rng)
    arrays = [metrics.indicators(side, NAMES) for side in (gold, predicted)]
    for metric, value in metrics.multi_label_scores(gold, predicted, NAMES).items():
        assert summed(metric, gold, predicted, classes=NAMES).value() == pytest.approx(value, abs=1e-9), (
            metric
        )
        assert summed(metric, *arrays).value() == pytest.approx(value, abs=1e-9), metric


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_documents(seed):
    rng = np.random.default_rng(seed)
    gold, predicted = sets(rng), sets(rng)
    documents = [f"d{i}" for i in rng.integers(20, size=60)]
    for metric, value in metrics.example_scores(gold, predicted, documents).items():
        score = summed(metric, gold, predicted, groups=documents)
        assert score.value() == pytest.approx(value, abs=1e-9), metric
        assert len(score.terms) == len(set(documents))
    alone = metrics.example_scores(gold, predicted, [str(row) for row in range(60)])["example_f1"]
    assert summed("example_f1", gold, predicted).value() == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_correlation_of_numbers(seed):
    rng = np.random.default_rng(seed)
    gold = 1000 + rng.normal(size=50)
    predicted = 0.001 * gold + 0.001 * rng.normal(size=50)
    value = metrics.regression_scores(gold.tolist(), predicted.tolist())["pearson"]
    assert summed("pearson", gold, predicted).value() == pytest.approx(value, abs=1e-9)
    assert summed("spearman", gold, predicted) is None


def test_scores_of_nothing_right_and_of_constants_are_zero():
    nothing = [["O", "O"], ["O"]]
    for metric in metrics.entity_scores(nothing, nothing):
        assert summed(metric, nothing, [["B-DNA", "O"], ["O"]]).value() == 0
    assert summed("pearson", [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).value() == 0
    for metric in ("micro_f1", "macro_f1"):
        assert summed(metric, ["a", "a"], ["a", "a"], classes=["b"]).value() == 0


def test_a_resample_scores_as_the_metric_of_the_resampled_examples():
    rng = np.random.default_rng(0)
    gold = sentences(rng)
    predicted = sentences(rng, like=gold)
    counts = np.bincount(rng.integers(len(gold), size=len(gold)), minlength=len(gold))
    again = [[side[i] for i, n in enumerate(counts) for _ in range(n)] for side in (gold, predicted)]
    expected = metrics.entity_scores(*again) | metrics.merged_token_scores(*again, TYPES)
    for metric, value in expected.items():
        found = summed(metric, gold, predicted, classes=TYPES).values(counts[None].astype(float))
        assert found == pytest.approx([value], abs=1e-9), metric


def test_a_class_that_a_resample_lacks_is_not_averaged():
    gold, predicted = ["a", "a", "b"], ["a", "b", "a"]
    counts = np.array([[2.0, 1.0, 0.0]])
    expected = metrics.class_scores(["a", "a", "a"], ["a", "a", "b"])["macro_f1"]
    assert summed("macro_f1", gold, predicted).values(counts) == pytest.approx([expected])


def test_classes_that_are_needed_and_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="micro_f1 needs the classes"):
        summed("micro_f1", ["a"], ["a"])
    with pytest.raises(InputError, match="1 units, but 2 in groups"):
        summed("accuracy", ["a"], ["a"], groups=[0, 1])
    with pytest.raises(InputError, match="1 names for 2 examples"):
        summed("accuracy", ["a", "b"], ["a", "b"], ids=["x"])


def artifact_of(scores, root):
    """An artifact that holds these scores."""
    request = Request("probe", 1, {}, {}, "scores")
    with Store(root).begin(request) as staging:
        write_summed(staging.path / SUMMED, scores)
    return Store(root).find(request)


def test_scores_come_back_from_a_file(tmp_path):
    gold, predicted = ["a", "b", "b"], ["a", "a", "b"]
    scores = {
        "accuracy": summed("accuracy", gold, predicted, ids=["1", "2", "3"]),
        "3/../macro_f1 é": summed("macro_f1", gold, predicted),
    }
    found = read_summed(artifact_of(scores, tmp_path / "one"))
    assert list(found) == list(scores)
    for name, score in scores.items():
        np.testing.assert_array_equal(found[name].terms, score.terms)
        assert (found[name].metric, found[name].examples) == (score.metric, score.examples)
        assert found[name].value() == score.value()
    assert found["accuracy"].examples != ""
    assert read_summed(artifact_of({}, tmp_path / "other")) == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "summed.npz is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "summed.npz has"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "summed.npz differs"),
    ],
)
def test_a_missing_and_a_damaged_file_are_one_line(tmp_path, damage, said):
    artifact = artifact_of({"accuracy": summed("accuracy", ["a"], ["a"])}, tmp_path)
    damage(artifact.path / SUMMED)
    with pytest.raises(
        StoreError, match=rf"^probe/scores-\w+: {said}.*microtome cache rm {artifact.id[:8]}$"
    ):
        read_summed(artifact)
