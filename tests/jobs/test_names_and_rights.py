"""Models and tasks called anything, to the end of a study; and who may read what is made of data under an
agreement."""

import os
import shutil
import stat

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from microtome.jobs.cli import main
from microtome.jobs.kinds.extract import extract_job
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.kinds.job import slug
from microtome.jobs.models.source import find_model
from microtome.jobs.run.executor import run_job
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import InputError


def call(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", "bert"),
        ("org/mymodel", "org/mymodel"),
        ("./m/x", "x"),
        ("/home/me/models/bert/", "bert"),
        ("~/models/bert", "bert"),
        ("a/b/c", "c"),
        ("..", ".."),
    ],
)
def test_a_model_is_called_by_its_hub_id_or_its_last_folder(name, expected):
    assert slug(name) == expected


SUITE = """
name: odd names
description: models by hub id and by folder
models: ["org/mymodel", "./m/x", "./n/x"]
tasks: ["TASK"]
fractions: [100]
extract:
  probing: {splits: {train: 20, test: 20}, options: {keep: [hidden, attention]}}
probe: [{view: probing, options: {control: false, codelength: false, baselines: false, selectivity: false}}]
attention: [{view: probing}]
similarity: [{view: probing}]
"""


@pytest.fixture
def odd_suite(tmp_path, tiny_models, small_tasks, monkeypatch):
    """A suite of models at `org/mymodel` below MICROTOME_MODELS and at `./m/x`, on a task of an evil name."""
    monkeypatch.setenv("MICROTOME_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_models / "bert", tmp_path / "models" / "org" / "mymodel")
    shutil.copytree(tiny_models / "gpt2", tmp_path / "m" / "x")
    shutil.copytree(tiny_models / "biogpt", tmp_path / "n" / "x")
    task = yaml.safe_load(small_tasks["nli"].read_text())
    task |= {"name": "../../../escaped/evil"}
    task["recipe"]["epochs"] = 1
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump(task))
    suite = yaml.safe_load(SUITE.replace("TASK", str(tmp_path / "evil.yaml")))
    suite["probe"] = [{"view": "probing"}]
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(suite))
    return path


def test_models_of_hub_ids_and_folders_and_an_evil_task_go_to_the_end(tmp_path, odd_suite):
    before = {p for p in tmp_path.rglob("*") if tmp_path / "store" not in p.parents}
    result = call("suite", "run", odd_suite, "--local")
    assert result.exit_code == 0, result.output
    assert "nothing to do" in call("suite", "run", odd_suite, "--local").stdout
    store = Store()
    kinds = {artifact.kind for artifact in store.list()}
    assert kinds == {"finetune", "extract", "probe", "attention", "similarity"}
    assert {p for p in tmp_path.rglob("*") if tmp_path / "store" not in p.parents} - {store.root} == before
    top = {p.name for p in store.root.iterdir()}
    noted = {f"{name}{end}" for name in ("sources.json", ".digests.jsonl") for end in ("", ".lock")}
    assert top == {*kinds, *noted, "logs", "store.json"}
    assert len(list((store.root / "logs").glob("*.log"))) == len(store.list())
    rows = call("results", odd_suite, "--format", "csv")
    assert rows.exit_code == 0
    for name in ("org/mymodel", "./m/x", "./n/x"):
        assert f",{name}," in rows.stdout, name


# data under an agreement --------------------------------------------------------------------------


def modes(folder):
    """The rights of all files, and of all folders, below a folder and of itself."""
    paths = [folder, *folder.rglob("*")]
    found = {True: set(), False: set()}
    for path in paths:
        found[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))
    return found[False], found[True]


@pytest.fixture
def credentialed(small_tasks):
    for path in small_tasks.values():
        path.write_text(path.read_text() + "credentialed: true\n")
    return small_tasks


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=oct)
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("form", ["zarr", "hdf5"])
def test_what_is_made_of_credentialed_data_is_its_owners_alone(
    bench, tiny_models, small_tasks, umask, marked, form
):
    if marked:
        for path in small_tasks.values():
            path.write_text(path.read_text() + "credentialed: true\n")
    before = os.umask(umask)
    try:
        job = bench.extract("ner", tiny_models / "bert", format=form)
        made = bench.run(job)
    finally:
        os.umask(before)
    assert made.private == marked
    expected = ({0o600}, {0o700}) if marked else ({0o666 & ~umask}, {0o777 & ~umask})
    assert modes(made.path) == expected
    log = bench.store.log_path(job.request)
    assert stat.S_IMODE(log.stat().st_mode) in expected[0]


