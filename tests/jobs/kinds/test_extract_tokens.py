"""A cache that keeps less than all tokens: what it keeps of them, and that probes see no difference."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from microtome.analysis.pooling import FITTING
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.similarity import compare_similarity
from microtome.analysis.similarity_settings import SimilarityConfig
from microtome.analysis.units import units
from microtome.jobs.cli.main import main
from microtome.jobs.recompute import recompute
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError

KEEP = {"keep": ["hidden"], "dtype": "float32", "batch_tokens": 200}
TASK_OF_UNIT = {"word": "ner", "text": "classes", "segment_pair": "nli", "entity_pair": "relations"}
CASES = [
    (unit, pooling, tokens)
    for unit, by_pooling in FITTING.items()
    for pooling, fitting in by_pooling.items()
    for tokens in fitting
]


@pytest.fixture
def tasks(bench, tmp_path):
    """Adds a task of texts and one of relations to those of the workbench."""
    words = ["BRCA1", "aspirin", "causes", "severe", "headache", "in", "mice", "and", "of", "cells"]
    rng = np.random.default_rng(0)
    forms = {
        "classes": ("classification", "[mild, severe]", ["mild", "severe"], ""),
        "relations": ("relation", "[none, treats]", ["none", "treats"], ", marks: tags"),
    }
    for name, (kind, labels, classes, more) in forms.items():
        for split, size in (("train", 40), ("dev", 10), ("test", 20)):
            lines = []
            for number in range(size):
                text = [*rng.choice(words, rng.integers(3, 15))]
                if name == "relations":
                    text[1:1] = ["[E1]", "aspirin", "mice", "[/E1]"]
                    text[6:6] = ["[E2]", "headache", "[/E2]"]
                lines.append(json.dumps({"text": " ".join(text), "label": classes[number % 2]}))
            (tmp_path / f"{name}.{split}").write_text("\n".join(lines))
        files = ", ".join(f"{split}: {name}.{split}" for split in ("train", "dev", "test"))
        bench.tasks[name] = tmp_path / f"{name}.yaml"
        bench.tasks[name].write_text(
            f"name: {name}\ntype: {kind}\ntitle: small\nlabels: {labels}\nlicence: mine\nobtain: generated\n"
            f"data: {{format: jsonl, root: ., files: {{{files}}}, "
            f"columns: {{text_a: text, label: label}}{more}}}\n"
            "recipe: {max_length: 48}\n"
        )


@pytest.fixture
def cached(bench, tasks, tiny_models):
    """cached(task, split, model, ...) -> the cache of a split of a small task."""

    def extract(task, split="test", model="bert", **options):
        job = bench.extract(task, tiny_models / model, split, **KEEP | options)
        return ActivationCache(bench.run(job).path)

    return extract


@pytest.mark.parametrize("model", ["bert", "gpt2"])
@pytest.mark.parametrize(("unit", "pooling", "tokens"), CASES)
def test_a_probe_sees_what_it_sees_in_the_whole_cache(cached, model, unit, pooling, tokens):
    task = TASK_OF_UNIT[unit]
    whole, part = cached(task, model=model), cached(task, model=model, tokens=tokens)
    assert whole.unit == unit
    assert len(part.hidden(1)) == len(part.token_rows.keys) <= len(whole.hidden(1))
    of_whole, of_part = units(whole, pooling), units(part, pooling)
    for layer in range(1, 3):  # in layer 0 every [CLS] is the same, and a probe is refused
        np.testing.assert_allclose(
            of_part.features(part.hidden(layer)), of_whole.features(whole.hidden(layer)), atol=2e-6
        )
    np.testing.assert_array_equal(of_part.y, of_whole.y)
    assert (of_part.bag(2000) != of_whole.bag(2000)).nnz == 0


@pytest.mark.parametrize(
    ("unit", "tokens"),
    [("word", "words"), ("text", "mean"), ("segment_pair", "mean"), ("entity_pair", "mean")],
)
def test_probing_gives_the_same_numbers_as_from_the_whole_cache(cached, unit, tokens):
    task, config = TASK_OF_UNIT[unit], ProbeConfig(resamples=0, codelength=False, strengths=(0.1,))
    rows = [
        probe(config, *(cached(task, split, tokens=kept) for split in ("train", "test"))).rows
        for kept in ("all", tokens)
    ]
    assert len(rows[0]) == len(rows[1]) > 10
    for one, other in zip(*rows, strict=True):
        assert one == other | {"value": pytest.approx(other["value"], abs=1e-6)}


@pytest.mark.parametrize("task", ["nli"])
@pytest.mark.parametrize("tokens", ["mean", "labelled"])
def test_texts_in_sequences_of_their_own_are_kept_alike(cached, task, tokens):
    whole, part = (cached(task, segments="separate", tokens=kept) for kept in ("all", tokens))
    for layer in range(3):
        np.testing.assert_allclose(
            units(part).features(part.hidden(layer)), units(whole).features(whole.hidden(layer)), atol=2e-6
        )


@pytest.mark.parametrize(("tokens", "position"), [("cls", 0), ("last", -1)])
def test_one_token_of_each_sequence(cached, tokens, position):
    whole, part = cached("classes", model="gpt2"), cached("classes", model="gpt2", tokens=tokens)
    assert part.hidden(2).shape == (part.examples, 16)
    for example in range(part.examples):
        np.testing.assert_allclose(part.hidden(2, example), whole.hidden(2, example)[[position]], atol=2e-6)
    assert sum(p.bytes for p in part.description.parts) < sum(p.bytes for p in whole.description.parts) / 4


def test_attentions_are_of_all_tokens_whatever_is_kept_of_hidden_states(cached):
    both = cached("nli", tokens="mean", keep=["hidden", "attention"])
    whole = cached("nli", keep=["hidden", "attention"])
    np.testing.assert_allclose(both.attention(1, 3), whole.attention(1, 3), atol=2e-6)
    assert len(both.hidden(1)) == 2 * both.examples


@pytest.mark.parametrize("tokens", ["words", "labelled", "mean", "last"])
def test_it_is_computed_again_and_compared(bench, tiny_models, tokens):
    made = bench.run(bench.extract("ner", tiny_models / "bert", tokens=tokens, **KEEP))
    compared = recompute(made, tiny_models / "bert", share=1, seed=0)
    assert (compared.beyond, compared.recomputed) == ("", 30)
    assert compared.largest["hidden"] < 1e-4


def test_layers_are_compared_by_what_both_caches_keep(cached):
    mean = cached("classes", tokens="mean")
    rows = compare_similarity(SimilarityConfig(measures=("linear_cka",)), mean, mean)
    assert {row["n"] for row in rows} == {mean.examples}
    assert rows[0]["value"] == pytest.approx(1)
    with pytest.raises(InputError, match="keep mean and all of their tokens; extract both"):
        compare_similarity(SimilarityConfig(), mean, cached("classes"))


def test_what_does_not_fit_is_refused_in_one_line(bench, tiny_models, cached):
    with pytest.raises(
        InputError, match=r"^task classes: tokens: labelled does not fit labels of whole texts"
    ):
        bench.extract("classes", tiny_models / "bert", tokens="labelled", keep=["hidden"])
    with pytest.raises(InputError, match="tokens has no effect, as attentions are kept of all tokens"):
        bench.extract("nli", tiny_models / "bert", tokens="last", keep=["attention"])
    with pytest.raises(
        InputError, match="pooling: mean of word units needs a cache with tokens: all or words"
    ):
        units(cached("ner", tokens="first_subwords"))
    with pytest.raises(InputError, match="keeps mean of its tokens; to_xarray needs all"):
        cached("nli", tokens="mean").to_xarray()


def test_a_probe_that_does_not_fit_its_view_is_refused_by_the_plan(small_suite, tmp_path):
    options = "keep: [hidden], segments: separate"
    assert options in small_suite.read_text()
    small_suite.write_text(small_suite.read_text().replace(options, options + ", tokens: words"))
    plan = CliRunner().invoke(main, ["suite", "plan", str(small_suite)])
    assert plan.exit_code == 2
    assert "probe of view probing on task small-nli: pooling: mean of segment pair units needs" in plan.output
    assert "with tokens: all or mean or labelled, and this one has words" in plan.output
