"""Small, randomly initialised models with tokenizers of their own, as plain Hugging Face folders.

The folders hold what a published model holds (`config.json`, `model.safetensors`, tokenizer files) and load
offline through the `Auto*` classes. They stand in for real models in the demo suite and in tests.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters, digits, punctuation

import torch
from sacremoses import MosesTokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    BioGptConfig,
    BioGptForCausalLM,
    BioGptTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from microtome.store.errors import InputError, unknown

BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BIOGPT_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
GPT2_SPECIAL = "<|endoftext|>"

# A trainer numbers prefixed or suffixed characters (`##a`, `a</w>`) in the order of a hash map, which changes
# from run to run, and breaks ties between merges by those numbers. Handing them over as special tokens, which
# are numbered first and as given, makes training repeatable. Only the vocabulary and the merges are kept, so
# no character stays special.


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model: `dim` is the width of a hidden state, `max_length` the number of positions."""

    dim: int
    layers: int
    heads: int
    max_length: int

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the initial weights: 0.02 at 768 dims, larger for a narrower model."""
        return 0.02 * (768 / self.dim) ** 0.5


def create(
    architecture: str,
    texts: Iterable[str],
    out: Path,
    *,
    vocabulary: int = 1200,
    dim: int = 64,
    layers: int = 4,
    heads: int = 4,
    max_length: int = 128,
    seed: int = 0,
) -> None:
    """Write a randomly initialised language model and a tokenizer trained on `texts` into the folder `out`.

    Dropout is off: these models train for seconds and never see enough text to need it.
    `vocabulary` is the largest number of tokens, special tokens included; a small corpus gives fewer. Every
    printable ASCII character is a token whatever the texts. The same arguments and texts give the same bytes.
    Raises InputError for an unknown architecture, for a dim that heads does not divide and for empty texts.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    if dim % heads:
        raise InputError(f"dim {dim} is not a multiple of heads {heads}")
    corpus = list(texts)
    if not any(text.strip() for text in corpus):
        raise InputError(f"no text to train the {architecture} tokenizer on")
    build_tokenizer, build_model = ARCHITECTURES[architecture]
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(corpus, vocabulary, max_length, out)
    tokenizer.save_pretrained(out)
    shape = Shape(dim=dim, layers=layers, heads=heads, max_length=max_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(tokenizer, shape)
    model.save_pretrained(out, safe_serialization=True)


def bert_tokenizer(texts: list[str], vocabulary: int, max_length: int, out: Path) -> BertTokenizer:
    """A cased WordPiece tokenizer: `[CLS] words [SEP]`, continuation pieces marked with `##`."""
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=False)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    corpus = list(_with_alphabet(texts))
    split = trained.pre_tokenizer.pre_tokenize_str
    words = {word for text in corpus for word, _ in split(trained.normalizer.normalize_str(text))}
    inside = sorted({f"##{character}" for word in words for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=BERT_SPECIAL + inside, show_progress=False
    )
    trained.train_from_iterator(corpus, trainer)
    return BertTokenizer(vocab=trained.get_vocab(), do_lower_case=False, model_max_length=max_length)


def bert_model(tokenizer: PreTrainedTokenizerBase, shape: Shape) -> BertForMaskedLM:
    """A masked language model of BERT's form, post-layer-norm, learned positions."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.dim,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=shape.max_length,
        initializer_range=shape.initializer_range,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForMaskedLM(config)


def gpt2_tokenizer(texts: list[str], vocabulary: int, max_length: int, out: Path) -> GPT2Tokenizer:
    """A byte-level BPE tokenizer without a pad token; `<|endoftext|>` has the last id, as in GPT-2."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    vocab, merges = _vocabulary_and_merges(trained)
    vocab[GPT2_SPECIAL] = len(vocab)
    return GPT2Tokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


def gpt2_model(tokenizer: PreTrainedTokenizerBase, shape: Shape) -> GPT2LMHeadModel:
    """A causal language model of GPT-2's form, pre-layer-norm, learned positions."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=shape.max_length,
        n_embd=shape.dim,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        classifier_dropout=0.0,
        initializer_range=shape.initializer_range,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return GPT2LMHeadModel(config)


def biogpt_tokenizer(texts: list[str], vocabulary: int, max_length: int, out: Path) -> BioGptTokenizer:
    """BioGPT's Moses and BPE tokenizer: `</s> words`, word ends marked with `</w>`, Python only.

    It reads its vocabulary from files, so `vocab.json` and `merges.txt` are written into `out` first.
    """
    trained = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    corpus = list(_moses(_with_alphabet(texts)))
    last = sorted({f"{word[-1]}</w>" for text in corpus for word in text.split()})
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=BIOGPT_SPECIAL + last,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    trained.train_from_iterator(corpus, trainer)
    vocab, merges = _vocabulary_and_merges(trained)
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    (out / "merges.txt").write_text("".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8")
    return BioGptTokenizer(str(out / "vocab.json"), str(out / "merges.txt"), model_max_length=max_length)


def biogpt_model(tokenizer: PreTrainedTokenizerBase, shape: Shape) -> BioGptForCausalLM:
    """A causal language model of BioGPT's form: pre-layer-norm, learned positions, scaled embeddings."""
    config = BioGptConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.dim,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=shape.max_length,
        initializer_range=shape.initializer_range,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return BioGptForCausalLM(config)


def _with_alphabet(texts: list[str]) -> Iterator[str]:
    """The texts, then every printable ASCII character both inside and at the end of a word."""
    yield from texts
    for character in ascii_letters + digits + punctuation:
        yield f"{character} {character}{character}"


def _moses(texts: Iterable[str]) -> Iterator[str]:
    """Each text as Moses tokens joined by spaces, split exactly as BioGptTokenizer splits."""
    moses = MosesTokenizer(lang="en")
    for text in texts:
        yield moses.tokenize(text, aggressive_dash_splits=True, return_str=True, escape=True)


def _vocabulary_and_merges(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The token ids in order of id, and the merges in order of rank, of a trained BPE tokenizer."""
    model = json.loads(tokenizer.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    return vocab, [(left, right) for left, right in model["merges"]]


TokenizerBuilder = Callable[[list[str], int, int, Path], PreTrainedTokenizerBase]
ModelBuilder = Callable[[PreTrainedTokenizerBase, Shape], PreTrainedModel]

ARCHITECTURES: dict[str, tuple[TokenizerBuilder, ModelBuilder]] = {
    "bert": (bert_tokenizer, bert_model),
    "gpt2": (gpt2_tokenizer, gpt2_model),
    "biogpt": (biogpt_tokenizer, biogpt_model),
}
