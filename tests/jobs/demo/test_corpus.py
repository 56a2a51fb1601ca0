"""The synthetic corpus: fixed by its seed, well formed, balanced, not solved by hypotheses alone."""

from collections import Counter
from itertools import pairwise

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from microtome.jobs.demo import corpus
from microtome.jobs.demo.names import EVERYDAY
from microtome.jobs.demo.templates import Tagged
from microtome.jobs.demo.trials import INCREASED, LABELS, REDUCED

DRAWS = [corpus.general_text, corpus.biomedical_text, corpus.ner_sentences, corpus.nli_pairs]


def mentions(tagged: list[Tagged]) -> list[tuple[str, str]]:
    """(name, type) of every mention; fails on tags that are not IOB2."""
    found: list[tuple[list[str], str]] = []
    for words, tags in tagged:
        previous = "O"
        for word, tag in zip(words, tags, strict=True):
            if tag.startswith("B-"):
                found.append(([word], tag[2:]))
            elif tag.startswith("I-"):
                assert previous[2:] == tag[2:], f"{tag} after {previous} in {words}"
                found[-1][0].append(word)
            else:
                assert tag == "O"
            previous = tag
    return [(" ".join(name), kind) for name, kind in found]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_fixes_the_draw(draw):
    assert draw(25, 3) == draw(25, 3)
    assert len(draw(25, 3)) == 25


@pytest.mark.parametrize("draw", DRAWS)
def test_another_seed_gives_other_rows(draw):
    first, second = set(draw(300, 1)), set(draw(300, 2))
    assert len(first & second) < 0.05 * len(second)


def test_every_slot_of_every_text_is_filled():
    texts = corpus.general_text(200, 0) + corpus.biomedical_text(200, 0)
    texts += [part for premise, hypothesis, _ in corpus.nli_pairs(300, 0) for part in (premise, hypothesis)]
    assert not [text for text in texts if "{" in text or "}" in text]
    assert all(text.endswith(".") for text in texts)


def test_tags_are_iob2_of_the_three_types_with_long_and_adjacent_mentions():
    tagged = corpus.ner_sentences(400, 0)
    found = mentions(tagged)
    assert {kind for _, kind in found} == {"Gene", "Chemical", "Disease"}
    assert min(Counter(kind for _, kind in found).values()) > 80
    assert sum(" " in name for name, _ in found) > 0.2 * len(found)
    pairs = [pair for _, tags in tagged for pair in pairwise(tags)]
    assert any(left != "O" and right.startswith("B-") for left, right in pairs)


def test_some_sentences_name_nothing_and_some_name_several():
    counts = Counter(sum(tag.startswith("B-") for tag in tags) for _, tags in corpus.ner_sentences(400, 0))
    assert counts[0] > 40
    assert sum(counts[number] for number in counts if number >= 2) > 100


def test_an_everyday_word_is_a_gene_in_one_sentence_and_not_in_another():
    tagged = corpus.ner_sentences(600, 0)
    tags_of = {word: set() for word in EVERYDAY}
    for words, tags in tagged:
        for word, tag in zip(words, tags, strict=True):
            tags_of.get(word, set()).add(tag)
    assert sum({"O", "B-Gene"} <= tags for tags in tags_of.values()) >= 3


def test_the_second_draw_holds_names_that_the_first_does_not():
    first = set(mentions(corpus.ner_sentences(400, 1)))
    second = mentions(corpus.ner_sentences(200, 2))
    unseen = sum(mention not in first for mention in second) / len(second)
    assert 0.3 < unseen < 0.9


def test_general_text_names_no_entity_of_the_tasks():
    words = {word for text in corpus.general_text(300, 0) for word in text.strip(".").split()}
    endings = ("olide", "azine", "afen", "idone", "urate", "itis", "osis", "emia", "opathy")
    assert not [word for word in words if word.endswith(endings)]


@pytest.mark.parametrize("pairs", [300, 301, 302])
def test_labels_are_balanced(pairs):
    counts = Counter(label for *_, label in corpus.nli_pairs(pairs, 0))
    assert set(counts) == set(LABELS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_hypothesis_alone_tells_something_and_not_all():
    train, test = corpus.nli_pairs(1500, 1), corpus.nli_pairs(600, 2)
    vectorizer = CountVectorizer(ngram_range=(1, 2))
    counts = vectorizer.fit_transform([hypothesis for _, hypothesis, _ in train])
    model = LogisticRegression(max_iter=500).fit(counts, [label for *_, label in train])
    accuracy = model.score(vectorizer.transform([h for _, h, _ in test]), [label for *_, label in test])
    assert 0.4 < accuracy < 0.65


def test_a_stated_direction_is_entailed_and_the_opposite_contradicted():
    """Of plain active sentences the symptom and the directions of the two verbs give the label."""
    direction = dict.fromkeys(REDUCED, "down") | dict.fromkeys(INCREASED, "up")
    checked = Counter()
    for premise, hypothesis, label in corpus.nli_pairs(1500, 0):
        said = hypothesis.rstrip(".").split()
        if len(said) != 3 or said[1] not in direction:
            continue
        stated = next(direction[word] for word in premise.split() if word in direction)
        expected = "entailment" if stated == direction[said[1]] else "contradiction"
        if said[2] not in premise.split():
            expected = "neutral"
        assert (label, said[0] in premise) == (expected, True)
        checked[label] += 1
    assert min(checked[label] for label in LABELS) > 10
