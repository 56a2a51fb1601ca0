from collections import Counter
from itertools import pairwise

import pytest

from microtome.jobs.data.examples import Example
from microtome.jobs.data.fractions import fraction_subset, held_out, sample
from microtome.store.errors import InputError

STRATA = ["a"] * 70 + ["b"] * 20 + ["c"] * 10


def test_fractions_are_nested():
    subsets = [set(fraction_subset(STRATA, percent, seed=4)) for percent in (0, 3, 10, 30, 50, 99.5, 100)]
    for smaller, larger in pairwise(subsets):
        assert smaller <= larger
    assert [len(subset) for subset in subsets] == [0, 3, 10, 30, 50, 100, 100]


def test_fractions_are_stratified():
    for percent in (10, 30, 50):
        counts = Counter(STRATA[i] for i in fraction_subset(STRATA, percent, seed=1))
        for stratum, total in Counter(STRATA).items():
            assert abs(counts[stratum] - total * percent / 100) <= 1


def test_the_seed_decides():
    assert fraction_subset(STRATA, 30, seed=1) == fraction_subset(STRATA, 30, seed=1)
    assert fraction_subset(STRATA, 30, seed=1) != fraction_subset(STRATA, 30, seed=2)


def test_a_tiny_fraction_has_at_least_one_example():
    assert len(fraction_subset([0] * 50, 0.1, seed=0)) == 1


@pytest.mark.parametrize("percent", [-1, 100.5])
def test_no_percentage(percent):
    with pytest.raises(InputError, match="not a percentage"):
        fraction_subset(STRATA, percent, seed=0)


def test_a_smaller_sample_is_part_of_a_larger():
    assert sample(5, None, 0) == sample(5, 9, 0) == [0, 1, 2, 3, 4]
    small, large = sample(1000, 10, 3), sample(1000, 100, 3)
    assert set(small) < set(large)
    assert small == sorted(small)
    assert small != sample(1000, 10, 4)


def test_documents_are_held_out_whole_once_and_for_everybody():
    examples = [Example(f"{n}", ((f"x{n}",),), "a", document=f"d{n // 3}") for n in range(60)]
    splits = held_out(examples, {"dev": 0.1, "test": 0.25})
    documents = {split: {e.document for e in rows} for split, rows in splits.items()}
    assert {split: len(names) for split, names in documents.items()} == {"train": 13, "dev": 2, "test": 5}
    assert sum(map(len, splits.values())) == len(examples)
    assert not documents["train"] & documents["test"]
    assert [e for e in examples if e in splits["test"]] == splits["test"]
    assert held_out(examples, {"dev": 0.1, "test": 0.25}) == splits


def test_texts_that_are_the_same_are_held_out_together():
    """Of 300 texts each is there twice."""
    examples = [Example(f"{n}", ((f"text {n % 300}",),), "a") for n in range(600)]
    splits = held_out(examples, {"dev": 0.1, "test": 0.2})
    texts = {split: {example.texts for example in rows} for split, rows in splits.items()}
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 420, "dev": 60, "test": 120}
    assert not texts["train"] & (texts["dev"] | texts["test"])


def test_documents_that_share_a_text_are_held_out_together():
    """Three of every ten documents begin with the same sentence; all other sentences differ."""
    examples = [
        Example(
            f"{n}.{k}", ((f"{n // 10 if k == 0 and n % 10 < 3 else f'own {n} {k}'}",),), "a", document=f"d{n}"
        )
        for n in range(100)
        for k in range(3)
    ]
    splits = held_out(examples, {"dev": 0.1, "test": 0.2})
    texts = {split: {example.texts for example in rows} for split, rows in splits.items()}
    documents = {split: {example.document for example in rows} for split, rows in splits.items()}
    assert not texts["train"] & (texts["dev"] | texts["test"])
    assert not texts["dev"] & texts["test"]
    assert sum(len(names) for names in documents.values()) == 100  # no document is in two splits
    assert 10 <= len(documents["dev"]) <= 12
    assert 20 <= len(documents["test"]) <= 22


def test_sharing_a_text_goes_on_from_document_to_document():
    """Two documents that share nothing are held out together where both share a text with a third."""
    chain = [["a", "b"], ["b", "c"], ["c", "d"]]
    rest = [[f"own {n}"] for n in range(27)]
    examples = [
        Example(f"{n}.{k}", ((text,),), "a", document=f"d{n}")
        for n, texts in enumerate([*chain, *rest])
        for k, text in enumerate(texts)
    ]
    splits = held_out(examples, {"test": 0.5})
    sides = {split for split, rows in splits.items() for e in rows if e.document in ("d0", "d1", "d2")}
    assert len(sides) == 1


def test_a_group_that_is_larger_than_a_split_stays_in_train():
    """Half of the documents end with the same sentence: they are trained on, whatever the order."""
    examples = [Example(f"{n}", ((f"own {n}",),), "a", document=f"d{n}") for n in range(100)]
    examples += [Example(f"{n} end", (("the end",),), "a", document=f"d{n}") for n in range(0, 100, 2)]
    for seed in range(20):
        splits = held_out(examples, {"dev": 0.1, "test": 0.2}, seed)
        documents = {split: {e.document for e in rows} for split, rows in splits.items()}
        assert {split: len(names) for split, names in documents.items()} == {
            "train": 70,
            "dev": 10,
            "test": 20,
        }
        assert {f"d{n}" for n in range(0, 100, 2)} <= documents["train"]
