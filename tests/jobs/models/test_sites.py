"""Sites in a block by name: what is cached is what the modules of the model compute."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from microtome.jobs.cli.main import main
from microtome.jobs.models import loading
from microtome.jobs.models.architecture import read_architecture
from microtome.jobs.models.capture import site_points
from microtome.jobs.models.sites import BLOCKS, sites_of
from microtome.store.cache.layout import SITES
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError, MissingError
from tests.jobs.models.families import FAMILIES, make_family, tokenizer_of

OPTIONS = {"examples": 4, "dtype": "float32", "batch_tokens": 100}
WITH_SITES = [kind for kind in FAMILIES if sites_of(kind)]
# Nothing but a scale and a softmax between queries and keys as they are projected, and the attentions.
PLAIN = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert", "gpt2", "opt", "biogpt", "bart"]


@pytest.fixture
def cached(bench, tmp_path, tiny_models):
    """cached(kind, ...) -> the folder of a model of a family, and a cache of it."""

    def extract(kind, *, keep, **options):
        folder = make_family(kind, tmp_path / kind, tokenizer_of(tiny_models / "bert"))
        job = bench.extract("nli", folder, keep=keep, **OPTIONS | options)
        return folder, ActivationCache(bench.run(job).path)

    return extract


def projection_of(folder, cache):
    """The modules that mix the heads, one per layer."""
    model = loading.load_backbone(folder, torch.device("cpu"))
    points = site_points(model, cache.layout)["attention_output"]
    return [points[layer].module for layer in range(cache.layers)]


@pytest.mark.parametrize("kind", WITH_SITES)
def test_head_outputs_through_the_projection_are_the_attention_output(cached, kind):
    folder, cache = cached(kind, keep=["head_output", "attention_output"])
    for layer, module in enumerate(projection_of(folder, cache)):
        heads = cache.site("head_output", layer)
        assert heads.shape == (cache.tokens, 4, 4)
        with torch.inference_mode():
            mixed = module(torch.from_numpy(heads).flatten(1)).numpy()
        np.testing.assert_allclose(cache.site("attention_output", layer), mixed, atol=1e-4)
    assert not np.allclose(cache.site("head_output", 0), cache.site("head_output", 1), atol=1e-2)


@pytest.mark.parametrize("kind", WITH_SITES)
def test_attention_of_values_is_the_head_output(cached, kind):
    if "value" not in sites_of(kind):
        pytest.skip(f"{kind} does not give values")
    _, cache = cached(kind, keep=["attention", "head_output", "value"])
    for layer in range(cache.layers):
        for example in range(2):
            values = cache.site("value", layer, example)
            shared = cache.heads // values.shape[1]  # query heads that read the same values
            values = np.repeat(values, shared, axis=1)
            expected = np.einsum("hqk,khd->qhd", cache.attention(layer, example), values)
            np.testing.assert_allclose(cache.site("head_output", layer, example), expected, atol=1e-4)


@pytest.mark.parametrize("kind", PLAIN)
def test_softmax_of_queries_and_keys_is_the_attention(cached, kind):
    _, cache = cached(kind, keep=["attention", "query", "key"])
    for layer in range(cache.layers):
        for example in range(2):
            query, key = (cache.site(name, layer, example) for name in ("query", "key"))
            scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(query.shape[-1])
            if cache.causal:
                scores[:, *np.triu_indices(scores.shape[-1], 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            np.testing.assert_allclose(cache.attention(layer, example), weights, atol=1e-4)


def test_what_a_block_adds_is_what_the_next_layer_has_more(cached):
    """Llama adds both outputs to the hidden state as they are; after the last block comes a norm."""
    _, cache = cached("llama", keep=["hidden", "attention_output", "mlp_output"])
    for layer in range(cache.layers - 1):
        added = cache.site("attention_output", layer) + cache.site("mlp_output", layer)
        np.testing.assert_allclose(cache.hidden(layer) + added, cache.hidden(layer + 1), atol=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "phi"])
def test_the_output_of_the_feed_forward_network(cached, kind):
    _, cache = cached(kind, keep=["hidden", "attention_output", "mlp_output"])
    added = cache.site("attention_output", 1) + cache.site("mlp_output", 1)
    np.testing.assert_allclose(cache.hidden(1) + added, cache.hidden(2), atol=1e-4)


@pytest.mark.parametrize("kind", WITH_SITES)
def test_every_site_that_is_listed_can_be_kept_without_attentions(cached, kind):
    _, cache = cached(kind, keep=list(sites_of(kind)), site_layers=[2, 0])
    assert cache.layout.names() == [site for site in SITES if site in sites_of(kind)]
    for site in sites_of(kind):
        assert np.abs(cache.site(site, 2)).mean() > 1e-3
        with pytest.raises(MissingError, match=f"{site} of layer 1 was not kept"):
            cache.site(site, 1)
        with pytest.raises(IndexError, match=f"{site} layer 3 is out of range: this model has 0..2"):
            cache.site(site, 3)


def test_sites_of_some_tokens_in_small_numbers(cached):
    _, whole = cached("bert", keep=["query", "mlp_output"])
    _, small = cached("bert", keep=["query", "mlp_output"], tokens="mean", dtype="int8")
    assert small.site("query", 1).shape == (2 * small.examples, 4, 4)
    rows = small.token_rows
    for row in (0, 5):
        tokens = rows.tokens[rows.starts[row] : rows.starts[row + 1]]
        mean = whole.site("query", 1)[tokens].mean(0)
        np.testing.assert_allclose(small.site("query", 1)[row], mean, atol=np.abs(mean).max() / 127)


def test_grouped_heads_have_fewer_keys(cached):
    _, cache = cached("llama", keep=["query", "key", "value"])
    assert cache.site("query", 0).shape == (cache.tokens, 4, 4)
    assert cache.site("key", 0).shape == cache.site("value", 0).shape == (cache.tokens, 2, 4)


@pytest.mark.parametrize(
    ("kind", "site", "why"),
    [
        ("mamba", "query", "mamba models do not give query: no site by name"),
        ("deberta", "key", "deberta models do not give key: of sites, only head_output, attention_output"),
        ("falcon", "value", "falcon models do not give value: of sites, only"),
    ],
)
def test_what_a_family_cannot_give_is_said_before_anything_is_run(
    bench, tmp_path, tiny_models, kind, site, why
):
    folder = make_family(kind, tmp_path / kind, tokenizer_of(tiny_models / "bert"))
    assert bench.extract("nli", folder, keep=["hidden", site]).refused.startswith(why)
    assert read_architecture(folder).refusal(keep=["hidden"]) == ""
    suite = tmp_path / "sites.yaml"
    task = bench.tasks["nli"]
    suite.write_text(
        f"name: sites\ndescription: sites\nmodels: {{small: {{source: {folder}}}}}\ntasks: [{task}]\n"
        f"fractions: [0]\nextract: {{all: {{splits: {{test: 4}}, options: {{keep: [hidden, {site}]}}}}}}\n"
    )
    planned = CliRunner().invoke(main, ["suite", "plan", str(suite)])
    assert why.split(":")[0] in " ".join(planned.output.split())
    shown = CliRunner().invoke(main, ["model", "show", str(folder)])
    assert shown.exit_code == 0, shown.output
    [line] = [line for line in shown.output.splitlines() if line.startswith("sites")]
    assert line.split(maxsplit=1)[1].strip() == (", ".join(sites_of(kind)) or "none")


def test_settings_that_have_no_effect_and_names_that_are_none(bench, tiny_models, cached):
    with pytest.raises(InputError, match="site_layers has no effect, as keep has none of query, key"):
        bench.extract("nli", tiny_models / "bert", keep=["hidden"], site_layers=[0])
    _, cache = cached("bert", keep=["value"])
    with pytest.raises(InputError, match="unknown site 'vlaue'; did you mean 'value'"):
        cache.site("vlaue", 0)


def test_every_architecture_of_the_table_is_one_of_transformers():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert set(BLOCKS) <= set(CONFIG_MAPPING_NAMES)
