"""Names and paths of tasks mean the same wherever a suite speaks of them."""

import pytest
import yaml

from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MissingError

TASK = """
name: {name}
type: pair-classification
title: own
labels: [entailment, neutral, contradiction]
licence: mine
obtain: generated
data: {{format: synthetic, files: {{train: nli-60-1, dev: nli-20-2, test: nli-30-3}}}}
recipe: {{learning_rate: 3.0e-4, epochs: 2}}
published: [{{metric: accuracy, value: 0.5, model: bert, source: somebody}}]
"""
SUITE = {
    "name": "s",
    "description": "d",
    "models": ["bert"],
    "fractions": [0, 100],
    "extract": {"probing": {"splits": {"train": 20, "test": 10}, "options": {"keep": ["hidden"]}}},
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """study(tasks=..., ...) -> the suite, in a folder with `own.yaml` beside it; we are somewhere else."""
    folder, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "own.yaml").write_text(TASK.format(name="mine"))

    def make(overrides=(), **more):
        path = folder / "suite.yaml"
        path.write_text(yaml.safe_dump(SUITE | more))
        return load_suite(str(path), overrides)

    return make


def rates(suite, tmp_path):
    plan = make_plan(suite, Store(tmp_path / "store"))
    return {(j.labels["task"], j.config.recipe.learning_rate) for j in plan.jobs if j.kind == "finetune"}


@pytest.mark.parametrize("key", ["own.yaml", "./own.yaml", "ABSOLUTE", "mine"])
@pytest.mark.parametrize("reference", ["own.yaml", "ABSOLUTE", "../study/own.yaml"])
def test_a_recipe_of_an_own_task_takes_effect_by_name_and_by_path(study, tmp_path, reference, key):
    absolute = str(tmp_path / "study" / "own.yaml")
    reference, key = (absolute if word == "ABSOLUTE" else word for word in (reference, key))
    suite = study(tasks=[reference], recipes={key: {"learning_rate": 7e-4}})
    assert suite.tasks == ("mine",)
    assert rates(suite, tmp_path) == {("mine", 7e-4)}
    assert suite.task("mine").published[0].value == 0.5


def test_an_override_reaches_an_own_task_by_its_name(study, tmp_path):
    suite = study(["recipes.mine.learning_rate=7.0e-4"], tasks=["own.yaml", "demo-nli"], recipes=None)
    assert rates(suite, tmp_path) == {("mine", 7e-4), ("demo-nli", 1e-3)}


@pytest.mark.parametrize("key", ["own.yaml", "mine"])
def test_a_probe_of_an_own_task_is_planned(study, tmp_path, key):
    suite = study(tasks=["own.yaml", "demo-nli"], probe=[{"view": "probing", "tasks": [key]}])
    plan = make_plan(suite, Store(tmp_path / "store"))
    assert {job.labels["task"] for job in plan.jobs if job.kind == "probe"} == {"mine"}


def test_a_question_may_be_an_own_task(study, tmp_path):
    suite = study(tasks=["demo-nli"], answer=[{"task": "own.yaml"}])
    plan = make_plan(suite, Store(tmp_path / "store"))
    assert [job.labels["task"] for job in plan.jobs if job.kind == "answer"] == ["mine"]


def test_a_path_is_below_the_working_directory_where_none_is_beside_the_suite(study, tmp_path):
    (tmp_path / "elsewhere" / "there.yaml").write_text(TASK.format(name="there"))
    assert study(tasks=["there.yaml", "own.yaml"]).tasks == ("there", "mine")
    with pytest.raises(MissingError, match="suite.yaml: no task file nowhere.yaml"):
        study(tasks=["nowhere.yaml"])


def test_two_tasks_of_one_name_are_refused(study, tmp_path):
    (tmp_path / "study" / "sick.yaml").write_text(TASK.format(name="sick"))
    with pytest.raises(InputError, match="two tasks are called 'sick': .*sick.yaml and .*sick.yaml"):
        study(tasks=["sick", "sick.yaml"])
    with pytest.raises(InputError, match="tasks: task 'mine' is given twice"):
        study(tasks=["own.yaml", "../study/own.yaml"])
    with pytest.raises(InputError, match="recipes: task 'mine' is given twice"):
        study(tasks=["own.yaml"], recipes={"own.yaml": {}, "mine": {}})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"recipes": {"sick": {"epochs": 1}}}, "unknown task under recipes in .* 'sick'"),
        ({"recipe": {"epochs": 1}, "recipes": {"mine": {"epochs": 2}}}, "recipe.epochs has no effect"),
        ({"models": {"a": {"source": "b", "seed": 1}}}, "seed has no effect without weights: random"),
        ({"models": {"a": {"fractions": [1]}}, "fractions": [5]}, "fractions have no effect"),
        ({"probe": [{"view": "probing", "options": {"width": 5}}]}, "probe: linear has no width"),
        ({"probe": [{"view": "probing", "tasks": ["sick"]}]}, "unknown task under probe.0 in .* 'sick'"),
    ],
)
def test_what_would_have_no_effect_is_refused(study, more, message):
    with pytest.raises(InputError, match=message):
        study(tasks=["own.yaml"], **more)


def test_a_step_that_plans_nothing_is_refused(study, tmp_path):
    suite = study(tasks=["own.yaml"], similarity=[{"view": "probing"}], fractions=[0])
    with pytest.raises(InputError, match=r"similarity plans no job.*--set similarity=\[\]"):
        make_plan(suite, Store(tmp_path / "store"))


def test_what_the_user_typed_is_repeated(study, tmp_path):
    path = str(tmp_path / "study" / "suite.yaml")
    study(tasks=["own.yaml"], probe=[{"view": "probing"}])
    suite = load_suite(path, ["seeds=[1, 2]"])
    assert suite.typed == f"{path} --set 'seeds=[1, 2]'"
