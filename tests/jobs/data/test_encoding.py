import pytest

from microtome.jobs.data.encoding import SPECIAL, Encoder, window_around
from microtome.jobs.data.examples import Example
from microtome.jobs.models.loading import load_tokenizer
from microtome.store.errors import InputError

WORDS = ("The", "patients", "with", "IL-2", "had", "fever", ".")
PAIR = Example("p", (WORDS, ("fever", "was", "reduced")), "entailment")
ARCHITECTURES = ["bert", "gpt2", "biogpt"]


@pytest.fixture(scope="session")
def tokenizers(tiny_models):
    return {name: load_tokenizer(tiny_models / name) for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_word_has_its_own_subwords_in_order(tokenizers, name):
    encoder = Encoder(tokenizers[name], max_length=64)
    encoding = encoder.encode(Example("a", (WORDS,), ("O",) * 7))
    lists = (encoding.input_ids, encoding.word_ids, encoding.segment_ids, encoding.special_mask)
    assert len({len(values) for values in lists}) == 1
    words = [word for word in encoding.word_ids if word != SPECIAL]
    assert words == sorted(words)
    assert set(words) == set(range(7))
    assert encoding.special_mask == [word == SPECIAL for word in encoding.word_ids]
    for number, word in enumerate(WORDS):
        own = [i for i, w in zip(encoding.input_ids, encoding.word_ids, strict=True) if w == number]
        assert own == encoder.subwords(word)
        assert own


@pytest.mark.parametrize("name", ["bert", "biogpt"])
def test_the_whole_equals_what_the_tokenizer_makes_of_plain_text(tokenizers, name):
    words = ("fever", "was", "reduced")
    encoding = Encoder(tokenizers[name], max_length=64).encode(Example("a", (words,), "x"))
    assert encoding.input_ids == tokenizers[name](" ".join(words))["input_ids"]
    pair = Encoder(tokenizers[name], max_length=64).encode(Example("a", (words, words), "x"))
    assert pair.input_ids == tokenizers[name](" ".join(words), " ".join(words))["input_ids"]


def test_byte_level_words_carry_their_leading_space(tokenizers):
    tokenizer = tokenizers["gpt2"]
    encoding = Encoder(tokenizer, max_length=64).encode(Example("a", (WORDS,), ("O",) * 7))
    assert encoding.input_ids == tokenizer(" " + " ".join(WORDS))["input_ids"]


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("bert", ("[CLS]", "[SEP]", "[SEP]")),
        ("gpt2", (None, "<|endoftext|>", None)),
        ("biogpt", ("</s>", "</s>", None)),
    ],
)
def test_special_tokens_around_a_pair(tokenizers, name, frame):
    encoding = Encoder(tokenizers[name], max_length=64).encode(PAIR)
    tokens = tokenizers[name].convert_ids_to_tokens(encoding.input_ids)
    special = [t for t, s in zip(tokens, encoding.special_mask, strict=True) if s]
    assert special == [token for token in frame if token]
    second = [s for s, w in zip(encoding.segment_ids, encoding.word_ids, strict=True) if w >= len(WORDS)]
    first = [s for s, w in zip(encoding.segment_ids, encoding.word_ids, strict=True) if 0 <= w < len(WORDS)]
    assert set(first) == {0}
    assert set(second) == {1}
    assert len(second) > 0


def test_bert_segments_are_its_token_types(tokenizers):
    words = ("fever", "was", "reduced")
    encoding = Encoder(tokenizers["bert"], max_length=64).encode(Example("a", (words, words), "x"))
    assert encoding.segment_ids == tokenizers["bert"](" ".join(words), " ".join(words))["token_type_ids"]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("limit", [8, 12, 16])
def test_truncation_drops_whole_words_and_counts_them(tokenizers, name, limit):
    encoder = Encoder(tokenizers[name], max_length=limit)
    encoding = encoder.encode(PAIR)
    assert len(encoding.input_ids) <= limit
    seen = {word for word in encoding.word_ids if word != SPECIAL}
    assert encoding.truncated_words == PAIR.words - len(seen)
    assert encoding.truncated_words > 0
    for word in seen:
        text = (*PAIR.texts[0], *PAIR.texts[1])[word]
        assert encoding.word_ids.count(word) == len(encoder.subwords(text))


