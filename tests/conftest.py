"""What several tests share: a store of their own, and tiny models made once per session."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only slow tiny models down
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches a network
CORPORA = os.environ.get("MICROTOME_DATA")

from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from tests.kill_table import note_kills, show_kills  # noqa: F401 (a fixture)

ARCHITECTURES = ("bert", "gpt2", "biogpt")


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="take every point and case, not a part of them")
    parser.addoption(
        "--family-table", action="store_true", help="print what each architecture can be used for"
    )


def pytest_terminal_summary(terminalreporter, config):
    """What kills did, and the table of families where its tests ran and it is asked for."""
    show_kills(terminalreporter)
    if config.getoption("--family-table"):
        terminalreporter.section("architectures")
        absent = "it needs all tests of tests/jobs/models/test_families.py to pass"
        terminalreporter.write_line(getattr(config, "family_table", absent))


def pytest_collection_modifyitems(config, items):
    """Cases marked `thorough` are like others beside them, and run if they are asked for."""
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    _fork_before_ray(items)


def _fork_before_ray(items):
    """Put the tests that fork first and those that connect to Ray in the middle, where the second of two
    processes begins: a process that has been connected to Ray cannot be relied on to fork."""
    first = [item for item in items if item.get_closest_marker("forks")]
    ray = [item for item in items if item.get_closest_marker("ray")]
    others = [item for item in items if item not in {*first, *ray}]
    half = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *others[:half], *ray, *others[half:]]


@pytest.fixture
def thorough(request):
    """Whether every point and case is asked for."""
    return request.config.getoption("--thorough")


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Every test has its own store and finds no data or models but what it makes."""
    monkeypatch.setenv("MICROTOME_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("MICROTOME_MODELS", raising=False)
    monkeypatch.delenv("MICROTOME_DATA", raising=False)


@pytest.fixture(scope="session")
def corpora():
    """The folder of the real corpora, for tests that read them; they are skipped by name without it."""
    if not CORPORA:
        pytest.skip("MICROTOME_DATA is not set: the real corpora are not here")
    return Path(CORPORA).resolve()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A folder with randomly initialised `bert`, `gpt2` and `biogpt`, two layers and two heads each."""
    from microtome.jobs.demo.corpus import biomedical_text
    from microtome.jobs.models import tiny_models as scratch

    folder = tmp_path_factory.mktemp("models")
    texts = biomedical_text(60, seed=5)
    for name in ARCHITECTURES:
        scratch.create(
            name, texts, folder / name, vocabulary=300, dim=16, layers=2, heads=2, max_length=64, seed=3
        )
    return folder


@pytest.fixture
def small_cache(tmp_path):
    """A cache of three examples: the first token of each is special, every other is a word of its own.
    Beside the artifact, what was written: hidden [layers, tokens, dim], and attention of each example."""
    import numpy as np

    from microtome.store.artifacts.store import Request, Store
    from microtome.store.cache.description import CachedSplit
    from microtome.store.cache.examples import Examples
    from microtome.store.cache.layout import Layout, pack_attention
    from microtome.store.cache.writer import CacheWriter

    lengths = [4, 3, 5]
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    words = [length - 1 for length in lengths]
    table = Examples(
        offsets=offsets,
        input_ids=np.arange(offsets[-1], dtype=np.int32),
        word_ids=np.concatenate([np.arange(-1, count) for count in words]).astype(np.int32),
        segment_ids=np.zeros(offsets[-1], np.int8),
        special_mask=np.isin(np.arange(offsets[-1]), offsets[:-1]),
        word_offsets=np.concatenate([[0], np.cumsum(words)]),
        labels=np.arange(sum(words), dtype=np.int16) % 3,
        spans=np.zeros((3, 2, 2), np.int32),
        rows=np.arange(3),
        documents=np.arange(3),
    )
    layout = Layout(
        layers=2,
        heads=2,
        dim=6,
        causal=False,
        dtype="float32",
        hidden_layers=(0, 1, 2),
        attention_layers=(0, 1),
    )
    hidden = rng.normal(size=(3, offsets[-1], 6)).astype(np.float32)
    attention = [rng.dirichlet(np.ones(n), (2, 2, n)).astype(np.float32) for n in lengths]
    labels = {"task": "genes", "model": "tiny", "fraction": 30, "seed": 7}
    request = Request("extract", 1, {"a": 1}, {"checkpoint": "c"}, "genes.tiny.test", labels=labels)
    split = CachedSplit(
        task="genes",
        split="test",
        unit="word",
        classes=("O", "B-gene", "I-gene"),
        credentialed=False,
        segments="together",
        max_length=8,
        truncated_words=0,
    )
    store = Store(tmp_path / "store")
    with store.begin(request) as staging:
        with CacheWriter(staging.path, staging.scratch, layout, table, part_format="zarr") as writer:
            for buffer in writer.claims():
                for example in range(3):
                    rows = slice(offsets[example], offsets[example + 1])
                    buffer.slot("hidden", example)[:] = hidden[:, rows]
                    buffer.slot("attention", example)[:] = pack_attention(attention[example], False)
                writer.submit(buffer)
            description, staging.files = writer.finish(split)
        description.write(staging.outputs)
    return SimpleNamespace(artifact=store.find(request), hidden=hidden, attention=attention)


TASK = """
name: {name}
type: {type}
title: small
labels: [{labels}]
licence: mine
obtain: generated
data: {{format: synthetic, files: {{train: {kind}-60-1, dev: {kind}-20-2, test: {kind}-30-3}}}}
recipe: {{learning_rate: 1.0e-3, epochs: 2, batch_size: 8, max_length: 48}}
"""


@pytest.fixture
def small_tasks(tmp_path):
    """Task files of a few synthetic examples each: {"ner": path, "nli": path}."""
    kinds = {
        "ner": ("ner", "Gene, Chemical, Disease"),
        "nli": ("pair-classification", "entailment, neutral, contradiction"),
    }
    files = {}
    for kind, (task_type, labels) in kinds.items():
        files[kind] = tmp_path / f"small-{kind}.yaml"
        text = TASK.format(name=f"small-{kind}", type=task_type, labels=labels, kind=kind)
        files[kind].write_text(text)
    return files


SUITE = """
name: small
description: one model on two small tasks
models: [bert]
tasks: [{tasks}]
fractions: [0, 50, 100]
extract:
  probing: {{splits: {{train: 20, test: null}}, options: {{keep: [hidden], segments: separate}}}}
  attending: {{splits: {{test: 10}}, options: {{keep: [attention], format: hdf5}}}}
probe: [{{view: probing}}]
attention: [{{view: attending}}]
"""


@pytest.fixture
def small_suite(tmp_path, small_tasks, tiny_models, monkeypatch):
    """A suite file over the small tasks, with the tiny models where models are looked for."""
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path = tmp_path / "small.yaml"
    path.write_text(SUITE.format(tasks=", ".join(str(p) for p in small_tasks.values())))
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A folder with the demo made small: `suites/demo.yaml`, and all that it makes in `artifacts/`. Processes
    that share the tests share it too: the first that asks makes it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            _run_small_demo(folder)
            (folder / "whole").touch()
    return folder


def _run_small_demo(folder):
    from click.testing import CliRunner

    from microtome.jobs.cli import main
    from tests.small_demo import write_small_demo

    (folder / "suites").mkdir(parents=True, exist_ok=True)  # a run that failed is gone on with
    write_small_demo(folder / "suites" / "demo.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_STORE", str(folder / "artifacts"))
        command = ["suite", "run", str(folder / "suites" / "demo.yaml"), "--local"]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture
def demo_store(demo, monkeypatch):
    """The store of the small demo, which the suite name `demo` stands for too."""
    from microtome.jobs.suite import include

    monkeypatch.setattr(include, "SUITES", demo / "suites")
    monkeypatch.setenv("MICROTOME_STORE", str(demo / "artifacts"))
    return demo / "artifacts"


@pytest.fixture(scope="session")
def s3_server():
    """The address of moto's server of S3, on the loopback."""
    from tests.object_storage import serving_s3

    with serving_s3() as address:
        yield address


@pytest.fixture
def s3(s3_server, tmp_path, monkeypatch):
    """An address with nothing below it, and an environment in which this process can use it."""
    from microtome.store.remote.remote import objects_at
    from tests.object_storage import environment, make_bucket

    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "scratch"))
    make_bucket(s3_server, "studies")
    objects_at.cache_clear()
    return f"s3://studies/{tmp_path.name}"
