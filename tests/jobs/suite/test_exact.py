"""The exact suites, setting by setting: what they say takes effect."""

import numpy as np
import pytest
import torch

from microtome.analysis.probing.probes.bilstm_crf import BilstmCrfProbe
from microtome.jobs.kinds.probe import ProbeStep
from microtome.jobs.suite.suite import load_suite


def probe_options(suite, name):
    [options] = [s.options for s in load_suite(suite).steps(ProbeStep) if s.options.probe == name]
    return options


@pytest.mark.parametrize("suite", ["paper-exact", "paper-open-exact"])
def test_the_tagging_probe_is_256_wide_in_all_and_makes_three_passes(suite, monkeypatch):
    options = probe_options(suite, "bilstm-crf")
    steps = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: (steps.append(1), step(self, *a, **k))[1]
    )
    sentences = 70  # two batches of at most 64
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * sentences, 4)).astype(np.float32)
    probe = BilstmCrfProbe(options.settings())
    probe.fit(x, rng.integers(0, 2, 2 * sentences), np.repeat(np.arange(sentences), 2))
    assert probe._network["linear"].in_features == 256
    assert len(steps) == 3 * 2


def test_the_probe_of_sentences_has_one_strength_and_features_as_they_are():
    options = probe_options("paper-exact", "svm")
    assert (options.strengths, options.standardise, options.pooling) == ((1.0,), False, "mean-all")


@pytest.mark.parametrize("name", ["paper", "paper-exact"])
def test_each_architecture_of_the_paper_has_a_floor_of_several_draws(name):
    models = load_suite(name).models
    trained = {model for model, spec in models.items() if spec.weights != "random"}
    floors = {spec.source: spec.draws for spec in models.values() if spec.weights == "random"}
    assert floors == dict.fromkeys(trained, 3)
    assert trained == {"bert", "biobert", "gpt2", "biogpt"}


@pytest.mark.parametrize("name", ["paper-exact", "paper-open-exact"])
def test_the_tagger_of_the_paper_has_six_classes_and_ours_eleven(name):
    exact, ours = (load_suite(suite).task("jnlpba") for suite in (name, "paper"))
    assert (exact.recipe.tags, ours.recipe.tags) == ("types", "iob2")
    assert exact.classes == ("O", "DNA", "protein", "cell_type", "cell_line", "RNA")
    assert len(ours.classes) == 11