def test_what_is_made_of_what_was_made_of_it_is_too(bench, tiny_models, credentialed, tmp_path):
    """A checkpoint that was trained on such data stays private, and so does its cache on other data."""
    tuned = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1))
    assert modes(tuned.path) == ({0o600}, {0o700})
    checkpoint = find_model(tuned.id, bench.store)
    assert checkpoint.private
    task = load_task("demo-nli")
    config = ExtractConfig.parse({"examples": 5}, where="test")
    job = extract_job(task, find_data(task), checkpoint, "test", config, {})
    assert job.private
    again = finetune_job(task, find_data(task), checkpoint, 100, 1, task.recipe)
    assert again.private
    open_model = find_model(str(tiny_models / "bert"), bench.store)
    assert not finetune_job(task, find_data(task), open_model, 100, 1, task.recipe).private


def test_a_suite_knows_what_is_private_before_anything_is_made(small_suite, credentialed):
    plan = make_plan(load_suite(str(small_suite)), Store())
    private = {job.kind: {j.private for j in plan.jobs if j.kind == job.kind} for job in plan.jobs}
    assert private == {"finetune": {True}, "extract": {True}, "probe": {False}, "attention": {False}}


def test_the_log_of_a_private_job_is_closed_also_if_it_was_open(bench, tiny_models, credentialed):
    job = bench.extract("ner", tiny_models / "bert")
    log = bench.store.log_path(job.request)
    log.parent.mkdir(parents=True)
    log.write_text("earlier\n")
    log.chmod(0o644)
    bench.run(job)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text().startswith("earlier\n")


# small mistakes -----------------------------------------------------------------------------------


def test_a_log_that_cannot_be_written_is_named(bench, tiny_models):
    job = bench.extract("ner", tiny_models / "bert")
    log = bench.store.log_path(job.request)
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    error, _ = run_job(job, bench.store.root)
    assert str(log) in error
    assert "None" not in error


def test_a_full_disk_under_the_log_is_named(bench, tiny_models, monkeypatch):
    from microtome.jobs.run import executor

    class Full:
        def __init__(self, path, private):
            pass

        def __enter__(self):
            raise OSError(28, "No space left on device")

        def __exit__(self, *exception):
            return False

    monkeypatch.setattr(executor, "logged_to", Full)
    job = bench.extract("ner", tiny_models / "bert")
    error, _ = run_job(job, bench.store.root)
    log = bench.store.log_path(job.request)
    assert error.startswith(f"cannot write the log {log}: No space left on device.")


def test_an_ambiguous_id_is_an_error_when_planning(tmp_path, small_suite):
    """Two checkpoints whose ids begin alike cannot be made to order; two of one name can."""
    store = Store()
    for kind in ("finetune", "adapt"):
        with store.begin(Request(kind, 1, {}, {}, "same")):
            pass
    names = {a.kind: a.path for a in store.list()}
    digits = {a.id[:8] for a in store.list()}
    assert len(digits) == 2
    from microtome.store.artifacts import catalogue

    original = catalogue.Catalogue._named
    catalogue.Catalogue._named = lambda self, reference: list(names.values())
    try:
        with pytest.raises(InputError, match="'same' is ambiguous"):
            find_model("same", store)
        small_suite.write_text(small_suite.read_text().replace("models: [bert]", "models: [same]"))
        result = call("suite", "plan", small_suite)
    finally:
        catalogue.Catalogue._named = original
    assert result.exit_code == 2
    assert "ambiguous" in result.stderr


HOMES = {
    "MICROTOME_STORE": ("cache", "ls"),
    "MICROTOME_DATA": ("task", "ls"),
    "MICROTOME_MODELS": ("model", "ls"),
}


