"""Attentions of which patterns and some rows of each map are kept, and no maps."""

import itertools

import numpy as np
import pytest

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.analysis.attention.patterns import PATTERNS
from microtome.jobs.recompute import recompute
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError, MissingError
from tests.jobs.models.families import make_changed, make_family, tokenizer_of

KEEP = {"keep": ["attention"], "examples": 12, "batch_tokens": 200, "dtype": "float32"}
EVERY_ROW = 48  # as many as the longest text has
MEASURES = ("cosine", "jensen_shannon", "l1", "cosine_whole")
# Both directions, one direction, windows that are shorter than the texts, and sinks.
FAMILIES = ("bert", "gpt2", "mistral", "gpt_oss")


@pytest.fixture
def pair(bench, tmp_path, tiny_models):
    """pair(family, **options) -> caches of a model and of the same model with other weights."""
    folders = {}

    def extract(kind, task="nli", **options):
        if kind not in folders:
            one = make_family(kind, tmp_path / kind, tokenizer_of(tiny_models / "bert"))
            folders[kind] = one, make_changed(one, tmp_path / f"{kind}-changed")
        jobs = [bench.extract(task, folder, **KEEP | options) for folder in folders[kind]]
        return [ActivationCache(bench.run(job).path) for job in jobs]

    return extract


def compared(caches, **settings):
    """(layer, head, stage, metric) -> value, and the rows themselves."""
    rows = compare_attention(AttentionConfig(**settings), *caches)
    keys = ("layer", "head", "stage", "metric", "n")
    return {tuple(row.get(key) for key in keys): row["value"] for row in rows}, rows


