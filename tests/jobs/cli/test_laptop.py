"""The install without models (`pip install .`): what reads a store works, what needs more says so in a line.

One process with the packages of the extra `models` out of reach is asked everything, after a suite was run
and its store, models and data were left behind.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Store
from microtome.store.errors import MODEL_PACKAGES, PackageError, model_packages
from tests.jobs.suite.test_plan import run

ROOT = Path(__file__).parents[3]
ASKED = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from click.testing import CliRunner
from microtome.jobs.cli import main
said = []
for command in json.load(sys.stdin):
    result = CliRunner().invoke(main, command)
    said.append([result.exit_code, result.output, repr(result.exception)])
from microtome.store import open_cache
said.append(open_cache({cache!r}).hidden(1).shape)
said.append(sorted(set(sys.modules) & {absent!r}))
print(json.dumps(said))
"""


def ask(commands, cache):
    """[exit status, output, exception] of each command, and a layer's shape; nothing absent was loaded."""
    absent = sorted(MODEL_PACKAGES)
    code = ASKED.format(absent=set(absent), cache=cache)
    kept = {k: v for k, v in os.environ.items() if k not in ("MICROTOME_MODELS", "MICROTOME_DATA")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept,
    )
    assert done.returncode == 0, done.stderr
    *said, shape, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    return said, shape


def commands_that_read(suite, train, test, out):
    probing = ["probe", "--train", train, "--test", test, "--resamples", "10"]
    return [
        ["suite", "ls"],
        ["suite", "plan", suite],
        ["suite", "plan", suite, "--format", "json"],
        ["suite", "plan", "demo"],
        ["suite", "plan", "paper"],
        ["suite", "plan", "medical-lm"],
        ["suite", "status", suite],
        ["suite", "run", suite, "--only", "probe", "--local"],
        probing,
        [*probing, "--probe", "svm"],
        [*probing, "--probe", "mlp", "--width", "4"],
        [*probing, "--probe", "scalar-mix"],
        ["similarity", "--before", test],
        ["results", suite],
        ["results", suite, "--format", "parquet", "--out", f"{out}/rows.parquet"],
        ["report", suite, "--out", f"{out}/report"],
        ["task", "ls"],
        ["task", "show", "sick"],
        ["schema", "task"],
        ["model", "ls"],
        ["cache", "ls"],
        ["cache", "show", test],
        ["store", "verify"],
        ["cache", "gc", "--dry-run"],
    ]


@pytest.fixture
def studied(small_suite, tmp_path):
    """A store with the caches of the small suite, and nothing that it was made from."""
    store = Store(tmp_path / "store")
    plan, outcome = run(small_suite, store, kinds=("finetune", "extract"))
    assert outcome.ok
    return store, small_suite, plan


@pytest.mark.thorough
def test_a_store_is_read_without_the_packages_that_made_it(studied, tiny_models, small_tasks, tmp_path):
    store, suite, plan = studied
    train, test = (
        next(j.id for j in plan.jobs if j.kind == "extract" and f".{split}.hidden" in j.slug)
        for split in ("train", "test")
    )
    one, other = [j.id for j in plan.jobs if j.kind == "extract" and j.slug.endswith(".attention")][:2]
    checkpoint = next(j.id for j in plan.jobs if j.kind == "finetune")
    task, model = str(small_tasks["ner"]), str(tiny_models / "bert")
    reading = [
        *commands_that_read(str(suite), train, test, tmp_path),
        ["attention", "--before", one, "--after", other],
        ["task", "check", task],
    ]
    needing = {
        "(torch|transformers)": [
            ["finetune", "--task", task, "--model", model, "--seed", "9"],
            ["extract", "--checkpoint", checkpoint, "--task", task, "--split", "dev"],
            ["predict", "--checkpoint", checkpoint, "--input", task],
            ["generate", "--checkpoint", model, "--prompt", "a"],
            ["probe", "--train", train, "--test", test, "--probe", "bilstm-crf", "--resamples", "10"],
            ["store", "verify", "--recompute", "1", "--model", model],
            ["task", "check", task, "--model", model],
        ],
        "ray": [["suite", "run", str(suite), "--only", "attention"]],
        "huggingface_hub": [
            ["push", "--checkpoint", checkpoint, "--repo", "a/b"],
            ["model", "fetch", "org/name", "--out", str(tmp_path / "fetched")],
        ],
    }
    needed = [(package, command) for package, commands in needing.items() for command in commands]
    before = sorted(path.name for path in store.root.iterdir())
    said, shape = ask([*reading, *(command for _, command in needed)], test)
    for command, (status, output, exception) in zip(reading, said, strict=False):
        assert status == 0, (command, output, exception)
    for (package, command), (status, output, _) in zip(needed, said[len(reading) :], strict=True):
        assert status == 2, (command, output)
        lines = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, (command, output)
        message = rf"needs {package}, which is not installed; run: pip install 'microtome\[models\]'"
        assert re.search(message, lines[0]), (command, lines)
        assert "Traceback" not in output, command
    assert shape[1] == 16
    listed = json.loads(said[2][1])
    assert [job["id"] for job in listed["jobs"]] == [job.id for job in plan.jobs]
    assert set(before) <= {path.name for path in store.root.iterdir()}


def test_every_package_of_the_extra_is_known_by_the_name_that_is_imported():
    wanted = {
        line.partition(">=")[0]
        for line in importlib.metadata.requires("microtome")
        if 'extra == "models"' in line
    }
    imported_as = importlib.metadata.packages_distributions()
    assert {dist for name in MODEL_PACKAGES for dist in map(normal, imported_as[name])} == wanted


def normal(distribution):
    return distribution.replace("_", "-").lower()


def test_a_package_of_another_kind_that_is_absent_stays_what_it_is():
    with pytest.raises(ModuleNotFoundError, match="zarr"):
        with model_packages("this"):
            raise ModuleNotFoundError("No module named 'zarr'", name="zarr")
    with pytest.raises(PackageError, match="^this needs torch, which"):
        with model_packages("this"):
            raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")


def test_the_commands_that_are_asked_are_all_there_are():
    """A new command belongs on one of the two lists."""
    needing = {"finetune", "adapt", "extract", "predict", "generate", "export", "push"}
    asked = {command[0] for command in commands_that_read("s", "a", "b", "o")} | {"attention"}
    assert asked | needing == set(main.commands)
