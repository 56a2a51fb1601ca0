import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.kinds.probe import ProbeStep
from microtome.jobs.suite.effective import counterpart, differences, task_settings
from microtome.jobs.suite.include import suite_names
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.tasks.published import follows
from microtome.store.errors import InputError

STUDIES = ("paper", "blue", "clinical-trials", "medical-lm")


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_form_as_its_authors_ran_it_and_it_differs(study):
    exact = counterpart(study, "exact")
    assert exact == f"{study}-exact"
    assert exact in suite_names()
    assert load_suite(exact).tasks == load_suite(study).tasks
    rows = differences(study, exact)
    assert rows
    assert all(row[study] != row[exact] for row in rows)


@pytest.mark.parametrize("name", ["paper", "blue"])
def test_the_open_form_of_an_exact_suite_trains_as_it_does(name):
    exact, of_open = load_suite(f"{name}-exact"), load_suite(f"{name}-open-exact")
    shared = set(exact.tasks) & set(of_open.tasks)
    assert shared == {task for task in exact.tasks if not exact.task(task).credentialed}
    assert not any(of_open.task(task).credentialed for task in of_open.tasks)
    for task in shared:
        assert of_open.task(task).recipe == exact.task(task).recipe
    if name == "paper":
        probes = [[step.options for step in suite.steps(ProbeStep)] for suite in (exact, of_open)]
        assert probes[0] == probes[1]
        assert of_open.task("nli4ct").recipe.batch_size == exact.task("mednli").recipe.batch_size == 1


def test_medquad_stands_in_for_pubmed_by_name_alone():
    corpora = {
        name: load_suite(name).models["gpt2-medical"].adapt.corpus
        for name in ("medical-lm", "medical-lm-exact", "medical-lm-medquad")
    }
    assert {name: corpus.format for name, corpus in corpora.items()} == {
        "medical-lm": "hub",
        "medical-lm-exact": "hub",
        "medical-lm-medquad": "xml-qa",
    }
    assert "stands in" in load_suite("medical-lm-medquad").description


def test_what_differs_stands_side_by_side():
    row = {"task": "bc5cdr-disease", "setting": "train_on", "blue": "[train]", "blue-exact": "[train, dev]"}
    assert row in differences("blue", "blue-exact")
    assert differences("blue", "blue") == []
    [changed] = differences("blue", "blue", ["recipes.hoc.epochs=2"])
    assert changed == {"task": "hoc", "setting": "epochs", "blue, changed": "2", "blue": "15"}


def test_every_setting_says_where_it_comes_from():
    settings = task_settings("blue-exact", ["recipes.hoc.epochs=2"])
    origins = {name: setting.origin for name, setting in settings["hoc"].items()}
    assert origins["epochs"] == "--set"
    assert origins["learning_rate"] == "blue.yaml: recipes.hoc"
    assert origins["batch_size"] == "blue.yaml: recipe"
    assert origins["precision"] == "blue-exact.yaml: recipe"
    assert origins["head"] == "default"
    assert task_settings("paper", [])["jnlpba"]["learning_rate"].origin == "task file"
    assert settings["hoc"]["epochs"].value == 2


@pytest.mark.parametrize("task", load_suite("blue-exact").tasks)
def test_the_exact_blue_suite_follows_the_recipe_run(task):
    loaded = load_suite("blue-exact").task(task)
    assert follows(loaded.recipe, loaded.published_recipes["biobert-blue"])


@pytest.mark.parametrize("task", ["stop-reasons", "trial-gender"])
def test_the_exact_trials_suite_follows_what_is_known(task):
    loaded = load_suite("clinical-trials-exact").task(task)
    assert follows(loaded.recipe, loaded.published_recipes["clinical-trials-exact"])
    assert not follows(
        load_suite("clinical-trials").task(task).recipe, loaded.published_recipes["clinical-trials-exact"]
    )


def test_an_unknown_counterpart_is_named():
    with pytest.raises(InputError, match="unknown suite 'exakt'; did you mean 'exact'"):
        counterpart("blue", "exakt")


def test_the_command_prints_both():
    runner = CliRunner()
    shown = runner.invoke(main, ["suite", "show", "blue", "--against", "exact"])
    assert shown.exit_code == 0, shown.output
    assert "[train, dev]" in shown.output
    alone = runner.invoke(main, ["suite", "show", "blue", "--set", "recipe.epochs=1"])
    assert "--set" in alone.output
    assert "blue.yaml: recipes.hoc" in alone.output
    same = runner.invoke(main, ["suite", "show", "blue", "--against", "blue"])
    assert same.output == "no setting differs\n"
    wrong = runner.invoke(main, ["suite", "show", "blue", "--against", "exakt"])
    assert wrong.exit_code == 2
