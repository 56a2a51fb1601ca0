"""`task init hub:OWNER/NAME` against a hub on the loopback."""

import datasets
import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data

CONVERTED = {"refs/convert/parquet": "d" * 40}
FEATURES = datasets.Features(
    {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["mild", "severe"])}
)


def write(folder, path, count=40):
    rows = {
        "sentence": [f"The patient number {n} had a headache at {path}" for n in range(count)],
        "label": [n % 2 for n in range(count)],
    }
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(rows, features=FEATURES).to_parquet(folder / path)


def init(*arguments):
    return CliRunner().invoke(main, ["task", "init", *arguments])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published").mkdir()
    return tmp_path / "published"


def test_a_dataset_with_class_labels_becomes_a_task_that_is_read_from_the_hub(hub_emulator, folder):
    for split in ("train", "validation", "test"):
        write(folder, f"default/{split}/0000.parquet")
    hub_emulator.publish("someone/Headaches", folder, revisions=CONVERTED, card={"license": "cc-by-4.0"})
    result = init("hub:someone/Headaches")
    assert result.exit_code == 0, result.output
    task = load_task("headaches.yaml")
    assert (task.type, set(task.labels), task.licence) == ("classification", {"mild", "severe"}, "cc-by-4.0")
    assert (task.hub.repo, task.hub.revision) == ("someone/Headaches", "d" * 40)
    assert task.hub.columns == {"text_a": "sentence", "label": "label"}
    data = find_data(task)
    assert data.origin == f"hub someone/Headaches@{'d' * 40}"
    assert [len(data.read(split)) for split in ("train", "dev", "test")] == [40, 40, 40]
    assert {example.label for example in data.read("dev")} == {"mild", "severe"}
    assert CliRunner().invoke(main, ["task", "check", "headaches.yaml"]).exit_code == 0


def test_splits_that_are_not_published_are_held_out_on_the_hub_too(hub_emulator, folder):
    write(folder, "data/train.parquet")
    hub_emulator.publish("someone/one", folder)
    assert init("hub:someone/one", "--out", "own.yaml").exit_code == 0
    task = load_task("own.yaml")
    assert task.hub.revision == "c" * 40
    assert [len(find_data(task).read(split)) for split in ("train", "dev", "test")] == [24, 8, 8]


def test_one_of_several_subsets_has_to_be_chosen(hub_emulator, folder):
    for subset in ("easy", "hard"):
        write(folder, f"{subset}/train/0000.parquet")
    hub_emulator.publish("someone/two", folder, revisions=CONVERTED)
    result = init("hub:someone/two")
    assert result.exit_code == 2
    assert "choose one: hub:someone/two/easy, hub:someone/two/hard" in result.output
    assert init("hub:someone/two/hard@main").exit_code == 0
    assert load_task("two.yaml").hub.files == {"train": "hard/train/0000.parquet"}


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ((), ["hub:someone/absent"], "dataset 'someone/absent' does not exist on the hub"),
        ((), ["hub:someone"], "write hub:OWNER/NAME"),
        ((), ["hub:someone/two@v9"], "dataset 'someone/two' has no such revision"),
        ((), ["hub:someone/two", "more.tsv"], "leave the other FILES out"),
        (["a/train/0.parquet"], ["hub:someone/two/b"], "has no file of a split in b: it has a"),
        (["a/test/0.parquet"], ["hub:someone/two"], "has no file to train on"),
        (["a/train/0.parquet", "a/train/1.parquet"], ["hub:someone/two"], "train is in 2 files"),
    ],
)
def test_what_is_not_clear_is_one_line_and_no_file(hub_emulator, folder, files, arguments, message):
    for file in files:
        write(folder, file, count=2)
    hub_emulator.publish("someone/two", folder)
    result = init(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not list(folder.parent.glob("*.yaml"))


def test_nothing_is_asked_where_the_user_has_said_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set, and the hub is not asked" in init("hub:someone/one").output
