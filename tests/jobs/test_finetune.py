import json
import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForTokenClassification

from jobs.executor import run_job
from jobs.models import training
from jobs.models.losses import loss_of_classes, loss_of_sets
from jobs.models.source import CHECKPOINT
from store.results import read_rows


def scores(artifact, split="test"):
    return {row["metric"]: row["value"] for row in read_rows(artifact) if row["split"] == split}


@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
@pytest.mark.parametrize("kind", ["ner", "nli"])
def test_every_architecture_learns_and_leaves_a_stock_checkpoint(bench, tiny_models, kind, name):
    artifact = bench.run(bench.finetune(kind, tiny_models / name))
    found = scores(artifact)
    assert {"entity_f1", "token_macro_f1"} <= set(found) if kind == "ner" else {"accuracy"} <= set(found)
    config = json.loads((artifact.path / CHECKPOINT / "config.json").read_text())
    head = "ForTokenClassification" if kind == "ner" else "ForSequenceClassification"
    assert config["architectures"][0].lower() == (name + head).lower()
    assert (artifact.path / CHECKPOINT / "model.safetensors").is_file()
    assert config["pad_token_id"] is not None
    history = artifact.manifest["outputs"]["history"]
    assert [round(epoch["epoch"]) for epoch in history] == [1, 2]
    assert sorted(path.name for path in artifact.path.iterdir()) == [
        "checkpoint",
        "manifest.json",
        "predictions.jsonl",
        "rows.jsonl",
        "summed.npz",
    ]


def test_training_beats_the_untrained_head(bench, tiny_models):
    floor = bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0))
    trained = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=12, learning_rate=3e-3))
    assert floor.manifest["outputs"]["training_examples"] == 0
    assert floor.manifest["outputs"]["history"] == []
    assert scores(trained)["token_micro_f1"] > scores(floor)["token_micro_f1"] + 0.2


def test_predictions_hold_ids_and_labels_and_give_the_scores(bench, tiny_models):
    from analysis.metrics import class_scores

    artifact = bench.run(bench.finetune("nli", tiny_models / "gpt2"))
    rows = [json.loads(line) for line in (artifact.path / "predictions.jsonl").open()]
    assert len(rows) == 30
    assert set(rows[0]) == {"id", "gold", "predicted"}
    again = class_scores([row["gold"] for row in rows], [row["predicted"] for row in rows])
    assert scores(artifact)["accuracy"] == again["accuracy"]


def test_the_kept_epoch_is_the_best_or_the_last(bench, tiny_models):
    options = {"epochs": 4, "learning_rate": 5e-2}  # far too fast: the scores jump about
    best = bench.run(bench.finetune("nli", tiny_models / "bert", keep="best", **options))
    last = bench.run(bench.finetune("nli", tiny_models / "bert", keep="last", **options))
    history = [epoch["accuracy"] for epoch in last.manifest["outputs"]["history"]]
    assert [epoch["accuracy"] for epoch in best.manifest["outputs"]["history"]] == history
    assert scores(best, "dev")["accuracy"] == max(history)
    assert scores(last, "dev")["accuracy"] == history[-1]


def test_dev_scores_are_those_of_the_saved_checkpoint(bench, tiny_models):
    first = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=3))
    again = bench.run(bench.finetune("ner", first.id, fraction=0))
    assert scores(again, "dev") == pytest.approx(scores(first, "dev"))
    assert scores(again) == pytest.approx(scores(first))


def test_truncated_words_are_counted_and_missed(bench, tiny_models):
    whole = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=12, learning_rate=3e-3))
    cut = bench.run(bench.finetune("ner", whole.id, fraction=0, max_length=8))
    assert scores(whole)["truncated_words"] < 10
    assert scores(cut)["truncated_words"] > 50
    rows = [json.loads(line) for line in (cut.path / "predictions.jsonl").open()]
    assert all(len(row["gold"]) == len(row["predicted"]) for row in rows)
    assert scores(cut)["entity_recall"] < scores(whole)["entity_recall"]


def test_label_position_is_a_recipe_field(bench, tiny_models):
    found = {}
    for name in ("bert", "gpt2"):
        for position in ("auto", "first", "last"):
            job = bench.finetune("ner", tiny_models / name, fraction=0, label_subword=position)
            found[name, position] = bench.run(job).manifest["outputs"]["label_subword"]
    assert found["bert", "auto"] == found["bert", "first"] == found["gpt2", "first"] == "first"
    assert found["gpt2", "auto"] == found["gpt2", "last"] == found["bert", "last"] == "last"


