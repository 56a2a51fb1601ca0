"""The sentences at the top of the page, on rows built by hand."""

from itertools import product

import pytest

from microtome.analysis.report.sections.findings import OVERALL, key_findings

AT = {"kind": "finetune", "task": "pairs", "split": "test"}


def class_rows(model, predicted, seed=1, fraction=100):
    """Scores by class of a run on 60 "no" and 40 "yes": `predicted` is how many of each it calls "yes"."""
    wrong, right = predicted
    table = {"yes": (right, right + wrong, 40), "no": (60 - wrong, 100 - right - wrong, 60)}
    rows = []
    for label, (hits, named, gold) in table.items():
        at = {**AT, "model": model, "fraction": fraction, "seed": seed, "label": label}
        values = {"class_precision": hits / max(1, named), "class_recall": hits / gold, "class_support": gold}
        rows += [{**at, "metric": metric, "value": value} for metric, value in values.items()]
    return rows


def test_a_model_that_predicts_one_label_for_everything_is_called_that(results):
    rows = (
        class_rows("lazy", (0, 0)) + class_rows("lazy", (0, 0), seed=2) + class_rows("lazy", (5, 30), seed=3)
    )
    rows += (
        class_rows("good", (5, 30)) + class_rows("eager", (60, 40)) + class_rows("lazy", (0, 0), fraction=0)
    )
    (sentence,) = map(str, key_findings(results(rows))["pairs"])
    assert "with 100 % of the training data lazy in 2 of 3 runs predicts <b>no</b> for everything" in sentence
    assert "eager predicts <b>yes</b> for everything" in sentence
    assert "good" not in sentence
    assert "with 0 %" not in sentence


def test_a_model_that_tells_labels_apart_or_gets_some_wrong_is_called_nothing(results):
    assert key_findings(results(class_rows("one", (1, 40)) + class_rows("two", (0, 1)))) == {}


def test_a_model_that_gets_nothing_right_is_called_that(results):
    rows = [
        row | {"value": 0.0 if row["metric"] != "class_support" else 40} for row in class_rows("m", (0, 0))
    ]
    (sentence,) = map(str, key_findings(results(rows))["pairs"])
    assert sentence == "with 100 % of the training data m gets none of the labels right."


def gain(model, fraction, low, value, high, more=None):
    at = {"kind": "finetune", "task": "pairs", "model": model, "fraction": fraction, "quantity": "gain"}
    bounds = {"low": low, "value": value, "high": high, "p": 0.01, "seeds": 5}
    return {**at, "metric": "accuracy", **bounds, **(more or {})}


SCORE = {**AT, "model": "a", "fraction": 100, "seed": 1, "metric": "accuracy", "value": 0.5}


def test_a_share_of_a_gain_has_its_range(results):
    derived = [gain("a", 10, 0.1, 0.15, 0.2), gain("a", 100, 0.2, 0.3, 0.4)]
    (sentence,) = map(str, key_findings(results([SCORE], derived))["pairs"])
    assert sentence == (
        "Of the gain of 100 %, 10 % of the training data brings <b>50 %</b> (25 to 100 %) for a."
    )


@pytest.mark.parametrize(
    "whole",
    [{"low": -0.01}, {"p": 0.2}, {"seeds": 1}],
    ids=["its interval holds zero", "not after Holm's correction", "one run"],
)
def test_of_a_gain_that_is_not_shown_no_share_is_said(results, whole):
    derived = [gain("a", 10, 0.1, 0.15, 0.2), gain("a", 100, 0.2, 0.3, 0.4, whole)]
    assert key_findings(results([SCORE], derived)) == {}


def test_perplexities_of_masked_and_causal_models_stand_in_two_sentences(results):
    rows = [
        {
            "kind": "adapt",
            "model": model,
            "split": "heldout",
            "stage": stage,
            "metric": metric,
            "value": value,
        }
        for (model, metric), (stage, value) in product(
            [("gpt2", "perplexity"), ("bert", "masked_perplexity")], [("before", 40.0), ("after", 20.0)]
        )
    ]
    assert list(map(str, key_findings(results(rows))[OVERALL])) == [
        "Perplexity on held-out text before → after adaptation: gpt2 <b>40.0 → 20.0</b>.",
        "Masked perplexity on held-out text before → after adaptation: bert <b>40.0 → 20.0</b>.",
    ]


def attention_rows(late, seeds):
    """Two layers; the later one changed `late` times as much, with a little luck of each run."""
    return [
        {
            **{"kind": "attention", "task": "pairs", "model": "m", "fraction": 100, "seed": seed},
            **{"layer": layer, "head": head, "metric": "jensen_shannon"},
            "value": 0.1 * (late * (1 + seed / 50) if layer else 1),
        }
        for seed, layer, head in product(range(seeds), range(2), range(2))
    ]


@pytest.mark.parametrize(
    ("late", "seeds", "expected"),
    [
        (
            2.0,
            4,
            "later layers changed <b>more</b> than earlier ones, m 2.1 times (95 % interval 2.0 to 2.1)",
        ),
        (
            0.5,
            4,
            "later layers changed <b>less</b> than earlier ones, m 0.5 times (95 % interval 0.5 to 0.5)",
        ),
        (0.98, 4, "no difference between later and earlier layers is shown, m 1.0 times"),
        (2.0, 1, "is m 2.0 (one training run: its luck is in no interval)"),
    ],
)
def test_how_much_more_later_layers_changed_has_its_interval_over_runs(results, late, seeds, expected):
    (sentence,) = map(str, key_findings(results(attention_rows(late, seeds)))["pairs"])
    assert sentence.startswith("Attention with 100 % of the training data: ")
    assert expected in sentence


def probe_rows(scores, fraction, seed):
    return [
        {
            **{"kind": "probe", "task": "pairs", "model": "m", "probe": "linear", "split": "test"},
            **{"fraction": fraction, "seed": seed, "layer": layer, "metric": "accuracy"},
            **{"value": value, "low": value - 0.1, "high": value + 0.1},
        }
        for layer, value in enumerate(scores)
    ]


def test_layers_that_tie_with_the_best_are_named_and_overlapping_ones_are_no_move(results):
    rows = probe_rows([0.5, 0.85, 0.8], 0, None) + probe_rows([0.5, 0.8, 0.85], 100, 1)
    (sentence,) = map(str, key_findings(results(rows))["pairs"])
    assert sentence == (
        "Best layer for a linear probe before → after fine-tuning: m 1 (tied: 1 to 2) → 2 (tied: 1 to 2); no "
        "move is shown (one training run: its luck is in no interval)."
    )


def test_a_layer_in_the_middle_is_said_to_be_left_out(results):
    rows = attention_rows(2, 4)
    assert "in the middle" not in str(key_findings(results(rows))["pairs"])
    third = [{**row, "layer": 2} for row in rows if row["layer"] == 1]
    assert "a layer in the middle counting as neither" in str(key_findings(results([*rows, *third]))["pairs"])
