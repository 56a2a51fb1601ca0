"""A state is written beside the next steps, is what it was when it was copied, and costs a bounded share."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from microtome.jobs.models import saving, sharding
from microtome.jobs.models.saving import STATE, StateWriter
from microtome.store.errors import InputError


class Training:
    """As much of a Trainer as is saved, with a weight that another name shares."""

    def __init__(self):
        self.model = torch.nn.Linear(4, 4)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer)
        self.state = SimpleNamespace(global_step=0, save_to_json=self._save_state)
        self.may_write = threading.Event()
        self.may_write.set()

    def step(self):
        self.model(torch.ones(2, 4)).sum().backward()
        self.optimizer.step()
        self.state.global_step += 1

    def store_flos(self):
        pass

    def _save_scaler(self, folder):
        pass

    def _save_rng_state(self, folder):
        pass

    def _save(self, folder, state_dict):
        assert self.may_write.wait(60)
        torch.save(state_dict, f"{folder}/weights.pt")

    def _save_state(self, path):
        Path(path).write_text(str(self.state.global_step))


@pytest.fixture
def training():
    return Training()


def test_steps_go_on_while_a_state_is_written_and_the_state_is_as_it_was(training, tmp_path):
    told = []
    writer = StateWriter(tmp_path, told.append)
    training.step()
    weights = training.model.weight.detach().clone()
    training.may_write.clear()
    writer.save(training, lambda folder: None)
    training.step()  # in place, while nothing is written yet
    assert not torch.equal(training.model.weight, weights)
    assert not (tmp_path / "checkpoint-1" / STATE).exists()
    assert not writer.is_due()
    training.may_write.set()
    writer.close()
    assert told == [tmp_path / "checkpoint-1"]
    assert (tmp_path / "checkpoint-1" / STATE).read_text() == "1"
    saved = torch.load(tmp_path / "checkpoint-1" / "weights.pt")
    assert torch.equal(saved["weight"], weights)
    moments = torch.load(tmp_path / "checkpoint-1" / "optimizer.pt")["state"][0]
    assert moments["step"] == 1


def test_the_newest_state_alone_stays_once_it_is_complete(training, tmp_path):
    writer = StateWriter(tmp_path, lambda folder: None)
    for _ in range(3):
        training.step()
        writer.save(training, lambda folder: None)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_what_goes_wrong_while_it_is_written_is_raised_at_the_next_save(training, tmp_path):
    def full(folder):
        raise OSError("no space")

    writer = StateWriter(tmp_path, lambda folder: None)
    writer.save(training, full)
    with pytest.raises(OSError, match="no space"):
        writer.save(training, full)
    assert not list(tmp_path.glob(f"*/{STATE}"))
    writer.close()


def test_a_state_that_takes_long_to_copy_is_saved_the_more_seldom(training, tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def slow_copy(*args):
        clock.now += 10
        return lambda folder: None

    monkeypatch.setattr(saving, "_copy_of_state", slow_copy)
    writer = StateWriter(tmp_path, lambda folder: None)
    writer.save(training, lambda folder: None)
    writer.wait()
    due = []
    for seconds in (60, 199, 200):
        clock.now = 10 + seconds
        due.append(writer.is_due())
    assert due == [False, False, True]  # 10 seconds in 200 are a twentieth
    writer.close()


def test_tied_weights_are_copied_once():
    weight = torch.ones(3)
    copies = sharding.whole_on_first({"a": weight, "b": weight, "c": [weight, (torch.zeros(0), 5)]}, {})
    assert copies["a"] is copies["b"] is copies["c"][0]
    assert copies["a"].data_ptr() != weight.data_ptr()


@pytest.mark.parametrize("setting", ["often", "-1", "nan"])
def test_a_pause_that_is_none_is_refused(monkeypatch, tmp_path, setting):
    monkeypatch.setenv("MICROTOME_SAVE_SECONDS", setting)
    with pytest.raises(
        InputError, match=f"MICROTOME_SAVE_SECONDS is '{setting}'; set it to a number of seconds"
    ):
        StateWriter(tmp_path, lambda folder: None)
