"""Words and subwords stay together for every kind of tokenizer, whatever is in a word."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from microtome.jobs.data.encoding import SPECIAL, Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.models.loading import load_tokenizer

WORDS = (
    "β-catenin",
    "🧬",
    "👩🏽‍🔬",
    "a\tb",
    "zero\u200bwidth",
    "\u200d",
    "µg",
    "ΑΒΓ",
    "e\u0301",
    "naïve",
    "p53",
)
TEXTS = ["p53 is a gene", "naive width of zero", "the catenin gene"] * 5


def byte_fallback():
    """As Llama's and Gemma's: a mark in place of spaces, unknown characters as bytes."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXTS, trainers.BpeTrainer(special_tokens=tokens, vocab_size=320))
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trained.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def byte_level(prefix):
    """As GPT-2's and RoBERTa's, with and without a space put before a text."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    trained.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"])
    trained.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


TOKENIZERS = {
    "byte fallback": byte_fallback,
    "byte level": lambda: byte_level(False),
    "byte level with a prefix": lambda: byte_level(True),
}


def subwords_of(encoding, word):
    return [t for t, w in zip(encoding.input_ids, encoding.word_ids, strict=True) if w == word]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_word_is_read_back_from_its_own_subwords(name):
    tokenizer = TOKENIZERS[name]()
    encoding = Encoder(tokenizer, max_length=256).encode(Example("1", (WORDS,), None))
    assert encoding.truncated_words == 0
    kept = [word for word in encoding.word_ids if word != SPECIAL]
    assert kept == sorted(kept)
    assert set(kept) == set(range(len(WORDS)))
    for number, word in enumerate(WORDS):
        assert tokenizer.decode(subwords_of(encoding, number)).strip(" ") == word


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_in_one_call_are_the_words_one_by_one(name):
    example = Example("1", (WORDS,), None)
    one_by_one, in_one_call = (Encoder(TOKENIZERS[name](), max_length=256) for _ in range(2))
    in_one_call.encode_words([example])
    in_one_call.tokenizer = None
    assert in_one_call.encode(example) == one_by_one.encode(example)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_one_by_one_are_the_tokens_of_the_whole_text(name):
    tokenizer = TOKENIZERS[name]()
    words = ("the", "naive", "β", "gene", "🧬", "of", "p53")
    encoding = Encoder(tokenizer, max_length=256).encode(Example("1", (words,), None))
    inside = [t for t, w in zip(encoding.input_ids, encoding.word_ids, strict=True) if w > 0]
    whole = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert whole[-len(inside) :] == inside  # the first word may lack the space before it


@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
def test_no_word_is_lost_by_a_tokenizer_that_cleans_it_away(tiny_models, name):
    encoding = Encoder(load_tokenizer(tiny_models / name), max_length=256).encode(
        Example("1", (WORDS,), None)
    )
    assert {word for word in encoding.word_ids if word != SPECIAL} == set(range(len(WORDS)))
