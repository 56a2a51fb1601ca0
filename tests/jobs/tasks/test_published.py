import pytest

from microtome.jobs.suite.suite import load_suite
from microtome.jobs.tasks import Recipe, Task, load_task, task_names
from microtome.jobs.tasks.published import (
    Published,
    follows,
    known_settings,
    published_columns,
    published_score,
)
from microtome.store.errors import InputError
from microtome.store.results import COLUMNS

RECIPES = {"long": {"epochs": 20, "learning_rate": None}}
ROW = {"metric": "accuracy", "split": "test", "model": "bert", "fraction": 100}


def published(**values):
    row = {"metric": "accuracy", "value": 0.8, "model": "bert", "recipe": "long", "source": "a paper"}
    return Published.parse(row | values, where="the test")


def recipe(**values):
    return Recipe.parse({"epochs": 20} | values, where="the test")


def test_a_score_stands_beside_a_row_of_its_model_and_recipe():
    assert (
        published_score(ROW, [published(value=0.7, model="gpt2"), published()], RECIPES, recipe())
        == published()
    )


@pytest.mark.parametrize(
    "change",
    [{"model": "biobert"}, {"split": "dev"}, {"metric": "macro_f1"}, {"label": "yes"}, {"fraction": 30}],
)
def test_no_score_stands_beside_a_row_of_something_else(change):
    assert published_score(ROW | change, [published()], RECIPES, recipe()) is None


@pytest.mark.parametrize(
    "change", [{"epochs": 3}, {"weight_decay": 0.01}, {"keep": "last"}, {"train_examples": 5}]
)
def test_no_score_stands_beside_a_run_of_another_recipe(change):
    assert published_score(ROW, [published()], RECIPES, recipe(**change)) is None


def test_a_split_that_was_drawn_here_is_not_the_published_one():
    assert published_score(ROW, [published()], RECIPES, recipe(), held_out=["dev"]) == published()
    assert published_score(ROW, [published()], RECIPES, recipe(), held_out=["dev", "test"]) is None
    drawn = published(drawn=True)
    assert published_score(ROW, [published(), drawn], RECIPES, recipe(), held_out=["test"]) == drawn


def test_a_score_whose_recipe_is_not_known_is_compared_with_nothing():
    assert published_score(ROW, [published(recipe="")], RECIPES, recipe()) is None


def test_what_is_not_known_of_a_recipe_and_how_it_is_computed_make_no_difference():
    assert follows(recipe(learning_rate=1e-3, precision="float32", by_length=False), RECIPES["long"])


def test_a_score_of_one_class_and_one_of_an_earlier_epoch_are_found():
    scores = [published(value=0.1, label="yes"), published(value=0.2, epoch=5)]
    assert published_score(ROW | {"label": "yes"}, scores, RECIPES, recipe()) == scores[0]
    assert published_score(ROW, scores, RECIPES, recipe()) is None
    assert published_score(ROW, scores, RECIPES, recipe(epochs=5)) == scores[1]


def test_a_published_score_is_three_columns_of_a_row_with_its_note():
    columns = published_columns(published(note="of trained rows"))
    assert columns == {"published": 0.8, "published_model": "bert", "source": "a paper; of trained rows"}
    assert set(columns) <= set(COLUMNS)
    assert published_columns(None) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"published_recipes": {"long": {"epoch": 20}}}, "unknown key .*'epoch'"),
        ({"published_recipes": {"long": {"epok": None}}}, "'long': no such setting: epok"),
        (
            {"published": [dict(published(recipe="lang"))], "published_recipes": RECIPES},
            "did you mean 'long'",
        ),
    ],
)
def test_a_mistake_in_a_published_recipe_is_named(values, message):
    task = load_task("sick").model_dump(exclude={"published", "published_recipes"})
    with pytest.raises(InputError, match=message):
        Task.parse(task | values, where="the task")


@pytest.mark.parametrize("name", task_names())
def test_every_published_recipe_of_the_tasks_can_be_said(name):
    for stated in load_task(name).published_recipes.values():
        Recipe.parse(known_settings(stated), where=name)


def compared(suite, task, model="biobert", split="test"):
    loaded = load_suite(suite).task(task)
    metric = loaded.kind.primary
    row = {"metric": metric, "split": split, "model": model, "fraction": 100}
    score = published_score(row, loaded.published, loaded.published_recipes, loaded.recipe)
    return score.value if score else None


def test_biosses_is_held_against_the_run_of_its_recipe_and_not_against_another():
    assert compared("blue", "biosses") == 0.909
    assert compared("blue", "biosses", split="dev") == 0.905
    assert compared("blue", "biosses", model="bert") is None


def test_a_tagger_that_was_not_trained_on_dev_is_not_held_against_one_that_was():
    assert compared("blue", "bc5cdr-disease") is None


def test_the_adapted_model_is_not_held_against_its_base():
    assert compared("clinical-trials", "stop-reasons", model="biobert-trials") is None


def test_the_order_of_the_splits_that_are_trained_on_makes_no_difference():
    stated = {"train_on": ["train", "dev"], "keep": "last"}
    assert follows(Recipe.parse({"train_on": ["dev", "train"], "keep": "last"}, where="the test"), stated)
