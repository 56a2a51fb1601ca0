import json
import multiprocessing
import os
import re
import shutil
import signal
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from microtome.jobs.kinds.finetune import finetune_job
from microtome.jobs.models import epoch_trainer, training
from microtome.jobs.models.losses import loss_of_classes, loss_of_sets
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.run.executor import run_job
from microtome.jobs.tasks import TRAINS_ONLY, Recipe, load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.errors import InputError
from microtome.store.results import read_rows
from tests.jobs.models.saves import save_after_every_step


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
        "logits.npz",
        "manifest.json",
        "metric_terms.npz",
        "predictions.jsonl",
        "rows.jsonl",
    ]


def test_training_beats_the_untrained_head(bench, tiny_models):
    floor = bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0))
    trained = bench.run(bench.finetune("ner", tiny_models / "bert", epochs=12, learning_rate=3e-3))
    assert floor.manifest["outputs"]["training_examples"] == 0
    assert floor.manifest["outputs"]["history"] == []
    assert scores(trained)["token_micro_f1"] > scores(floor)["token_micro_f1"] + 0.2


def test_predictions_hold_ids_and_labels_and_give_the_scores(bench, tiny_models):
    artifact = bench.run(bench.finetune("nli", tiny_models / "gpt2"))
    rows = [json.loads(line) for line in (artifact.path / "predictions.jsonl").open()]
    assert len(rows) == 30
    assert set(rows[0]) == {"id", "gold", "predicted"}
    right = [row["gold"] == row["predicted"] for row in rows]
    assert scores(artifact)["accuracy"] == pytest.approx(sum(right) / len(right))


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
    real = training.LogProgress.on_log

    def on_log(self, args, state, control, logs=None, **more):
        if state.epoch is not None and state.epoch > epoch and "loss" in (logs or {}):
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, args, state, control, logs=logs, **more)

    training.LogProgress.on_log = on_log
    save_after_every_step()
    run_job(job, root)


def test_a_killed_run_resumes_in_the_middle_of_an_epoch_and_ends_the_same(
    bench, tiny_models, tmp_path, monkeypatch
):
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
    seen = steps_of(monkeypatch)
    resumed = other.run(job)
    assert [step for step, _ in seen] == list(range(23, 32))  # of eight steps an epoch
    assert "resuming from checkpoint-23" in other.store.log_path(job.request).read_text()
    assert len(resumed.manifest["outputs"]["history"]) == 4
    for name, value in _weights(whole).items():
        torch.testing.assert_close(value, _weights(resumed)[name], msg=name)
    assert scores(resumed) == scores(whole)


def steps_of(monkeypatch, memory=float("inf")):
    """Notes (optimisation step, examples) of every piece that goes through a model on a device that holds
    `memory` examples."""
    real, seen = epoch_trainer.Trainer.training_step, []

    def step(self, model, inputs, *args, **kwargs):
        size = len(inputs["input_ids"])
        if size > memory:
            raise torch.OutOfMemoryError("pretended")
        seen.append((self.state.global_step, size))
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(epoch_trainer.Trainer, "training_step", step)
    return seen


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_steps(bench, tiny_models, monkeypatch):
    seen = steps_of(monkeypatch, memory=2)
    job = bench.finetune("ner", tiny_models / "bert", epochs=1, batch_size=7)
    artifact = bench.run(job)
    examples = Counter()
    for step, size in seen:
        examples[step] += size
    assert examples == {**dict.fromkeys(range(8), 7), 8: 60 - 8 * 7}
    assert artifact.manifest["outputs"]["training_examples"] == 60
    log = bench.store.log_path(job.request).read_text()
    assert "going on with 4 examples at a time" in log
    assert "going on with 2 examples at a time" in log


@pytest.mark.parametrize("fraction", [0, 100])
def test_training_that_diverged_leaves_nothing(bench, tiny_models, fraction):
    good = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=0))
    weights = load_file(good.path / CHECKPOINT / "model.safetensors")
    shutil.copytree(good.path / CHECKPOINT, bench.store.root / "broken")
    weights["bert.encoder.layer.1.output.dense.bias"][3] = float("nan")
    save_file(weights, bench.store.root / "broken" / "model.safetensors", metadata={"format": "pt"})
    for job, why in (
        (
            bench.finetune("nli", tiny_models / "bert", learning_rate=1e30),
            "training diverged: the loss of step",
        ),
        (bench.finetune("nli", bench.store.root / "broken", fraction), "not finite before|answers example"),
    ):
        error, _ = run_job(job, bench.store.root)
        assert re.search(why, error)
        assert "\n" not in error
        assert bench.store.find(job.request) is None


