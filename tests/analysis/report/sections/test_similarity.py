"""The similarity section on rows built by hand."""

import csv
from itertools import product

from microtome.analysis.report.sections.similarity import similarity_section


def similarity_rows(fractions, metrics=("linear_cka", "rsa"), seeds=(1, 2)):
    return [
        {
            **{"kind": "similarity", "task": "pairs", "model": model, "fraction": fraction, "seed": seed},
            **{"stage": stage, "layer": layer, "other_layer": other, "metric": metric},
            "value": 1 - abs(layer - other) / 4 - (stage == "across") * (fraction / 200 + seed / 100),
        }
        for model, fraction, seed, stage in product(
            ("one", "two"), fractions, seeds, ("before", "after", "across")
        )
        for layer, other, metric in product(range(3), range(3), metrics)
    ]


def test_rsa_is_folded_and_everything_has_a_name_of_its_own(results):
    figures = similarity_section(results(similarity_rows([30, 100]))).figures
    assert [figure.folded for figure in figures] == [False, False, True, True]
    idents = [picture.ident for figure in figures for picture in figure.pictures]
    assert idents == [
        "similarity-moved-linear-cka-1-pairs",
        "similarity-linear-cka-1-pairs",
        "similarity-moved-rsa-1-pairs",
        "similarity-rsa-1-pairs",
    ]


def test_how_far_layers_moved_is_the_diagonal_across_by_fraction(results):
    moved = similarity_section(results(similarity_rows([30, 100]))).figures[0]
    row = next(csv.DictReader(moved.table.csv.splitlines()))
    assert (row["layer"], row["30 %"], row["100 %"]) == ("0", "0.835", "0.485")
    assert "100 % deviation" in row


def test_maps_are_of_the_largest_fraction_with_all_three_stages(results):
    maps = similarity_section(results(similarity_rows([30, 100]))).figures[1]
    rows = list(csv.DictReader(maps.table.csv.splitlines()))
    assert {row["fraction"] for row in rows} == {"100"}
    assert {row["stage"] for row in rows} == {"before", "after", "across"}
    assert rows[0]["layer 2"] == "0.5"
    assert all(f"one · {stage}" in maps.pictures[0].svg for stage in ("before", "after", "across"))


def test_an_adapted_model_is_compared_with_its_base_apart(results):
    figures = similarity_section(results(similarity_rows([0], metrics=["linear_cka"], seeds=[1]))).figures
    assert [figure.title for figure in figures] == ["Adapted models beside their base: linear CKA"]


def test_no_similarity_no_section(results):
    assert similarity_section(results([{"kind": "similarity", "metric": "novel", "value": 0.5}])) is None
