"""What several tests share: a store of their own, and tiny models made once per session."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only slow tiny models down
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches a network
CORPORA = os.environ.get("MICROTOME_DATA")

from pathlib import Path

import pytest

ARCHITECTURES = ("bert", "gpt2", "biogpt")


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
def s3_server():
    """The address of moto's server of S3, on the loopback."""
    import threading

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args):
            pass

    moto, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def app(environ, start_response):
        # moto looks at a condition and writes later; S3 does both at once.
        with one_at_a_time:
            return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def s3(s3_server, tmp_path, monkeypatch):
    """An address with nothing below it, and an environment in which this process can use it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MICROTOME_SCRATCH", str(tmp_path / "scratch"))
    import boto3

    from microtome.store.remote.remote import objects_at

    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="studies")
    objects_at.cache_clear()
    return f"s3://studies/{tmp_path.name}"
