"""A suite that includes another says what differs, and plans what it would plan if it said everything."""

from pathlib import Path

import pytest
import yaml

from microtome.jobs.suite.include import SUITES, read_suite
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError

WHOLE = {
    "name": "other",
    "description": "said in whole",
    "models": {"bert": {}},
    "tasks": ["demo-nli"],
    "fractions": [0, 100],
    "recipe": {"epochs": 1, "batch_size": 4},
    "extract": {
        "probing": {"splits": {"train": 20, "test": None}, "options": {"keep": ["hidden"]}},
        "attending": {"splits": {"test": 5}, "options": {"keep": ["attention"]}},
    },
    "probe": [{"view": "probing", "options": {"probe": "linear", "controls": False}}],
    "attention": [{"view": "attending"}],
}
BASE = {
    **WHOLE,
    "name": "base",
    "tasks": ["demo-ner", "demo-nli"],
    "recipe": {"epochs": 3, "batch_size": 4, "warmup": 0.1},
    "extract": {
        "probing": WHOLE["extract"]["probing"],
        "attending": {"splits": {"test": 9, "dev": 3}, "options": {"keep": ["attention"]}},
        "unused": {"splits": {"train": 3}, "options": {"keep": ["hidden"]}},
    },
    "probe": [{"view": "probing"}, {"view": "probing", "options": {"probe": "svm"}}],
}
CHANGES = {
    "include": "base.yaml",
    "name": "other",
    "description": "said in changes",
    "tasks": ["demo-nli"],
    "recipe": {"epochs": 1, "warmup": None},
    "extract": {"attending": {"splits": {"test": 5, "dev": None}}, "unused": None},
    "probe": [{"view": "probing", "options": {"probe": "linear", "controls": False}}],
}


@pytest.fixture
def write(tmp_path):
    def written(name, values):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return str(path)

    return written


def ids(suite, tmp_path):
    return [job.id for job in make_plan(load_suite(suite), Store(tmp_path / "store")).jobs]


def test_what_is_included_and_changed_plans_the_same_jobs_as_what_is_said_in_whole(write, tmp_path):
    write("base.yaml", BASE)
    changed, whole = write("changed.yaml", CHANGES), write("whole.yaml", WHOLE)
    assert ids(changed, tmp_path) == ids(whole, tmp_path)
    one, other = load_suite(changed), load_suite(whole)
    assert one.description == "said in changes"
    assert one.model_dump(exclude={"description"}) == other.model_dump(exclude={"description"})
    assert ids(write("again.yaml", BASE), tmp_path) != ids(whole, tmp_path)


def test_several_levels_from_where_each_file_is(write, tmp_path):
    write("one/base.yaml", BASE)
    write("two/middle.yaml", CHANGES | {"include": "../one/base.yaml"})
    top = write("top.yaml", {"include": "two/middle.yaml", "name": "top", "seeds": [1, 2]})
    assert load_suite(top).seeds == (1, 2)
    assert load_suite(top).recipe == WHOLE["recipe"]
    whole = write("whole.yaml", WHOLE | {"seeds": [1, 2]})
    assert ids(top, tmp_path) == ids(whole, tmp_path)


def test_a_suite_that_comes_with_microtome_is_included_by_name(write):
    suite = load_suite(write("mine.yaml", {"include": "paper", "name": "mine", "models": {"gpt2": None}}))
    assert list(suite.models) == [name for name in load_suite("paper").models if name != "gpt2"]
    assert suite.tasks == load_suite("paper").tasks


@pytest.mark.parametrize(("name", "base"), [("paper-open", "paper"), ("blue-open", "blue")])
def test_an_open_suite_is_its_base_but_for_tasks_and_what_they_need(name, base):
    assert yaml.safe_load((SUITES / f"{name}.yaml").read_text())["include"] == base
    one, other = load_suite(name), load_suite(base)
    for same in ("models", "fractions", "seeds", "recipe", "attention", "similarity"):
        assert getattr(one, same) == getattr(other, same)
    assert not any(one.task(task).credentialed for task in one.tasks)
    assert any(other.task(task).credentialed for task in other.tasks)
    for task in set(one.tasks) & set(other.tasks):
        assert one.task(task).recipe == other.task(task).recipe