@pytest.mark.parametrize("variable", HOMES)
def test_a_home_folder_is_one_in_every_variable(tmp_path, monkeypatch, tiny_models, variable):
    home = tmp_path / "home"
    (home / "x").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv(variable, "~/x")
    monkeypatch.chdir(tmp_path)
    (home / "x" / "mymodel").symlink_to(tiny_models / "bert")
    (home / "x" / "sick").mkdir()
    assert call(*HOMES[variable]).exit_code == 0
    if variable == "MICROTOME_STORE":
        Store().remember({"model:x": "aa"})
        assert (home / "x" / "sick").exists()
        assert (home / "x" / "sources.json").is_file()
    elif variable == "MICROTOME_MODELS":
        assert find_model("mymodel", Store()).path == (tiny_models / "bert").resolve()
    else:
        line = call("finetune", "--task", "sick", "--model", tiny_models / "bert").stderr
        assert str(home / "x" / "sick") in line
    assert not (tmp_path / "~").exists()


def test_a_home_folder_is_one_in_every_path(tmp_path, monkeypatch, tiny_models, small_suite):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("MICROTOME_MODELS")
    monkeypatch.chdir(tmp_path)
    (home / "suite.yaml").write_text(small_suite.read_text().replace("[bert]", "[~/bert]"))
    (home / "bert").symlink_to(tiny_models / "bert")
    (home / "task.yaml").write_text((tmp_path / "small-ner.yaml").read_text())
    assert "blocked" in call("suite", "plan", "~/suite.yaml").stdout
    assert call("suite", "plan", "~/suite.yaml").exit_code == 0
    assert call("results", "~/suite.yaml", "--format=csv", "--out=~/rows.csv").exit_code == 0
    assert (home / "rows.csv").is_file()
    assert call("model", "fetch", "~/bert", "--out=~/copy").exit_code == 0
    assert (home / "copy" / "config.json").is_file()
    made = call("extract", "--checkpoint=~/bert", "--task=~/task.yaml", "--examples=2")
    assert made.exit_code == 0, made.output
    assert not (tmp_path / "~").exists()


def test_the_home_of_nobody_is_one_line(monkeypatch):
    monkeypatch.setenv("MICROTOME_STORE", "~nobody-at-all/x")
    result = call("cache", "ls")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: no home folder is known for '~nobody-at-all'; write ~nobody-at-all/x out\n"
    )


@pytest.mark.parametrize("name", ["m" * 10_000, "/" + "m/" * 3000, "~/" + "m" * 300, "x\0y"], ids=len)
@pytest.mark.parametrize("option", ["--model", "--task"])
def test_a_name_that_is_too_long_is_not_blamed_on_the_store(tiny_models, name, option):
    options = {"--model": tiny_models / "bert", "--task": "demo-ner"} | {option: name}
    result = call("finetune", *(word for pair in options.items() for word in pair))
    assert result.exit_code == 2, result.output
    assert "cannot write to the store" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_a_model_may_be_made_under_any_name(tmp_path, tiny_models):
    name = "n" * 3000 + " .. 🧬"
    arguments = (
        "--objective",
        "mlm",
        "--corpus-format",
        "synthetic",
        "--corpus-documents",
        "30",
        "--block-size",
        "32",
    )
    result = call("adapt", "--name", name, "--base", tiny_models / "bert", *arguments, "--epochs=0.1")
    assert result.exit_code == 0, result.output
    [made] = Store().list("adapt")
    assert made.manifest["labels"]["model"] == name


@pytest.mark.parametrize("umask", [0o022, 0o002], ids=oct)
def test_a_fetched_model_has_the_rights_of_the_umask(tmp_path, tiny_models, umask):
    source = shutil.copytree(tiny_models / "bert", tmp_path / "old")
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save(weights, source / "pytorch_model.bin")
    before = os.umask(umask)
    try:
        assert call("model", "fetch", source, "--out", tmp_path / "new").exit_code == 0
    finally:
        os.umask(before)
    assert modes(tmp_path / "new") == ({0o666 & ~umask}, {0o777 & ~umask})
