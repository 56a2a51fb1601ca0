"""The registry of metrics: whole, and the only place where a metric is named."""

import subprocess
import sys

import numpy as np
import pytest

from microtome.analysis.metrics import (
    METRICS,
    PRIMARY,
    PROBE_METRICS,
    PROBE_PRIMARY,
    SCORES,
    full_name,
    short_name,
)
from microtome.analysis.metrics.labels import ClassLabels, NumberLabels, SetLabels
from microtome.analysis.metrics.metric import OfOneClass, Sums
from microtome.analysis.metrics.tags import TagLabels
from microtome.jobs.tasks.types import TASK_TYPES

FORMS = {
    "words": ClassLabels,
    "numbers": NumberLabels,
    "sets": SetLabels,
    "relations": ClassLabels,
    "classes": ClassLabels,
}
OF_A_TYPE = {
    "ner": TagLabels,
    "multi-label": SetLabels,
    "multi-label-documents": SetLabels,
    "similarity": NumberLabels,
}


def test_a_metric_has_names_and_a_range():
    for name, metric in METRICS.items():
        assert metric.full_name, name
        assert metric.bounds[0] < metric.bounds[1], name
        assert full_name(name) == metric.full_name
        assert short_name(name) == (metric.short_name or name.replace("_", " "))
    assert full_name("no_such_metric") is None
    assert short_name("no_such_metric") == "no such metric"


def test_no_two_metrics_are_called_the_same():
    for names in ([metric.full_name for metric in METRICS.values()], list(map(short_name, METRICS))):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SCORES)
def test_what_divides_by_nothing_is_zero(name):
    definition = SCORES[name].definition
    if isinstance(definition, Sums | OfOneClass):
        columns = 6 if name == "pearson" else 12  # else of any number of classes, three or four of each
        assert definition.formula(np.zeros((2, columns))).tolist() == [0, 0]


@pytest.mark.parametrize("form", PROBE_METRICS)
def test_the_metrics_of_a_probe_suit_its_units(form):
    for name in PROBE_METRICS[form]:
        assert FORMS[form] in SCORES[name].labels
    assert isinstance(SCORES[PROBE_METRICS[form][0]].definition, Sums), "the primary metric has an interval"


@pytest.mark.parametrize("name", TASK_TYPES)
def test_the_metrics_of_a_task_type_suit_its_labels(name):
    kind = TASK_TYPES[name]
    for metric in kind.metrics:
        assert OF_A_TYPE.get(name, ClassLabels) in SCORES[metric].labels
    primary = SCORES[kind.primary]
    assert primary.higher_is_better  # the best epoch is the one where it is highest
    assert isinstance(primary.definition, Sums)
    assert kind.primary == next(metric for metric in PRIMARY if metric in kind.metrics)


def test_what_a_probe_is_compared_by_is_the_first_metric_of_its_form():
    for metrics in PROBE_METRICS.values():
        assert next(metric for metric in PROBE_PRIMARY if metric in metrics) == metrics[0]


def test_metrics_need_no_library_but_numpy():
    unwanted = ("sklearn", "seqeval", "scipy", "pandas", "torch", "matplotlib")
    code = f"""
import sys
import microtome.store
stored = set(sys.modules)
import microtome.analysis.metrics.scoring
print(sorted({{name.partition('.')[0] for name in set(sys.modules) - stored}} & {set(unwanted)}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
