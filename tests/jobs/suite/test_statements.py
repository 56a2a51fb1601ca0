"""What reports claim of random results, where there is nothing to claim and where there is."""

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.terms import MetricTerms, ScoreKey, metric_terms
from microtome.analysis.report.page import write_report
from microtome.analysis.report.sections.results import Results, read
from microtome.analysis.report.sections.summary import summary_section
from microtome.jobs.suite.results import _between_layers, _corrected, _derived
from microtome.store.frames import tidy
from microtome.store.results import DERIVED_COLUMNS

EXAMPLES, LAYERS, HEADS = 120, 4, 4
RUN_SPREAD = 0.03  # of the accuracy of training runs, beside the chance of the examples
LAYER_SPREAD = 0.15  # of the log change of attention between layers of a run

# What a sentence that claims something has in it; the other sentences are numbers, ties or doubts.
CLAIMS = {
    "a model is ahead": r"\d ahead of ",
    "a share of a gain": r"Of the gain of ",
    "the best layer moved": r"it moved in ",
    "a layer's score changed": r"it (rises|falls) by ",
    "later layers changed more or less": r"changed <b>(more|less)</b>",
    "one layer changed most": r"layer <b>\d+</b> changed most",
}


@dataclass(frozen=True)
class Design:
    """A suite: so many models, these shares of the training data, so many seeds."""

    models: int
    fractions: tuple[int, ...]
    seeds: int

    def claims(self) -> set[str]:
        """What a report of the design could claim at all."""
        possible = set(CLAIMS) if self.seeds > 1 else set()
        possible -= {"a model is ahead"} if self.models == 1 else set()
        possible -= {"a share of a gain"} if len(self.fractions) < 3 else set()
        return possible - ({"one layer changed most"} if self.seeds < 3 else set())


DESIGNS = [
    Design(2, (0, 100), 1),
    Design(1, (0, 100), 3),
    Design(2, (0, 10, 100), 3),
    Design(4, (0, 30, 100), 5),
]
IDS = [f"{d.models}x{len(d.fractions)}x{d.seeds}" for d in DESIGNS]


@dataclass(frozen=True)
class Effects:
    """What differs: accuracy between neighbouring models, with training, between layers; log change of
    attention from one layer to the next."""

    model: float = 0.0
    training: float = 0.0
    layer: float = 0.0
    attention: float = 0.0


