"""Two processes of this machine train as one does: the same steps, the same weights, one plain checkpoint."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing import start_processes
from transformers import BertConfig, BertForTokenClassification, LlamaConfig, LlamaForCausalLM

from microtome.jobs.models import epoch_trainer, language, sharding, training
from microtome.jobs.models.saving import STATE
from microtome.jobs.process import stopping
from tests.jobs.models.test_training import BERT, PADS, PLAN, SIZES, features, tags

LLAMA = {**SIZES, "intermediate_size": 32, "num_key_value_heads": 1, "pad_token_id": 0}
CASES = {
    "bert": (lambda: BertForTokenClassification(BertConfig(**BERT, num_labels=3)), tags, PADS),
    "llama": (
        lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, tie_word_embeddings=True)),
        lambda number, ids, rng: 0,
        language.CausalCollator(0),
    ),
}
STOP_AFTER = 3  # of ten steps
WITHIN_ROUNDING = {"atol": 2e-5, "rtol": 1e-4}


def trained(case, folder, steps=None, stop_at=None):
    """The model after training, which `stop_at` interrupts like a SIGTERM; `steps` notes the losses."""
    make, target, collate = CASES[case]
    torch.manual_seed(0)
    model, scores = make(), iter([1.0, 0.5])  # the first epoch is the best
    real = epoch_trainer.EpochTrainer.training_step

    def step(self, *args):
        loss = real(self, *args)
        if steps is not None:
            steps.append(float(loss))
        if self.state.global_step + 1 == stop_at:
            stopping._heard = signal.SIGTERM
        return loss

    epoch_trainer.EpochTrainer.training_step = step
    try:
        plan = dataclasses.replace(PLAN, keep_last=False, by_length=case == "bert")
        training.train(
            model, features(target), collate, lambda: {"loss": next(scores)}, plan, folder, lambda text: None
        )
    finally:
        epoch_trainer.EpochTrainer.training_step = real
        stopping._heard = None
    return model


def process(rank, folder):
    """One of two: each case at a stretch, and stopped and gone on with; only the second hears the signal."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with sharding.member_of(sharding.Group(rank, 2), folder / "rendezvous"):
        for case in CASES:
            steps = []
            model = trained(case, folder / case / "straight", steps)
            sharding.save_model(model, folder / case / "checkpoint")
            torch.save(steps, folder / case / f"steps-{rank}")
            stopped = folder / case / "stopped"
            try:
                trained(case, stopped, stop_at=STOP_AFTER if rank else None)
                raise AssertionError("it was not stopped")
            except KeyboardInterrupt:
                pass
            if rank == 0:
                shutil.copytree(stopped, folder / case / "copy")
            sharding.any_process(False)
            sharding.save_model(trained(case, stopped), folder / case / "resumed")


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    """What two processes made of every case."""
    folder = tmp_path_factory.mktemp("sharded")
    for case in CASES:
        (folder / case).mkdir()
    start_processes(process, (folder,), 2, start_method="spawn")
    return folder


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value, theirs[name], **WITHIN_ROUNDING, msg=lambda why, n=name: f"{n}: {why}"
        )


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(in_two, tmp_path, case):
    steps = []
    trained(case, tmp_path / "alone", steps).save_pretrained(tmp_path / "checkpoint")
    assert len(steps) == 10
    shares = [torch.load(in_two / case / f"steps-{rank}") for rank in range(2)]
    assert shares[0] != shares[1]  # each has seen examples of its own
    torch.testing.assert_close(torch.tensor(shares).mean(0), torch.tensor(steps), **WITHIN_ROUNDING)
    assert_same(weights(in_two / case / "checkpoint"), weights(tmp_path / "checkpoint"))


@pytest.mark.parametrize("case", CASES)
def test_the_checkpoint_is_a_plain_one(in_two, case):
    folder = in_two / case / "checkpoint"
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]
    model, info = type(CASES[case][0]()).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.architectures == [type(model).__name__]


@pytest.mark.parametrize("case", CASES)
def test_what_one_process_hears_stops_both_after_the_same_step(in_two, tmp_path, case):
    state = training.last_complete_checkpoint(in_two / case / "copy")
    assert state.name == f"checkpoint-{STOP_AFTER}"
    assert (state / STATE).is_file()
    assert_same(weights(in_two / case / "resumed"), weights(in_two / case / "checkpoint"))


@pytest.mark.parametrize("case", CASES)
def test_one_process_goes_on_from_the_state_of_two(in_two, tmp_path, case):
    shutil.copytree(in_two / case / "copy", tmp_path / "states")
    trained(case, tmp_path / "states").save_pretrained(tmp_path / "resumed")
    assert_same(weights(tmp_path / "resumed"), weights(in_two / case / "checkpoint"))


def test_every_process_has_as_many_pieces_and_all_examples_are_seen_once(monkeypatch):
    numbers = [{"number": number} for number in range(7)]
    for size, micro in ((2, 8), (2, 2), (3, 1), (4, 1)):
        batches = []
        for rank in range(size):
            monkeypatch.setattr(sharding, "_group", sharding.Group(rank, size))
            batches.append(epoch_trainer.MicroBatches(list, micro)(numbers))
        assert len({len(batch["pieces"]) for batch in batches}) == 1
        counted = [batch["pieces"][: len(batch["pieces"]) - batch["repeated"]] for batch in batches]
        seen = [row["number"] for pieces in counted for piece in pieces for row in piece]
        assert sorted(seen) == list(range(7))
        assert all(len(piece) <= micro for pieces in counted for piece in pieces)
