"""Heads that changed more than two training runs differ from each other."""

from itertools import product

import numpy as np
import pandas as pd

from microtome.analysis.attention.compare import BETWEEN_SEEDS
from microtome.analysis.attention.floor import changed_heads

HEADS, EXAMPLES = 40, 50


def rows(change, rng, seeds=5):
    """Change of each head [HEADS] beside a floor of 0.1, in `seeds` runs; each run has its own luck."""
    made = []
    for stage, mean, runs in (("", change, seeds), (BETWEEN_SEEDS, np.full(HEADS, 0.1), seeds - 1)):
        for seed, head in product(range(runs), range(HEADS)):
            values = mean[head] + rng.normal(0, 0.01) + rng.normal(0, 0.05, EXAMPLES)
            at = {"kind": "attention", "task": "t", "model": "m", "fraction": 100.0, "layer": 0, "head": head}
            at |= {"stage": stage, "seed": seed, "n": EXAMPLES}
            made.append({**at, "metric": "jensen_shannon", "value": values.mean()})
            made.append({**at, "metric": "jensen_shannon_std", "value": values.std()})
    return pd.DataFrame(made)


def test_heads_beyond_the_floor_are_named_and_the_others_are_not():
    rng = np.random.default_rng(0)
    change = np.where(np.arange(HEADS) < 10, 0.2, 0.1)
    table = changed_heads(rows(change, rng)).set_index("head")
    assert table["changed"][:10].all()
    assert table["changed"][10:].sum() <= 1
    assert abs(table["floor"].mean() - 0.1) < 0.01


def test_where_fine_tuning_does_no_more_than_another_seed_hardly_any_head_is_called_changed():
    rng = np.random.default_rng(0)
    tables = [changed_heads(rows(np.full(HEADS, 0.1), rng)) for _ in range(20)]
    assert np.mean([table["changed"].any() for table in tables]) <= 0.1


def test_one_training_run_has_no_floor():
    made = rows(np.full(HEADS, 0.5), np.random.default_rng(0))
    assert changed_heads(made[made["stage"] == ""]).empty
