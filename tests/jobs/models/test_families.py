"""Every family of architectures goes one way: what is cached is what a direct pass returns, it is fine-tuned
on texts and on words, takes an adapter, and goes on writing if it is causal. With --family-table a table says
of each family what is equal, or why not."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from microtome.jobs.models import causal, loading, lora, task_heads
from microtome.jobs.models.architecture import read_architecture
from microtome.jobs.models.source import CHECKPOINT
from microtome.jobs.predict import predict, read_texts
from microtome.jobs.publishing.publish import export
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError
from tests.jobs.models.families import (
    CAUSAL,
    ENCODER_DECODERS,
    FAMILIES,
    WITHOUT_ATTENTION,
    make_family,
    tokenizer_of,
)

GREEDY = {"temperature": 0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
COLUMNS = ["hidden", "attention", "finetune nli", "finetune ner", "LoRA", "generate"]
README = (Path(__file__).parents[3] / "jobs" / "README.md").read_text("utf-8")
TABLE: dict[str, dict[str, str]] = {}  # family -> column -> what the tests below found
SHAPE = {"examples": 6, "dtype": "float32", "batch_tokens": 100}


@pytest.fixture(scope="module")
def family(tmp_path_factory, tiny_models):
    """family(kind, **changes) -> a folder with a tiny random model, made once."""
    made = {}

    def make(kind, **changes):
        key = kind, repr(sorted(changes.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[key] = make_family(kind, folder, tokenizer_of(tiny_models / "bert"), **changes)
        return made[key]

    return make


def note(kind, column, value):
    TABLE.setdefault(kind, {})[column] = value
    [row] = [line for line in README.splitlines() if line.startswith(f"| {kind} |")]
    assert row.strip("| ").split(" | ")[1 + COLUMNS.index(column)] == value, "jobs/README.md says otherwise"


def direct(folder, ids, segments, attentions):
    """What transformers itself returns for one unpadded sequence: [L + 1, T, dim] and [L, heads, T, T]."""
    options = {"attn_implementation": "eager"} if attentions else {}
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, **options).eval()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    inputs = {"input_ids": torch.tensor(ids[None], dtype=torch.int64)}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.tensor(segments[None], dtype=torch.int64)
    with torch.inference_mode():
        output = model(**inputs, output_hidden_states=True, output_attentions=attentions)
    return torch.cat(output.hidden_states).numpy(), torch.cat(
        output.attentions
    ).numpy() if attentions else None


def largest_difference(cache, folder, attentions):
    """Between what a cache holds and direct passes, over all examples and layers that are kept."""
    largest = {"hidden": 0.0, "attention": 0.0}
    for example in range(cache.examples):
        tokens = slice(cache.offsets[example], cache.offsets[example + 1])
        hidden, maps = direct(folder, cache.input_ids[tokens], cache.segment_ids[tokens], attentions)
        for layer in cache.layout.hidden_layers:
            difference = np.abs(cache.hidden(layer, example) - hidden[layer]).max()
            largest["hidden"] = max(largest["hidden"], float(difference))
        for layer in cache.layout.attention_layers:
            difference = np.abs(cache.attention(layer, example) - maps[layer]).max()
            largest["attention"] = max(largest["attention"], float(difference))
    return largest


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_cached_is_what_a_direct_pass_returns(bench, family, kind):
    folder, attentions = family(kind), kind not in WITHOUT_ATTENTION
    keep = ["hidden", "attention"] if attentions else ["hidden"]
    cache = ActivationCache(bench.run(bench.extract("nli", folder, keep=keep, **SHAPE)).path)
    assert (cache.layers, cache.dim, cache.causal) == (3, 16, kind in CAUSAL)
    found = largest_difference(cache, folder, attentions)
    assert max(found.values()) < 1e-4
    note(kind, "hidden", "equal")
    layers = [cache.hidden(layer) for layer in range(4)]
    assert all(np.abs(one - other).mean() > 1e-3 for one, other in pairwise(layers))
    if not attentions:
        note(kind, "attention", "has none")
        return
    assert cache.heads == 4  # of grouped keys and values, every query head has a map
    rows = np.concatenate([cache.attention(1, example).sum(-1).ravel() for example in range(3)])
    if read_architecture(folder).sinks:
        assert (rows < 0.999).all()
        note(kind, "attention", "equal; rows sum to less than 1 (sinks)")
    else:
        np.testing.assert_allclose(rows, 1, atol=1e-3)
        note(kind, "attention", "equal")


@pytest.mark.parametrize("kind", FAMILIES)
def test_hidden_states_alone_are_the_same_without_eager_attention(bench, family, kind):
    folder = family(kind)
    cache = ActivationCache(bench.run(bench.extract("nli", folder, keep=["hidden"], **SHAPE)).path)
    attentions = kind not in WITHOUT_ATTENTION  # with them transformers computes eagerly
    assert largest_difference(cache, folder, attentions)["hidden"] < 1e-4


@pytest.mark.parametrize(
    "kind", [pytest.param(f, marks=pytest.mark.thorough if n % 2 else ()) for n, f in enumerate(FAMILIES)]
)
@pytest.mark.parametrize("task", ["ner", pytest.param("nli", marks=pytest.mark.thorough)])
def test_it_is_fine_tuned_and_extracted_again(bench, family, kind, task):
    folder = family(kind)
    made = bench.run(bench.finetune(task, folder, epochs=0.1, learning_rate=1e-3))
    checkpoint = made.path / CHECKPOINT
    before = loading.load_backbone(folder, torch.device("cpu")).state_dict()
    after = loading.load_backbone(checkpoint, torch.device("cpu")).state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    cache = ActivationCache(bench.run(bench.extract(task, made.id, keep=["hidden"], **SHAPE)).path)
    assert largest_difference(cache, checkpoint, kind not in WITHOUT_ATTENTION)["hidden"] < 1e-4
    note(kind, f"finetune {task}", "works")


@pytest.mark.parametrize("kind", ["opt", "t5"])
def test_a_head_that_transformers_lacks_is_predicted_with_and_exported(bench, family, tmp_path, kind):
    made = bench.run(bench.finetune("ner", family(kind), epochs=0.1))
    texts = tmp_path / "texts.txt"
    texts.write_text("BRCA1 is a gene .\n")
    examples, read = read_texts(texts, TASK_TYPES["ner"], made.settings["labels"])
    assert len(list(predict(made, made.path / CHECKPOINT, examples, read))) == 1
    folder = export(made, bench.store, tmp_path / "out")
    assert "load_with_head" in (folder / "README.md").read_text()
    config = loading.load_config(made.path / CHECKPOINT)
    task = task_heads.load_for_task(made.path / CHECKPOINT, "token", "", list(config.label2id), 0).eval()
    ids = torch.arange(5, 15)[None]
    exported = task_heads.load_with_head(folder).eval()
    assert exported.config.id2label == config.id2label
    with torch.inference_mode():
        assert torch.equal(exported(input_ids=ids).logits, task(input_ids=ids).logits)
        states = direct(folder, ids[0].numpy(), ids[0].numpy() * 0, True)[0][-1]
        wanted = torch.from_numpy(states) @ exported.score.weight.T + exported.score.bias
        np.testing.assert_allclose(exported(input_ids=ids).logits[0], wanted, atol=1e-4)
    with pytest.raises(InputError, match="its head is one of transformers"):
        task_heads.load_with_head(family("bert"))


def test_a_sequence_head_reads_the_last_token_or_the_mean():
    states, mask = torch.arange(12.0).view(2, 3, 2), torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert task_heads.last_token(states, mask).tolist() == [[4, 5], [6, 7]]
    assert task_heads.mean_of_tokens(states, mask).tolist() == [[2, 3], [6, 7]]


def language_model(kind):
    return AutoModelForCausalLM if kind in CAUSAL else AutoModelForMaskedLM


@pytest.mark.parametrize("kind", FAMILIES)
def test_an_adapter_is_trained_and_merged(family, tmp_path, kind, tiny_models):
    if kind in ENCODER_DECODERS:
        note(kind, "LoRA", "none: adapt trains no encoder alone")
        pytest.skip("adapt trains masked and causal language models")
    folder = make_family(kind, tmp_path / "base", tokenizer_of(tiny_models / "bert"), language_model(kind))
    model, _ = loading.load_language_model(folder, language_model(kind), 0)
    adapted = lora.attach(model, lora.Lora(rank=2, alpha=4), "clm" if kind in CAUSAL else "mlm")
    trained, total = lora.trainable(adapted)
    assert 0 < trained < total
    ids = torch.arange(5, 25)[None]
    optimiser = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # of the two matrices one begins as zero
        adapted(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
    adapted.eval()
    with torch.inference_mode(), adapted.disable_adapter():
        without = adapted(input_ids=ids).logits
    with torch.inference_mode():
        on = adapted(input_ids=ids).logits
    assert not torch.allclose(on, without, atol=1e-4)
    lora.save_adapter(adapted, tmp_path / "adapter")
    tokenizer_of(tiny_models / "bert").save_pretrained(tmp_path / "adapter")
    lora.merge(folder, tmp_path / "adapter", tmp_path / "merged")
    merged, _ = loading.load_language_model(tmp_path / "merged", language_model(kind), 0)
    with torch.inference_mode():
        np.testing.assert_allclose(merged.eval()(input_ids=ids).logits, on, atol=1e-4, rtol=1e-4)
    note(kind, "LoRA", "equal, on and merged")


@pytest.mark.parametrize("kind", FAMILIES)
def test_causal_models_go_on_writing(family, kind):
    if kind not in CAUSAL:
        note(kind, "generate", "not causal")
        pytest.skip("not causal")
    model = causal.load(family(kind))
    prompts = [[5, 9, 30], [7, 8, 9, 10, 11, 12, 13], [20]]

    def log_probabilities(ids):
        with torch.no_grad():
            return model.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)

    new = causal.continued(model, prompts, np.zeros((3, 5)), **GREEDY)
    for prompt, written in zip(prompts, new, strict=True):
        ids = list(prompt)
        for token in written:
            assert log_probabilities(ids)[-1].argmax() == token
            ids.append(token)
    choices = [[14], [17, 33, 30], [18, 18]]
    found = causal.log_likelihoods(model, prompts, choices, 2)
    for prompt, row in zip(prompts, found, strict=True):
        for choice, value in zip(choices, row, strict=True):
            each = log_probabilities(prompt + choice)[len(prompt) - 1 : -1]
            wanted = sum(float(each[place, token]) for place, token in enumerate(choice))
            assert value == pytest.approx(wanted, abs=1e-3)
    note(kind, "generate", "equal")


def test_the_table_of_families(request):
    """jobs/README.md holds the same rows, which each test above compares its cell with."""
    if request.session.testsfailed or any(set(TABLE.get(kind, ())) != set(COLUMNS) for kind in FAMILIES):
        pytest.skip("the table is that of all tests of this file, run in one process with --thorough")
    header = ["family", "hidden states", "attentions", "text task", "word task", "LoRA", "generate"]
    cells = [[kind, *(TABLE[kind][column] for column in COLUMNS)] for kind in FAMILIES]
    assert "\n".join(f"| {' | '.join(row)} |" for row in cells) in README
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *cells]
    ]
    request.config.family_table = "\n".join(lines)
