"""The folders load through the Auto classes as the models they claim to be, the same each time."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from microtome.jobs.models import tiny_models as scratch
from microtome.store.errors import InputError

TEXTS = [
    "Patients with chronic velitis were treated with dorafen and placebo (20 mg).",
    "The expression of KTR2 was reduced in the liver of 40 women.",
    "The farmer's dog slept near the old river station.",
]
CLASSES = {
    "bert": ("BertTokenizer", "BertForTokenClassification", "BertForSequenceClassification"),
    "gpt2": ("GPT2Tokenizer", "GPT2ForTokenClassification", "GPT2ForSequenceClassification"),
    "biogpt": ("BioGptTokenizer", "BioGptForTokenClassification", "BioGptForSequenceClassification"),
}
SIZES = {"vocabulary": 500, "dim": 16, "layers": 2, "heads": 2, "max_length": 32}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("scratch")
    for architecture in scratch.ARCHITECTURES:
        scratch.create(architecture, TEXTS, root / architecture, **SIZES)
    return {architecture: root / architecture for architecture in scratch.ARCHITECTURES}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_architecture_is_tested():
    assert set(CLASSES) == set(scratch.ARCHITECTURES)


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_folder_loads_as_its_own_classes(architecture, folders):
    tokenizer_class, token_class, sequence_class = CLASSES[architecture]
    folder = folders[architecture]
    assert type(AutoTokenizer.from_pretrained(folder)).__name__ == tokenizer_class
    assert type(AutoModelForTokenClassification.from_pretrained(folder)).__name__ == token_class
    assert type(AutoModelForSequenceClassification.from_pretrained(folder)).__name__ == sequence_class


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_model_has_the_sizes_asked_for(architecture, folders):
    tokenizer = AutoTokenizer.from_pretrained(folders[architecture])
    model = AutoModelForTokenClassification.from_pretrained(folders[architecture], output_hidden_states=True)
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"][:8]])
    with torch.no_grad():
        hidden = model(input_ids=ids).hidden_states
    assert [tuple(layer.shape) for layer in hidden] == [(1, 8, SIZES["dim"])] * (SIZES["layers"] + 1)
    assert model.config.num_attention_heads == SIZES["heads"]
    assert model.config.max_position_embeddings == tokenizer.model_max_length == SIZES["max_length"]
    assert model.config.vocab_size == len(tokenizer) <= SIZES["vocabulary"]


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_model_trains_without_dropout(architecture, folders):
    model = AutoModelForTokenClassification.from_pretrained(folders[architecture]).train()
    ids = torch.arange(10, 20).reshape(1, 10)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("architecture", CLASSES)
def test_words_survive_a_round_trip(architecture, folders):
    tokenizer = AutoTokenizer.from_pretrained(folders[architecture])
    for word in ["Patients", "velitis", "KTR2", "unseenword9", "placebo"]:
        ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).strip() == word


def test_bert_keeps_case_and_frames_a_pair(folders):
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"])
    pair = tokenizer("dorafen", "KTR2")
    tokens = tokenizer.convert_ids_to_tokens(pair["input_ids"])
    assert (tokens[0], tokens[-1], tokens.count("[SEP]")) == ("[CLS]", "[SEP]", 2)
    assert set(pair["token_type_ids"]) == {0, 1}
    assert tokenizer.tokenize("Liver") != tokenizer.tokenize("liver")
    assert tokenizer.mask_token == "[MASK]"
    assert tokenizer.pad_token_id == 0


def test_gpt2_has_one_special_token_with_the_last_id_and_no_pad(folders):
    tokenizer = AutoTokenizer.from_pretrained(folders["gpt2"])
    assert tokenizer.pad_token is None
    assert tokenizer.bos_token == tokenizer.eos_token == tokenizer.unk_token == "<|endoftext|>"
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.decode(tokenizer("naïve – 5 µg")["input_ids"]) == "naïve – 5 µg"


def test_biogpt_puts_the_separator_first_and_marks_word_ends(folders):
    tokenizer = AutoTokenizer.from_pretrained(folders["biogpt"])
    ids = tokenizer("chronic velitis")["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == "</s>"
    assert tokens.count("</s>") == 1
    assert sum(token.endswith("</w>") for token in tokens) == 2
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_same_arguments_give_the_same_bytes(architecture, folders, tmp_path):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    scratch.create(architecture, iter(TEXTS), tmp_path / "again", **SIZES)
    assert torch.equal(state, torch.get_rng_state())
    assert contents(tmp_path / "again") == contents(folders[architecture])
    assert "model.safetensors" in contents(tmp_path / "again")


@pytest.mark.parametrize("architecture", CLASSES)
def test_another_seed_gives_other_weights(architecture, folders, tmp_path):
    scratch.create(architecture, TEXTS, tmp_path / "other", seed=1, **SIZES)
    first, second = contents(folders[architecture]), contents(tmp_path / "other")
    changed = {name for name in first | second if first.get(name) != second.get(name)}
    assert changed == {"model.safetensors"}


def test_an_unknown_architecture_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"biogtp.*biogpt"):
        scratch.create("biogtp", TEXTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dim_that_heads_does_not_divide_and_empty_texts_are_refused(tmp_path):
    with pytest.raises(InputError, match="dim 10"):
        scratch.create("bert", TEXTS, tmp_path / "out", dim=10, heads=4)
    with pytest.raises(InputError, match="no text"):
        scratch.create("bert", ["  "], tmp_path / "out")