def test_the_longer_text_is_cut_first(tokenizers):
    long, short = ("fever",) * 40, ("pain",) * 3
    for texts, kept in (((long, short), 1), ((short, long), 0)):
        encoding = Encoder(tokenizers["bert"], max_length=24).encode(Example("a", texts, "x"))
        inside = [s for s, w in zip(encoding.segment_ids, encoding.word_ids, strict=True) if w != SPECIAL]
        subwords = len(Encoder(tokenizers["bert"], max_length=24).subwords("pain")) * 3
        assert inside.count(kept) == subwords


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_texts_encoded_separately_are_the_single_encodings_in_a_row(tokenizers, name):
    encoder = Encoder(tokenizers[name], max_length=64)
    both = encoder.encode_separately(PAIR)
    first, second = (encoder.encode(Example("a", (text,), "x")) for text in PAIR.texts)
    assert both.input_ids == first.input_ids + second.input_ids
    assert both.sequences == (len(first.input_ids), len(second.input_ids))
    assert both.segment_ids == [0] * both.sequences[0] + [1] * both.sequences[1]
    shifted = [w + len(WORDS) if w != SPECIAL else w for w in second.word_ids]
    assert both.word_ids == first.word_ids + shifted


def test_a_word_that_the_tokenizer_cleans_away_still_has_a_token(tokenizers):
    encoding = Encoder(tokenizers["bert"], max_length=64).encode(
        Example("a", (("pain", "\u200b", "."),), "x")
    )
    assert {0, 1, 2} <= set(encoding.word_ids)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_words_that_are_encoded_in_one_call_are_what_they_are_one_by_one(tokenizers, name):
    examples = [Example("a", (WORDS,), ("O",) * 7), PAIR, Example("b", (("pain", "\u200b", "."),), "x")]
    one_by_one = Encoder(tokenizers[name], max_length=64)
    expected = [one_by_one.encode(example) for example in examples]
    encoder = Encoder(tokenizers[name], max_length=64)
    encoder.encode_words(examples)
    encoder.encode_words(examples)  # which finds nothing left to do
    encoder.tokenizer = None  # nor does what comes after
    assert [encoder.encode(example) for example in examples] == expected


def test_no_room_beside_the_special_tokens(tokenizers):
    with pytest.raises(InputError, match="max_length 4 leaves no room beside 3 special tokens"):
        Encoder(tokenizers["bert"], max_length=4)


def test_a_long_text_is_cut_to_a_window_that_holds_both_mentions(tokenizers):
    words = tuple(f"fever{'s' * (n % 2)}" for n in range(100))
    encoder = Encoder(tokenizers["bert"], max_length=24)
    room = 24 - 2
    for spans in (((60, 61), (63, 64)), ((98, 99), (99, 100)), ((63, 64), (60, 61))):
        encoding = encoder.encode(Example("r", (words,), "x", spans=spans))
        own = [word for word in encoding.word_ids if word != SPECIAL]
        assert not encoding.mentions_cut
        assert all(set(range(*span)) <= set(own) for span in spans)
        assert own == sorted(own)
        assert len(set(own)) == 100 - encoding.truncated_words
        largest = max(len(encoder.subwords(word)) for word in words)
        assert room - largest < len(own) <= room
        for number in set(own):
            ids = [i for i, w in zip(encoding.input_ids, encoding.word_ids, strict=True) if w == number]
            assert ids == encoder.subwords(words[number])


def test_mentions_that_the_beginning_holds_and_mentions_that_nothing_holds(tokenizers):
    words = ("fever",) * 100
    encoder = Encoder(tokenizers["bert"], max_length=16)
    plain = encoder.encode(Example("a", (words,), "x"))
    assert encoder.encode(Example("a", (words,), "x", spans=((0, 1), (2, 3)))) == plain
    far = encoder.encode(Example("a", (words,), "x", spans=((0, 1), (99, 100))))
    assert far.mentions_cut
    assert far.word_ids == plain.word_ids


@pytest.mark.parametrize(
    ("spans", "room", "expected"),
    [
        ([(4, 5), (5, 6)], 4, (3, 7)),
        ([(0, 1), (1, 2)], 4, (0, 4)),
        ([(8, 9), (9, 10)], 5, (5, 10)),
        ([(2, 3), (7, 8)], 6, (2, 8)),
        ([(2, 3), (8, 9)], 6, (0, 0)),
    ],
)
def test_windows_reach_as_far_to_both_sides_as_there_is_room(spans, room, expected):
    assert window_around(spans, [1] * 10, room) == expected
