"""Each benchmark runs on a tiny case, untimed: a change of what it calls does not break it unseen."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from tests.bench import analyses, extraction, one_by_one
from tests.bench.measuring import Bench, Row
from tests.bench.whole_process import extract_command, script_command, surroundings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder, "cpu", "bert", examples=12, few_examples=8, dim=16, layers=3, heads=2)


@pytest.mark.parametrize(
    "measure",
    [
        extraction.extraction_cost,
        extraction.bytes_on_disk,
        extraction.reading_a_layer,
        extraction.writing,
        analyses.probing_again,
        analyses.comparing_attentions,
        analyses.fine_tuning,
    ],
)
def test_a_benchmark_gives_rows_that_say_what_is_faster(
    tiny: Bench, measure: Callable[[Bench], list[Row]]
) -> None:
    rows = measure(tiny)
    assert rows
    assert all(row.words and row.bound and row.detail for row in rows)
    tiny.clear()


def test_the_script_keeps_what_the_command_keeps(tiny: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in surroundings(tiny).items():
        monkeypatch.setenv(name, value)
    options = ("--keep", "hidden", "--tokens", "last_subwords", "--dtype", "float32")
    main(extract_command(tiny, options)[3:], standalone_mode=False)
    [artifact] = Store().list()
    cache = ActivationCache(artifact.path)
    arguments = script_command(tiny)[2:]
    one_by_one.extract(*arguments)
    with h5py.File(arguments[-1]) as file:
        assert cache.examples == len(file) == 8
        for example in range(cache.examples):
            for layer in cache.layout.hidden_layers:
                states = file[str(example)][layer]
                np.testing.assert_allclose(cache.hidden(layer, example), states, atol=1e-5)