def _weights(artifact):
    return AutoModelForTokenClassification.from_pretrained(artifact.path / CHECKPOINT).state_dict()


def _run_and_die(job, root, epoch):
    real = training._Report.on_log

    def on_log(self, args, state, control, logs=None, **more):
        if state.epoch is not None and state.epoch > epoch and "loss" in (logs or {}):
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, args, state, control, logs=logs, **more)

    training._Report.on_log = on_log
    training.SECONDS_BETWEEN_SAVES = 0
    run_job(job, root)


def test_a_killed_run_resumes_in_the_middle_of_an_epoch_and_ends_the_same(bench, tiny_models, tmp_path):
    job = bench.finetune("ner", tiny_models / "bert", epochs=4)
    whole = bench.run(job)
    other = type(bench)(tmp_path / "other", bench.tasks)
    process = multiprocessing.get_context("spawn").Process(
        target=_run_and_die, args=(job, other.store.root, 2.5)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert other.store.find(job.request) is None
    resumed = other.run(job)
    assert "resuming from checkpoint-23" in other.store.log_path(job.request).read_text()
    assert len(resumed.manifest["outputs"]["history"]) == 4
    for name, value in _weights(whole).items():
        torch.testing.assert_close(value, _weights(resumed)[name], msg=name)
    assert scores(resumed) == scores(whole)


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_steps(bench, tiny_models, monkeypatch):
    real, sizes = training.Trainer.training_step, []

    def step(self, model, inputs, *args, **kwargs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("pretended")
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(training.Trainer, "training_step", step)
    artifact = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1))
    assert (sizes[0], sizes[1]) == (8, 4)
    assert max(sizes[2:]) == 2
    assert artifact.manifest["outputs"]["training_examples"] == 60
    log = bench.store.log_path(bench.finetune("ner", tiny_models / "bert", epochs=1).request).read_text()
    assert "going on with 4 examples at a time" in log
    assert "going on with 2 examples at a time" in log


def test_a_checkpoint_cut_short_is_not_resumed_from(tmp_path):
    for number, complete in ((8, True), (16, False)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if complete:
            (folder / "trainer_state.json").write_text("{}")
    assert training.last_complete_checkpoint(tmp_path).name == "checkpoint-8"
    assert not (tmp_path / "checkpoint-16").exists()


def test_the_identity_is_what_decides_the_weights(bench, tiny_models, tmp_path):
    import shutil

    job = bench.finetune("ner", tiny_models / "bert")
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_models / "bert", moved)
    assert bench.finetune("ner", moved).id == job.id
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))
    changed = tmp_path / "changed"
    moved.rename(changed)
    assert bench.finetune("ner", changed).id != job.id
    assert bench.finetune("ner", tiny_models / "bert", seed=2).id != job.id
    assert bench.finetune("ner", tiny_models / "bert", learning_rate=1e-4).id != job.id
    assert bench.finetune("ner", tiny_models / "bert", fraction=50).id != job.id


def in_micro_batches(loss, logits, targets):
    """The loss of a step of three examples that is cut into micro-batches of two and one."""
    return sum(
        loss(SimpleNamespace(logits=logits[rows]), targets[rows], num_items_in_batch=targets.numel())
        for rows in ([0, 1], [2])
    )


def test_present_classes_can_weigh_more_and_micro_batches_do_not_change_the_loss():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.5, 0.7]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    for weight in (1.0, 5.0):
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.full((2,), weight))(logits, targets)
        loss = loss_of_sets(weight)
        torch.testing.assert_close(loss(SimpleNamespace(logits=logits), targets), expected)
        torch.testing.assert_close(in_micro_batches(loss, logits, targets), expected)


def test_relations_can_weigh_more_than_their_absence():
    logits = torch.tensor([[0.3, -1.2, 0.0], [2.0, 0.1, 1.0], [-0.5, 0.7, 0.2]])
    targets = torch.tensor([0, 2, 1])
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    loss = loss_of_classes([1, 4, 4])
    expected = (each * torch.tensor([1.0, 4.0, 4.0])).mean()
    torch.testing.assert_close(loss(SimpleNamespace(logits=logits), targets), expected)
    torch.testing.assert_close(in_micro_batches(loss, logits, targets), expected)
