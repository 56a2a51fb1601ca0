"""A new probe or part format is a class and a line in its registry: nothing else has to be told."""

import click
import numpy as np
import pytest
from click.testing import CliRunner

from microtome.analysis.probing.probes import PROBES, Probe
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.jobs.cli.options import options_of
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.suite.suite import suite_class
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.description import CachedSplit
from microtome.store.cache.examples import Examples
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import PartFormat
from microtome.store.cache.layout import Layout
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from microtome.store.errors import InputError

SUITE = {"name": "own", "description": "a probe of our own", "models": ["bert"], "tasks": ["sick"]}
LENGTHS = [2, 3, 1, 4] * 5


class Commonest(Probe):
    """Always the commonest class."""

    probabilistic = False
    regularised = False

    def fit(self, x, y, groups):
        self.answer = np.bincount(y).argmax()

    def predict(self, x, groups):
        return np.full(len(x), self.answer)


class NpzParts(PartFormat):
    suffix = ".npz"

    def write(self, path, arrays, compression):
        np.savez(path, **arrays)
        return {}

    def read(self, path, names):
        return dict(np.load(path))


def cache_in(form, tmp_path, seed):
    """A cache of words of two classes in a part format."""
    rng = np.random.default_rng(seed)
    tokens = sum(LENGTHS)
    layout = Layout(
        layers=1,
        heads=1,
        dim=3,
        causal=False,
        dtype="float32",
        hidden_layers=(0, 1),
        attention_layers=(),
    )
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    table = Examples(
        offsets=offsets,
        input_ids=np.arange(tokens, dtype=np.int32),
        word_ids=np.concatenate([np.arange(length) for length in LENGTHS]).astype(np.int32),
        segment_ids=np.zeros(tokens, np.int8),
        special_mask=np.zeros(tokens, bool),
        word_offsets=offsets,
        labels=(rng.random(tokens) < 0.3).astype(np.int16),
        spans=np.zeros((len(LENGTHS), 2, 2), np.int32),
        rows=np.arange(len(LENGTHS)),
        documents=np.arange(len(LENGTHS)),
    )
    hidden = rng.normal(size=(2, tokens, 3)).astype(np.float32)
    request = Request("extract", 1, {"seed": seed}, {"checkpoint": "c"}, "own")
    store = Store(tmp_path / "store")
    with store.begin(request) as staging:
        writer = CacheWriter(staging.path, staging.scratch, layout, table, part_format=form)
        for buffer in writer.claims():
            for example, start in enumerate(offsets[:-1]):
                buffer.slot("hidden", example)[:] = hidden[:, start : offsets[example + 1]]
            writer.submit(buffer)
        split = CachedSplit(
            task="task",
            split="test",
            unit="word",
            classes=("O", "B-x"),
            credentialed=False,
            segments="together",
            max_length=64,
            truncated_words=0,
        )
        description, staging.files = writer.finish(split)
        description.write(staging.outputs)
    return ActivationCache(store.find(request).path), hidden


def help_of(config):
    command = click.command("any")(options_of(config)(lambda **options: None))
    return CliRunner().invoke(command, ["--help"]).output


def test_a_probe_of_ones_own_is_a_line_in_its_registry(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="unknown probe 'commonest'.*Known: linear, svm, mlp"):
        ProbeConfig.parse({"probe": "commonest"}, where="options")
    monkeypatch.setitem(PROBES, "commonest", Commonest)
    assert "|commonest|" in "".join(help_of(ProbeConfig).split())
    step = {"view": "v", "options": {"probe": "commonest"}}
    suite = suite_class().parse(
        SUITE | {"extract": {"v": {"splits": {"train": None, "test": None}}}, "probe": [step]}, "x"
    )
    config = suite.probe[0].options
    assert config.identity()["probe"] == "commonest"
    (train, _), (test, _) = (cache_in("zarr", tmp_path, seed) for seed in (1, 2))
    scores = {
        (row["probe"], row["layer"]): row["value"]
        for row in probe(config, train, test).rows
        if row["metric"] == "token_micro_f1"
    }
    assert scores["commonest", 0] == scores["commonest", 1] == scores["majority", None]


def test_a_part_format_of_ones_own_is_a_line_in_its_registry(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="unknown part format 'npz'.*Known: zarr, hdf5"):
        ExtractConfig.parse({"format": "npz"}, where="options")
    monkeypatch.setitem(PART_FORMATS, "npz", NpzParts())
    assert ExtractConfig.parse({"format": "npz"}, where="options").format == "npz"
    assert "[zarr|hdf5|npz]" in "".join(help_of(ExtractConfig).split())
    cache, hidden = cache_in("npz", tmp_path, 3)
    assert [path.suffix for path in cache.path.glob("parts/*")] == [".npz"]
    np.testing.assert_array_equal(cache.hidden(1), hidden[1])
    np.testing.assert_array_equal(cache.hidden(0, 2), hidden[0][5:6])


def test_the_help_says_a_line_on_every_probe_from_its_class():
    text = " ".join(help_of(ProbeConfig).split())
    for name, kind in PROBES.items():
        assert f"{name}: {kind.__doc__.splitlines()[0]}" in text
        assert PROBES.about(name) == kind.__doc__.splitlines()[0]
