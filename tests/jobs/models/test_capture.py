"""Activations are handed over where they appear, one layer at a time."""

import gc
import weakref

import pytest
import torch
from transformers import AutoConfig, AutoModel

from microtome.jobs.models.capture import Capture
from microtome.store.cache.layout import Layout
from microtome.store.errors import MicrotomeError
from tests.jobs.models.families import FAMILIES

LAYERS = 6


def built(kind, **changes):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, **FAMILIES[kind] | {"num_hidden_layers": LAYERS, "layer_types": None} | changes
    )
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    model.config.use_cache = False
    return model


def layout(**changes):
    layers = {"hidden_layers": tuple(range(LAYERS + 1)), "attention_layers": tuple(range(LAYERS))}
    values = {"layers": LAYERS, "heads": 4, "dim": 16, "causal": False, "dtype": "float32"}
    return Layout(**values | layers | changes)


def batch(length, rows=2):
    ids = torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


MORE = (
    pytest.param(kind, marks=pytest.mark.thorough) for kind in ("llama", "deberta-v2", "falcon", "albert")
)


@pytest.mark.parametrize("kind", ["bert", *MORE])
@torch.inference_mode()
def test_a_pass_holds_few_layers_at_a_time(kind):
    """DeBERTa's own code keeps its hidden states until the end, but they are small beside its maps."""
    model = built(kind)
    capture = Capture(model, layout(), batch(8, 1))
    given = {"hidden": [], "attention": []}
    most = {"hidden": 0, "attention": 0}

    def receive(name, layer, values):
        gc.collect()
        most[name] = max(most[name], sum(reference() is not None for reference in given[name]))
        given[name].append(weakref.ref(values))

    with capture.hooked():
        capture.run(batch(11), receive)
    assert (len(given["hidden"]), len(given["attention"])) == (LAYERS + 1, LAYERS)
    assert most["attention"] <= 1
    assert most["hidden"] <= (LAYERS if kind == "deberta-v2" else 2)


@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "llama", "falcon", "albert"])
@torch.inference_mode()
def test_some_layers_of_a_padded_batch_are_those_that_the_model_returns(kind):
    model, some = built(kind), layout(hidden_layers=(0, 4, LAYERS), attention_layers=(1,))
    capture = Capture(model, some, batch(8, 1))
    inputs = batch(11)
    inputs["attention_mask"][1, 7:] = 0
    received = {}
    with capture.hooked():
        for _ in range(2):  # the second pass counts calls anew
            capture.run(inputs, lambda name, layer, values: received.update({(name, layer): values.clone()}))
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert set(received) == {("hidden", 0), ("hidden", 4), ("hidden", LAYERS), ("attention", 1)}
    for (name, layer), values in received.items():
        returned = output.hidden_states if name == "hidden" else output.attentions
        torch.testing.assert_close(values, returned[layer])


@torch.inference_mode()
def test_what_no_module_makes_is_taken_from_what_the_model_returns():
    config = AutoConfig.for_model("xlnet", vocab_size=300, d_model=16, n_layer=LAYERS, n_head=4, d_inner=32)
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    received = {}
    capture = Capture(model, layout(attention_layers=()), batch(8, 1))
    with capture.hooked():
        capture.run(batch(11), lambda name, layer, values: received.update({layer: values}))
    for layer, values in enumerate(model(**batch(11), output_hidden_states=True).hidden_states):
        torch.testing.assert_close(received[layer], values)


@torch.inference_mode()
def test_hooks_are_gone_once_they_are_not_needed():
    model = built("bert")
    capture = Capture(model, layout(), batch(8, 1))

    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    before = hooks()  # transformers leaves its own on a model that has once returned all layers
    with capture.hooked():
        assert hooks() == before + 2 * LAYERS + 1
    assert hooks() == before


@torch.inference_mode()
def test_a_model_without_attentions_says_so():
    with pytest.raises(MicrotomeError, match="the model returned no attentions"):
        Capture(
            AutoModel.from_config(
                AutoConfig.for_model("fnet", **FAMILIES["bert"] | {"num_hidden_layers": LAYERS})
            ),
            layout(),
            batch(8, 1),
        )