class Simulation:
    """Random results of one suite on one task."""

    def __init__(self, design: Design, effects: Effects, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.ease = self.rng.normal(0, 0.15, EXAMPLES)  # of each example, for all models alike
        self.gold = self.rng.integers(0, 2, EXAMPLES)
        self.rows: list[dict[str, object]] = []
        self.scores: dict[object, dict[tuple[str, float], list[MetricTerms]]] = {}
        for model, fraction in product(range(design.models), design.fractions):
            for seed_number in range(design.seeds):
                self._add_run(model, fraction, seed_number, effects)

    def _add_run(self, model: int, fraction: int, seed: int, effects: Effects) -> None:
        about = {"task": "pairs", "model": f"model-{model}", "fraction": float(fraction), "seed": seed}
        trained = effects.training * (1 if fraction == 100 else 0.8 if fraction else 0)
        accuracy = 0.5 + model * effects.model * (fraction > 0) + trained
        self._score({**about, "kind": "finetune"}, ScoreKey(), accuracy)
        if fraction or not seed:
            for layer in range(LAYERS):
                shape = effects.layer * (abs(layer - (LAYERS - 1 if fraction else 1)) * -1)
                probe = {**about, "kind": "probe", "probe": "linear", "layer": layer}
                self._score(probe, ScoreKey("linear", layer), 0.6 + shape + trained)
        if fraction:
            self._attend({**about, "kind": "attention"}, effects.attention)

    def _score(self, about: dict[str, object], key: ScoreKey, accuracy: float) -> None:
        chance = np.clip(accuracy + self.rng.normal(0, RUN_SPREAD) + self.ease, 0, 1)
        right = self.rng.random(EXAMPLES) < chance
        labels = class_labels(self.gold, np.where(right, self.gold, 1 - self.gold), ["no", "yes"])
        terms = metric_terms("accuracy", labels)
        value = terms.value()
        reach = 1.96 * np.sqrt(value * (1 - value) / EXAMPLES)
        bounds = {"value": value, "low": value - reach, "high": value + reach, "n": EXAMPLES}
        self.rows.append({**about, "split": "test", "metric": "accuracy", **bounds})
        item = about["kind"], "pairs", key
        self.scores.setdefault(item, {}).setdefault((about["model"], about["fraction"]), []).append(terms)

    def _attend(self, about: dict[str, object], slope: float) -> None:
        layers = slope * np.arange(LAYERS) + self.rng.normal(0, LAYER_SPREAD, LAYERS)
        changes = 0.1 * np.exp(layers[:, None] + self.rng.normal(0, 0.3, (LAYERS, HEADS)))
        self.rows += [
            {**about, "metric": "jensen_shannon", "layer": layer, "head": head, "value": changes[layer, head]}
            for layer, head in np.ndindex(changes.shape)
        ]

    def tables(self):
        """What was measured, and what is derived from it as from a suite's artifacts."""
        derived = [*_derived(self.scores), *_between_layers(self.scores, {})]
        return tidy(self.rows), tidy(_corrected(derived), DERIVED_COLUMNS)

    def results(self) -> Results:
        return read(*self.tables())


def claimed(results: Results) -> tuple[set[str], bool]:
    """Which claims the sentences of the summary make, and whether its table marks a model or a gain."""
    section = summary_section(results)
    text = " ".join(str(sentence) for part in section.findings.values() for sentence in part)
    marked = any(cell.style for row in section.tables[0].cells for cell in row)
    return {claim for claim, pattern in CLAIMS.items() if re.search(pattern, text)}, marked


@pytest.mark.parametrize(
    "design",
    [pytest.param(d, marks=pytest.mark.thorough if d in DESIGNS[1:3] else ()) for d in DESIGNS],
    ids=IDS,
)
def test_of_results_without_an_effect_at_most_seven_in_a_hundred_claims_are_made(design):
    """The share is of claims, not of reports: p values are corrected over each table, so that each claim is
    wrong in at most one of twenty reports; a reader of a page reads several."""
    reports = {1: 3, 3: 24, 5: 12}[design.seeds]
    made = [claimed(Simulation(design, Effects(), seed).results()) for seed in range(reports)]
    possible = design.claims()
    assert all(claims <= possible for claims, _ in made)
    total = sum(len(claims) for claims, _ in made) + sum(marked for _, marked in made)
    print(
        design,
        total,
        [sum(c in claims for claims, _ in made) / reports for c in CLAIMS],
        sum(m for _, m in made) / reports,
    )
    assert total <= 0.07 * reports * (len(possible) + 1)


def test_effects_that_are_there_are_claimed():
    design = DESIGNS[3]
    effects = Effects(model=0.3 / design.models, training=0.25, layer=0.15, attention=1.2)
    made = [claimed(Simulation(design, effects, seed).results()) for seed in range(4)]
    for claim in design.claims():
        assert sum(claim in claims for claims, _ in made) >= 3, claim
    assert all(marked for _, marked in made)


def test_a_page_of_one_run_shows_numbers_and_claims_nothing(tmp_path):
    measured, derived = Simulation(DESIGNS[0], Effects(model=0.1, training=0.25), 1).tables()
    page = write_report(
        measured, tmp_path, suite="s", description="", provenance={}, derived=derived
    ).read_text("utf-8")
    assert "one training run: its luck is in no interval" in page
    assert not [claim for claim, pattern in CLAIMS.items() if re.search(pattern, page)]