@pytest.mark.parametrize(("warmup", "rising"), [({"warmup": 1.0}, 16), ({"warmup_steps": 1}, 1)])
def test_a_share_of_the_steps_warms_up_or_a_count(bench, tiny_models, monkeypatch, warmup, rising):
    real, rates = epoch_trainer.Trainer.training_step, []

    def step(self, *args, **kwargs):
        rates.append(self.optimizer.param_groups[0]["lr"] / self.args.learning_rate)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(epoch_trainer.Trainer, "training_step", step)
    bench.run(bench.finetune("nli", tiny_models / "bert", **warmup))
    expected = [i / rising if i < rising else (16 - i) / (16 - rising) for i in range(16)]
    assert rates == pytest.approx(expected)


def test_a_share_and_a_count_together_are_refused():
    with pytest.raises(InputError, match="warmup 0.1 is a share and warmup_steps 3 a count: set one"):
        Recipe.parse({"warmup": 0.1, "warmup_steps": 3}, where="test")


def test_a_checkpoint_cut_short_is_not_resumed_from(tmp_path):
    for number, complete in ((8, True), (16, False)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if complete:
            (folder / "trainer_state.json").write_text("{}")
    assert training.last_complete_checkpoint(tmp_path).name == "checkpoint-8"
    assert not (tmp_path / "checkpoint-16").exists()


def test_the_identity_is_what_decides_the_weights(bench, tiny_models, tmp_path):
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


def test_present_classes_can_weigh_more():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.5, 0.7]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    for weight in (1.0, 5.0):
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.full((2,), weight))(logits, targets)
        loss = loss_of_sets(weight)
        torch.testing.assert_close(loss(SimpleNamespace(logits=logits), targets), expected)


def test_relations_can_weigh_more_than_their_absence():
    logits = torch.tensor([[0.3, -1.2, 0.0], [2.0, 0.1, 1.0], [-0.5, 0.7, 0.2]])
    targets = torch.tensor([0, 2, 1])
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    loss = loss_of_classes([1, 4, 4])
    expected = (each * torch.tensor([1.0, 4.0, 4.0])).mean()
    torch.testing.assert_close(loss(SimpleNamespace(logits=logits), targets), expected)


DECIDING = Recipe().all_settings()  # what runs a job, but decides no result, is in no identity
OTHER = {
    "learning_rate": 7e-4,
    "epochs": 1.0,
    "batch_size": 3,
    "max_length": 40,
    "warmup": 0.5,
    "warmup_steps": 2,
    "weight_decay": 0.5,
    "keep": "last",
    "positive_weight": 2.0,
    "train_examples": 5,
    "label_subword": "last",
    "schedule": "cosine",
    "cycles": 2,
    "optimizer": "adam",
    "precision": "bfloat16",
    "stride": 3,
    "train_on": ["train", "dev"],
    "by_length": False,
    "head": "mlp",
    "pooling": "mean",
    "threshold": 0.3,
    "tags": "types",
}


@pytest.mark.parametrize("name", DECIDING)
def test_what_only_training_uses_is_no_part_of_the_identity_where_nothing_is_trained(
    bench, tiny_models, name
):
    data = find_data(load_task(str(bench.tasks["nli"])))
    task = data.task.model_copy(update={"type": "relation"})  # which takes a positive weight
    model = find_model(str(tiny_models / "bert"), bench.store)
    if name == "threshold":
        task = task.model_copy(update={"type": "multi-label"})
    if name == "train_on":  # which asks for the last epoch
        recipe = task.recipe.model_copy(update={"keep": "last"})
        task = task.model_copy(update={"recipe": recipe})
    if name == "stride":
        task = task.model_copy(update={"type": "classification"})
    if name == "tags":
        task = task.model_copy(update={"type": "ner"})
    changed = task.recipe.model_copy(update={name: OTHER[name]})
    same = {
        fraction: len({finetune_job(task, data, model, fraction, 1, r).id for r in (task.recipe, changed)})
        == 1
        for fraction in (0, 0.1, 100)
    }
    assert same == {0: name in TRAINS_ONLY, 0.1: False, 100: False}


def test_the_untrained_model_is_scored_once_for_all_learning_rates(bench, tiny_models):
    made = bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0, learning_rate=1e-3))
    again = bench.finetune("ner", tiny_models / "bert", fraction=0, learning_rate=7e-4, epochs=9)
    assert bench.store.find(again.request).path == made.path
    kept = {"max_length", "label_subword", "precision", "stride", "head", "threshold", "pooling", "tags"}
    assert set(made.settings["recipe"]) == kept == set(DECIDING) - set(TRAINS_ONLY)