def assert_equal_values(values, wanted):
    assert values.keys() == wanted.keys()
    aligned = [values[key] for key in wanted]
    np.testing.assert_allclose(aligned, list(wanted.values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", FAMILIES)
def test_patterns_are_those_of_whole_maps_under_every_setting(pair, kind):
    whole, kept = pair(kind), pair(kind, attention_keep="patterns", attention_rows=0)
    for special, invisible in itertools.product(("mask", "keep"), repeat=2):
        settings = {"special": special, "invisible": invisible, "measures": ()}
        wanted, _ = compared(whole, **settings)
        values, rows = compared(kept, **settings)
        assert_equal_values(values, wanted)
        assert {row["basis"] for row in rows} == {"patterns"}
        named = {row["metric"] for row in rows if row["stage"] == "after"} & set(PATTERNS)
        sinks = {"to_sink"} if kind == "gpt_oss" else set()
        assert named == set(PATTERNS) - {"to_entities", "to_sink"} | sinks


@pytest.mark.parametrize("kind", FAMILIES)
def test_measures_of_every_row_are_those_of_whole_maps(pair, kind):
    whole, kept = pair(kind), pair(kind, attention_keep="patterns", attention_rows=EVERY_ROW)
    for special in ("mask", "keep"):
        settings = {"special": special, "measures": MEASURES}
        values, _ = compared(kept, **settings)
        assert_equal_values(values, compared(whole, **settings)[0])


def test_measures_of_some_rows_are_estimates_with_honest_intervals(pair):
    more = {"examples": 30}
    whole, kept = pair("bert", **more), pair("bert", attention_keep="patterns", attention_rows=4, **more)
    wanted, _ = compared(whole, measures=MEASURES, patterns=())
    _, rows = compared(kept, measures=MEASURES, patterns=())
    assert {row["basis"] for row in rows} == {"4 rows"}
    inside, errors = [], []
    for row in rows:
        exact = wanted.get((row["layer"], row["head"], None, row["metric"], row["n"]))
        if "low" in row:
            inside.append(row["low"] <= exact <= row["high"])
            errors.append((row["value"] - exact) / exact)
    assert len(inside) == 3 * 4 * len(MEASURES)
    assert np.mean(inside) > 0.9
    assert 0 < np.abs(errors).max() < 0.2
    assert abs(np.mean(errors)) < 0.02


def test_a_cache_of_patterns_is_compared_with_one_of_maps(pair):
    (whole_before, whole_after), (_, after) = pair("gpt2"), pair("gpt2", attention_keep="patterns")
    wanted, _ = compared([whole_before, whole_after])
    values, rows = compared([whole_before, after])
    patterns = {key: value for key, value in wanted.items() if key[2]}
    assert_equal_values({key: value for key, value in values.items() if key[2]}, patterns)
    assert {row["stage"]: row.get("basis") for row in rows if "stage" in row} == {
        "before": None,
        "after": "patterns",
    }
    assert {row["basis"] for row in rows if "stage" not in row} == {"16 rows"}
    several = [key for key in values if key[2] is None and "std" not in key[3]]
    assert [values[key] for key in several] == pytest.approx([wanted[key] for key in several], rel=0.3)


def test_entities_of_words_are_among_the_patterns(pair):
    settings = {"patterns": ("to_entities",), "measures": ()}
    kept = pair("bert", task="ner", attention_keep="patterns", attention_rows=0)
    values, _ = compared(kept, **settings)
    assert_equal_values(values, compared(pair("bert", task="ner"), **settings)[0])
    assert max(values.values()) > 0.05


def test_it_takes_little_disk_and_holds_no_map(pair):
    (whole, _), (kept, _) = pair("bert"), pair("bert", attention_keep="patterns", attention_rows=2)
    layout = kept.layout
    assert layout.extents("attention", np.array([40, 1000, 1])).tolist() == [80, 2000, 1]
    assert layout.extents("attention_patterns", np.array([40, 1000])).tolist() == [18, 18]
    sizes = [sum(part.bytes for part in cache.description.parts) for cache in (whole, kept)]
    assert sizes[1] < sizes[0] / 4
    for read in (lambda: kept.attention(0, 0), lambda: next(kept.iter_attention(0))):
        with pytest.raises(MissingError, match="keeps patterns of attention and no maps"):
            read()
    with pytest.raises(MissingError, match="keeps maps of attention"):
        whole.attention_patterns(0)
    for example, rows, queries in kept.iter_attention_rows(1):
        np.testing.assert_allclose(rows, whole.attention(1, example)[:, queries], atol=1e-6)
    assert set(kept.attention_patterns(2)) == set(layout.attention_patterns)
    assert kept.attention_patterns(2)["to_sink"].shape == (12, 4)


def test_hidden_states_beside_it_are_compared_again(bench, tiny_models):
    kept = {"keep": ["hidden", "attention"], "attention_keep": "patterns"}
    made = bench.run(bench.extract("nli", tiny_models / "bert", examples=4, **kept))
    result = recompute(made, tiny_models / "bert", share=1, seed=0)
    assert result.beyond == ""
    assert set(result.largest) == {"hidden"}


def test_what_cannot_be_had_is_refused_in_one_line(pair, bench, tiny_models):
    without = pair("bert", attention_keep="patterns", attention_rows=0)
    message = (
        "no rows of attention are kept, of which cosine, jensen_shannon, l1 are computed. Set measures: "
    )
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        compare_attention(AttentionConfig(), *without)
    few, more = (pair("bert", attention_keep="patterns", attention_rows=rows) for rows in (2, 3))
    with pytest.raises(InputError, match=r"rows of other queries \(2 and 3 of each map\)"):
        compare_attention(AttentionConfig(), few[0], more[1])
    for options, message in [
        ({"keep": ["hidden"], "attention_keep": "patterns"}, "attention_keep has no effect"),
        ({"attention_rows": 4}, "attention_rows has no effect"),
        ({"attention_topk": 4, "attention_keep": "patterns"}, "attention_topk is of maps"),
    ]:
        with pytest.raises(InputError, match=message):
            bench.extract("nli", tiny_models / "bert", **options)
