"""Benchmarks of what is computed from caches, and of fine-tuning."""

import itertools
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.analysis.metrics.labels import class_labels
from microtome.analysis.metrics.scoring import score as score_of
from microtome.analysis.probing.probes import ProbeSettings
from microtome.analysis.probing.probes.linear import LinearProbe
from microtome.analysis.probing.probes.svm import SvmProbe
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.units import units
from microtome.jobs.models import training
from microtome.jobs.models.task_model import TaskModel
from microtome.jobs.tasks import Recipe
from tests.bench.measuring import Bench, Row, Speed, seconds

SWEEP = ProbeConfig(strengths=(1.0,), controls=False, codelength=False, baselines=False, resamples=0)
PROBED = (("train", 0, 3800), ("test", 3800, 1000))  # sentences of jnlpba: about 100,000 words to fit


def probing_again(bench: Bench) -> list[Row]:
    """Extracting again for a sweep of the linear probe over all layers, against the sweep from the cache."""
    train, test = (bench.extract(name, examples=bench.few_examples) for name in ("train", "test"))
    again = itertools.count()
    sweep, extraction = seconds(
        lambda: probe(SWEEP, train, test),
        lambda: [
            bench.extract(f"again-{next(again)}", examples=bench.few_examples) for _ in ("train", "test")
        ],
        repeats=1,
    )
    bench.clear()
    detail = f"sweep {sweep:.1f} s, extraction of train and test {extraction:.1f} s"
    speedup = (extraction + sweep) / sweep
    ours = "a sweep of the linear probe over all layers from the cache"
    return [Speed(ours, "extracting again and the same sweep", speedup, 10, detail)]


def linear_probe(bench: Bench) -> list[Row]:
    """The linear probe over all layers, against a loop over the layers with scikit-learn to convergence."""
    train, test = (bench.extract(name, examples=size, offset=start) for name, start, size in PROBED)
    train_units, test_units = units(train), units(test)
    layers = train.layout.hidden_layers
    scores: dict[str, list[float]] = {"ours": [], "theirs": []}

    def score(side: str, predicted: np.ndarray) -> None:
        labels = class_labels(test_units.y, predicted, test_units.classes)
        scores[side].append(score_of("token_macro_f1", labels))

    def ours() -> None:
        scores["ours"].clear()
        classifier = LinearProbe(ProbeSettings())
        for layer in layers:
            classifier.fit(train_units.features(train.hidden(layer)), train_units.y, train_units.groups)
            score("ours", classifier.predict(test_units.features(test.hidden(layer)), test_units.groups))

    def theirs() -> None:
        scores["theirs"].clear()
        for layer in layers:
            scale = StandardScaler()
            classifier = LogisticRegression(max_iter=2000)
            classifier.fit(scale.fit_transform(train_units.features(train.hidden(layer))), train_units.y)
            score("theirs", classifier.predict(scale.transform(test_units.features(test.hidden(layer)))))

    fast, slow = seconds(ours, theirs, repeats=1, warm=False)
    difference = max(abs(a - b) for a, b in zip(scores["ours"], scores["theirs"], strict=True))
    detail = (
        f"{fast:.0f} and {slow:.0f} s, {len(train_units.y)} words; F1 differs by {difference:.4f} at most"
    )
    bench.clear()
    other = "scikit-learn's LogisticRegression (lbfgs), layer by layer"
    return [Speed("the linear probe over all layers", other, slow / fast, 4, detail)]


def rbf_probe(bench: Bench) -> list[Row]:
    """The support-vector machine on its Gram matrix from one product, against scikit-learn's own kernel."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2 * bench.model.config.hidden_size)).astype(np.float32)
    y = (x[:, :5].sum(axis=1) + rng.normal(size=len(x)) > 0).astype(np.int64)
    rows = np.arange(len(x))

    def our_machine() -> None:
        machine = SvmProbe(ProbeSettings())
        machine.fit(x, y, rows)
        machine.predict(x, rows)

    theirs, ours = seconds(
        lambda: make_pipeline(StandardScaler(), SVC()).fit(x, y).predict(x),
        our_machine,
        repeats=1,
    )
    detail = f"{ours:.1f} and {theirs:.1f} s for {len(x)} pairs"
    return [Speed("the svm probe", "scikit-learn's SVC with its own kernel", theirs / ours, 1, detail)]


def comparing_attentions(bench: Bench) -> list[Row]:
    """A loop of sklearn's cosine_similarity per sentence, layer and head, against the comparison job."""
    one, other = (bench.extract(name, examples=bench.few_examples) for name in ("one", "other"))
    maps = {
        c: [[c.attention(layer, e) for e in range(c.examples)] for layer in range(c.layers)]
        for c in (one, other)
    }

    def loop() -> None:
        for layer in range(one.layers):
            for example in range(one.examples):
                for head in range(one.heads):
                    a, b = (maps[c][layer][example][head].reshape(1, -1) for c in (one, other))
                    cosine_similarity(a, b)

    config = AttentionConfig(measures=("cosine",), patterns=())
    theirs, ours = seconds(loop, lambda: compare_attention(config, one, other), repeats=1)
    detail = f"{ours:.2f} s from disk, {theirs:.2f} s from memory"
    loop_of_sklearn = "a loop of scikit-learn's cosine_similarity over sentences, layers and heads"
    return [Speed("the attention comparison", loop_of_sklearn, theirs / ours, 20, detail)]


def fine_tuning(bench: Bench) -> list[Row]:
    """Tokens per second with length-sorted dynamic batches, over padding every batch to max_length."""
    recipe = Recipe(batch_size=32, max_length=128)
    model = TaskModel(bench.model_folder, "bench", bench.task.kind, bench.task.labels, recipe)
    features = model.prepare(bench.sentences[: bench.few_examples]).features
    order = sorted(range(len(features)), key=lambda i: len(features[i]["input_ids"]))
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=1e-5)

    def epoch(to_max: bool) -> None:
        model.model.train()
        for start in range(0, len(order), recipe.batch_size):
            examples = [features[i] for i in order[start : start + recipe.batch_size]]
            batch = model.collator([*examples, _longest(recipe.max_length)] if to_max else examples)
            if to_max:
                batch = {name: value[:-1] for name, value in batch.items()}
            model.model(**batch).loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    tokens = bench.tokens(bench.few_examples)
    fixed, dynamic = seconds(lambda: epoch(True), lambda: epoch(False), repeats=1)
    detail = f"{tokens / dynamic:.0f} against {tokens / fixed:.0f} tokens/s"
    ours = "fine-tuning in batches of similar length"
    return [Speed(ours, "padding to the maximum length", fixed / dynamic, 2, detail)]


def _longest(length: int) -> dict[str, Any]:
    return {"input_ids": [0] * length, "segment_ids": [0] * length, "labels": [training.IGNORED] * length}
