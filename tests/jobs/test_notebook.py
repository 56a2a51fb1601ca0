"""What a notebook calls, on the store of the small demo."""

import pandas as pd
import pytest

from microtome.jobs import notebook
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.cache.listing import caches
from microtome.store.cache.reader import open_cache
from microtome.store.errors import InputError
from microtome.store.results import COLUMNS, DERIVED_COLUMNS

NER = {"task": "demo-ner", "model": "bert", "split": "test"}


@pytest.fixture
def cache_ids(demo_store):
    """Ids of caches of words: before and after, hidden states and attentions."""
    found = caches(**NER)
    return {(row.fraction, "hidden" if row.hidden else "attention"): row.id for row in found.itertuples()}


def test_results_are_what_was_measured_and_derived_results_what_follows(demo_store):
    measured, derived = notebook.results("demo"), notebook.derived_results("demo")
    assert list(measured) == list(COLUMNS)
    assert list(derived) == list(DERIVED_COLUMNS)
    assert not measured["artifact"].isna().any()
    assert not set(measured["stage"].dropna()) & {"mean", "gain", "difference"}
    keys = ["kind", "task", "model", "fraction", "probe", "layer", "metric"]
    row = derived[(derived["quantity"] == "gain") & (derived["kind"] == "probe")].iloc[0]
    measured = measured[measured["split"] == "test"]
    at = measured[(measured[keys[:3] + keys[4:]] == row[keys[:3] + keys[4:]]).all(axis="columns")]
    score = at.set_index("fraction")["value"]
    assert row["value"] == pytest.approx(score[row["fraction"]] - score[row["reference_fraction"]])


def test_a_suite_may_be_a_file_and_the_store_anywhere(demo_store, demo, monkeypatch, tmp_path):
    rows = notebook.results("demo")
    path, read = demo / "suites" / "demo.yaml", load_suite("demo")
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "none"))
    assert notebook.results("demo").empty
    for suite in (path, read):
        for store in (demo_store, Store(demo_store)):
            pd.testing.assert_frame_equal(notebook.results(suite, store), rows)
    assert notebook.results(path, demo_store, overrides=["tasks=[demo-ner]"])["task"].dropna().nunique() == 1
    with pytest.raises(InputError, match="overrides change a suite as it is read"):
        notebook.results(read, overrides=["seeds=[2]"])


def test_a_cache_may_be_given_in_any_way(cache_ids, demo_store):
    before, after = (cache_ids[fraction, "hidden"] for fraction in (0, 100))
    wanted = notebook.compare_similarity(before, after, tokens=50, items=20)
    artifact = Store().open(after)
    for other in (artifact, artifact.path, artifact.path.name, open_cache(after)):
        pd.testing.assert_frame_equal(notebook.compare_similarity(before, other, tokens=50, items=20), wanted)
    assert set(notebook.compare_similarity(before, tokens=50, items=20)["stage"]) == {"before"}
    assert (wanted["model"] == "bert").all()
    assert (wanted["fraction"] == 100).all()


def test_what_a_suite_measured_is_measured_again(cache_ids, demo_store):
    [train] = caches(**NER | {"split": "train"}, fraction=0)["id"]
    [dev] = caches(**NER | {"split": "dev"}, fraction=0)["id"]
    again = notebook.probe(train, cache_ids[0, "hidden"], dev)
    rows = notebook.results("demo")
    rows = rows[(rows["kind"] == "probe") & (rows["task"] == "demo-ner") & (rows["model"] == "bert")]
    first = rows[rows["fraction"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first[list(again)])

    changed = notebook.compare_attention(cache_ids[0, "attention"], cache_ids[100, "attention"])
    rows = notebook.results("demo")
    rows = rows[(rows["kind"] == "attention") & (rows["task"] == "demo-ner") & (rows["model"] == "bert")]
    pd.testing.assert_frame_equal(changed, rows.reset_index(drop=True)[list(changed)])


def test_settings_go_over_those_of_a_config_and_are_checked(cache_ids, demo_store):
    [train] = caches(**NER | {"split": "train"}, fraction=0)["id"]
    config = notebook.ProbeConfig(layers=(1,), controls=False, codelength=False, baselines=False)
    rows = notebook.probe(train, cache_ids[0, "hidden"], config=config, layers=[2], strengths=[0.1])
    assert set(rows["layer"]) == {2}
    assert set(rows["probe"]) == {"linear"}
    assert "selectivity" not in set(rows["metric"])
    with pytest.raises(InputError, match="unknown key in the settings 'layer'; did you mean 'layers'"):
        notebook.probe(train, cache_ids[0, "hidden"], layer=2)


def checkpoint(task):
    of_task = [a for a in Store().list("finetune") if a.labels["task"] == task]
    return next(a for a in of_task if a.labels["fraction"] == 100)


def test_entities_of_texts_have_a_row_each(demo_store, monkeypatch):
    monkeypatch.setattr(
        notebook.prediction,
        "predict",
        lambda artifact, folder, examples, texts: iter(
            [
                {"id": "0", "entities": []},
                {"id": "1", "entities": [{"type": "Gene", "start": 4, "end": 8, "text": texts[1][4:8]}]},
            ]
        ),
    )
    found = notebook.predict(checkpoint("demo-ner"), ["none here", "the BRCA gene"])
    assert found.to_dict("records") == [{"text": 1, "type": "Gene", "start": 4, "end": 8, "entity": "BRCA"}]


def test_labels_of_pairs_have_a_row_per_pair_with_probabilities(demo_store):
    pairs = [("A fever .", "No fever ."), ["He is well .", "He is ill ."]]
    found = notebook.predict(checkpoint("demo-nli").id[:8], pairs)
    classes = [name for name in found if name.startswith("p(")]
    assert found["text_b"].tolist() == ["No fever .", "He is ill ."]
    assert [f"p({label})" for label in found["label"]] == found[classes].idxmax(axis="columns").tolist()
    assert found[classes].sum(axis="columns").tolist() == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("task", "texts", "message"),
    [
        ("demo-nli", ["one"], r"texts\[0\]: expected two texts, found 'one'"),
        ("demo-ner", ["one", ("a", "b")], r"texts\[1\]: expected a text, found \('a', 'b'\)"),
        ("demo-ner", ["one", " "], r"texts\[1\]: expected a text"),
        ("demo-ner", [], "no texts"),
    ],
)
def test_texts_that_do_not_suit_the_task_are_refused(demo_store, task, texts, message):
    with pytest.raises(InputError, match=message):
        notebook.predict(checkpoint(task), texts)


def test_only_a_fine_tuned_model_is_asked(cache_ids):
    with pytest.raises(InputError, match="is no fine-tuned model. See: microtome cache ls --kind finetune"):
        notebook.predict(cache_ids[0, "hidden"], ["x"])