def test_the_open_suites_are_what_they_are():
    paper = load_suite("paper-open")
    assert paper.tasks == ("nli4ct", "jnlpba")
    attending = paper.extract["attending"]
    assert attending.splits == {"test": 200}
    assert (attending.options.keep, attending.options.max_length) == (("attention",), 256)
    assert paper.extract["probing"] == load_suite("paper").extract["probing"]
    assert [step.tasks for step in paper.probe] == [(), (), ("nli4ct",), ("jnlpba",)]
    blue = load_suite("blue-open")
    assert set(blue.recipes) == set(blue.tasks)
    assert len(blue.tasks) == 6


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        ({"recipe": {"epoch": 1}}, {"recipe": {"warmup": None}}, "unknown key in recipe of suite"),
        ({"fractions": [300]}, {}, "^{base}: fractions.0: "),
        ({}, {"fractions": [300]}, "^{top}: fractions.0: "),
        ({"modles": {}}, {}, "unknown key in {base} 'modles'; did you mean 'models'"),
        ({}, {"extract": {"probing": {"split": {}}}}, "unknown key in {top} under 'extract.probing' 'split'"),
        ({"extract": {"probing": {"splits": {"x": 1}}}}, {"extract": {"unused": None}}, "^{base}: extract"),
        ({"attention": [{"view": "vieww"}]}, {}, "unknown view in {base} 'vieww'"),
        ({}, {"attention": [{"view": "vieww"}]}, "unknown view in {top} 'vieww'"),
        ({}, {"extract": {"attending": None}}, "unknown view in {base} 'attending'"),
        (
            {"tasks": ["demo-nli", "demo-nli"]},
            {"tasks": ["nowhere.yaml"]},
            "^{top}: no task file nowhere.yaml",
        ),
        ({"tasks": ["a.yaml"]}, {}, "^{base}: no task file a.yaml"),
    ],
)
def test_a_mistake_is_told_of_the_file_that_makes_it(write, base, changes, message):
    files = {"base": write("base.yaml", BASE | base)}
    files["top"] = write("top.yaml", {"include": "base.yaml", "name": "top", **changes})
    with pytest.raises(InputError if "no task" not in message else Exception) as raised:
        load_suite(files["top"])
    expected = message.format(**files)
    if expected.startswith("^"):
        assert str(raised.value).startswith(expected[1:])
    assert expected.removeprefix("^") in str(raised.value)


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("top.yaml", "{top}: include leads back to where it began: top.yaml -> top.yaml"),
        ("round.yaml", "{round}: include leads back to where it began: top.yaml -> round.yaml -> top.yaml"),
        ("papr", "{top}: include: unknown suite 'papr'; did you mean 'paper'"),
        ("none.yaml", "{top}: include: no suite file {folder}/none.yaml"),
        (["paper"], "{top}: include takes the name or the file of one suite"),
        (None, "{top}: include takes the name or the file of one suite"),
    ],
)
def test_what_cannot_be_included_is_one_line(write, tmp_path, include, message):
    files = {"top": write("top.yaml", {"include": include, "name": "top"}), "folder": tmp_path}
    files["round"] = write("round.yaml", {"include": "top.yaml", "name": "round"})
    with pytest.raises(InputError) as raised:
        load_suite(files["top"])
    assert str(raised.value).startswith(message.format(**files))


def test_a_suite_that_includes_another_has_a_name_of_its_own(write):
    with pytest.raises(InputError, match="a suite that includes another needs a name of its own"):
        load_suite(write("mine.yaml", {"include": "paper"}))
    with pytest.raises(InputError, match="--set include has no effect"):
        load_suite("paper", ["include=blue"])


def test_null_is_a_value_where_there_is_nothing_to_take_away(write):
    added = {"extract": {"more": {"splits": {"test": None}}}}
    path = write("mine.yaml", {"include": "paper", "name": "mine", **added})
    assert load_suite(path).extract["more"].splits == {"test": None}


def test_a_list_of_models_is_changed_by_name(write):
    write("base.yaml", BASE | {"models": ["bert", "gpt2"]})
    models = {"bert": None, "biogpt": {"source": "x"}}
    suite = load_suite(write("top.yaml", {"include": "base.yaml", "name": "top", "models": models}))
    assert list(suite.models) == ["gpt2", "biogpt"]


def test_origins_follow_what_replaces_a_mapping(write):
    write("base.yaml", BASE | {"models": {"bert": {"source": "x"}}})
    read = read_suite(Path(write("top.yaml", CHANGES | {"models": ["bert"]})))
    assert read.values["models"] == ["bert"]
    assert read.file_of(["models", "bert", "source"]).name == "top.yaml"
    assert read.file_of(["recipe", "batch_size"]).name == "base.yaml"


def test_a_task_file_is_looked_for_beside_what_is_included_too(write, small_tasks, tmp_path):
    name = small_tasks["nli"].name
    write("base/base.yaml", BASE | {"tasks": [name]})
    small_tasks["nli"].rename(tmp_path / "base" / name)
    suite = load_suite(write("top.yaml", {"include": "base/base.yaml", "name": "top"}))
    assert suite.tasks == ("small-nli",)
