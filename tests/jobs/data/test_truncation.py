import pytest

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.data.truncation import entity_spans, is_tagged, truncation
from microtome.jobs.models.loading import load_tokenizer

TAGS = ("B-x", "I-x", "O", "B-y", "B-x", "I-y", "O", "B-x", "I-x", "I-x")


def example(label=TAGS, spans=()):
    return Example("1", (("a",) * len(TAGS),), label, spans)


@pytest.fixture
def encoder(tiny_models):
    """Room for eight words of one letter, beside two special tokens."""
    return Encoder(load_tokenizer(tiny_models / "bert"), max_length=10)


def test_entities_are_those_of_tags_or_the_mentions_of_a_relation():
    assert list(entity_spans(example())) == [(0, 2), (3, 4), (4, 5), (7, 10)]
    assert list(entity_spans(example("related", ((1, 2), (5, 7))))) == [(1, 2), (5, 7)]
    assert list(entity_spans(example(("safety", "money")))) == []
    assert is_tagged(example())
    assert not is_tagged(example(("safety",) * len(TAGS)))


def test_words_beyond_max_length_and_entities_with_such_a_word_are_counted(encoder):
    cut = truncation([example()], [[encoder.encode(example())]])
    assert cut.counts() == {"words": 10, "truncated_words": 2, "entities": 4, "truncated_entities": 1}
    assert (cut.share, cut.entity_share) == (0.2, 0.25)
    assert cut.worth_saying
    assert str(cut) == "2 of 10 words (20.0%) and 1 of 4 entities (25.0%)"
    assert cut.rows() == {
        "truncated_words": 2,
        "truncated_share": 0.2,
        "truncated_entities": 1,
        "truncated_entity_share": 0.25,
    }


def test_windows_lose_nothing(encoder):
    kept = truncation([example()], [encoder.windows(example(), 2)])
    assert (kept.truncated_words, kept.truncated_entities, kept.worth_saying) == (0, 0, False)


def test_texts_without_entities_have_none_to_lose(encoder):
    cut = truncation([example("yes")], [[encoder.encode(example("yes"))]])
    assert cut.rows() == {"truncated_words": 2, "truncated_share": 0.2}
    assert str(cut) == "2 of 10 words (20.0%)"
    assert truncation([], []).rows() == {"truncated_words": 0, "truncated_share": 0}
