import json
import multiprocessing
import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from microtome.jobs.kinds.adapt import AdaptConfig, adapt_job
from microtome.jobs.models import epoch_trainer, loading, lora, training
from microtome.jobs.models.source import ADAPTER, CHECKPOINT, find_model
from microtome.jobs.run.executor import run_job
from microtome.store.errors import InputError, MissingError
from microtome.store.results import read_rows
from tests.jobs.models.saves import save_after_every_step

CORPUS = {"format": "synthetic", "topic": "biomedical", "documents": 40, "seed": 2}
QUICK = {"corpus": CORPUS, "epochs": 2, "batch_size": 8, "block_size": 32, "learning_rate": 3e-3}


def job(bench, name, model, **options):
    config = AdaptConfig.parse(QUICK | options, where="test")
    return adapt_job(name, config, find_model(str(model), bench.store) if model else None)


def scores(artifact, metric):
    return [(r["stage"], r["epoch"], r["value"]) for r in read_rows(artifact) if r["metric"] == metric]


def weights(artifact):
    [file] = (artifact.path / CHECKPOINT).glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize(("name", "objective"), [("bert", "mlm"), ("gpt2", "clm"), ("biogpt", "clm")])
def test_training_lowers_the_perplexity_of_held_out_documents(bench, tiny_models, name, objective):
    made = bench.run(job(bench, "adapted", tiny_models / name, objective=objective, epochs=4))
    metric, other = ("masked_perplexity", "perplexity")[:: 1 if objective == "mlm" else -1]
    assert not scores(made, other)
    perplexity = scores(made, metric)
    assert [(stage, epoch) for stage, epoch, _ in perplexity] == [
        ("before", 0),
        ("during", 1),
        ("during", 2),
        ("during", 3),
        ("after", 4),
    ]
    assert perplexity[-1][2] < 0.7 * perplexity[0][2]
    auto = AutoModelForMaskedLM if objective == "mlm" else AutoModelForCausalLM
    auto.from_pretrained(made.path / CHECKPOINT)
    outputs = made.manifest["outputs"]
    assert outputs["trainable_parameters"] == outputs["parameters"]
    assert outputs["blocks"]["heldout"] > 0


def test_scores_are_taken_every_so_many_epochs_and_at_the_end(bench, tiny_models):
    options = {"objective": "clm", "epochs": 5, "evaluate_every": 2}
    found = scores(bench.run(job(bench, "a", tiny_models / "gpt2", **options)), "token_accuracy")
    assert [epoch for _, epoch, _ in found] == [0, 2, 4, 5]


def test_the_default_block_suits_the_objective():
    sizes = {o: AdaptConfig(objective=o, corpus=CORPUS).tokens_per_block for o in ("mlm", "clm")}
    assert sizes == {"mlm": 128, "clm": 512}


@pytest.mark.parametrize(("name", "objective"), [("bert", "mlm"), ("gpt2", "clm"), ("biogpt", "clm")])
def test_an_adapter_is_small_and_goes_wherever_a_model_goes(bench, tiny_models, tmp_path, name, objective):
    base = tiny_models / name
    options = {"objective": objective, "lora": {"rank": 1, "alpha": 4}, "learning_rate": 1e-2}
    made = bench.run(job(bench, "adapted", base, **options))
    checkpoint = made.path / CHECKPOINT
    assert (checkpoint / ADAPTER).is_file()
    assert not list(checkpoint.glob("model*.safetensors"))
    assert str(tiny_models) not in (checkpoint / ADAPTER).read_text()
    outputs = made.manifest["outputs"]
    assert outputs["trainable_parameters"] < 0.1 * outputs["parameters"]
    assert outputs["adapter"]["bytes"] < 0.2 * (base / "model.safetensors").stat().st_size
    assert scores(made, "loss")[-1][2] < scores(made, "loss")[0][2]

    merged = find_model(made.id, bench.store).folder(bench.store, tmp_path)
    old, new = load_file(base / "model.safetensors"), load_file(merged / "model.safetensors")
    changed = {key for key in new if key in old and not torch.equal(old[key], new[key])}
    assert changed
    assert all("attn" in key or "attention" in key for key in changed)
    tuned = bench.run(bench.finetune("nli", made.id, epochs=1))
    cached = bench.run(bench.extract("nli", made.id, examples=4))
    plain = bench.run(bench.extract("nli", base, examples=4))
    assert tuned.manifest["inputs"]["model"] == made.id
    assert cached.id != plain.id
    assert not list((cached.path).glob("**/merged*"))


def test_a_merged_adapter_answers_as_the_adapted_model(bench, tiny_models, tmp_path):
    from peft import PeftModel

    made = bench.run(job(bench, "a", tiny_models / "gpt2", objective="clm", lora={"rank": 2}))
    merged = find_model(made.id, bench.store).folder(bench.store, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(merged).eval()
    base = AutoModelForCausalLM.from_pretrained(tiny_models / "gpt2")
    adapted = PeftModel.from_pretrained(base, str(made.path / CHECKPOINT)).eval()
    ids = torch.arange(20)[None]
    torch.testing.assert_close(plain(ids).logits, adapted(ids).logits, atol=1e-5, rtol=1e-5)


def test_an_adapter_on_an_adapter_needs_both(bench, tiny_models, tmp_path):
    lora_of = {"objective": "clm", "lora": {"rank": 1}}
    first = bench.run(job(bench, "first", tiny_models / "gpt2", **lora_of))
    second = bench.run(job(bench, "second", first.id, **lora_of))
    assert (find_model(second.id, bench.store).folder(bench.store, tmp_path) / "model.safetensors").is_file()
    source = find_model(second.id, bench.store)
    bench.store.remove(first)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(MissingError, match=r"the base model of adapter adapt/second.* is not here"):
        source.folder(bench.store, other)


def test_a_head_that_the_checkpoint_lacks_is_trained_with_the_adapter(bench, tiny_models, tmp_path):
    headless = tmp_path / "headless"
    tokenizer = loading.load_tokenizer(tiny_models / "bert")
    loading.load_backbone(tiny_models / "bert", torch.device("cpu")).save_pretrained(headless)
    tokenizer.save_pretrained(headless)
    options = {"objective": "mlm", "lora": {"rank": 1}, "epochs": 6, "learning_rate": 1e-2}
    made = bench.run(job(bench, "a", headless, **options))
    assert "no trained" in bench.store.log_path(job(bench, "a", headless, **options).request).read_text()
    assert scores(made, "loss")[-1][2] < scores(made, "loss")[0][2] - 0.2
    merged = find_model(made.id, bench.store).folder(bench.store, tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(merged)
    assert made.manifest["outputs"]["trainable_parameters"] < 1000  # the output layer is the embeddings
    kept = load_file(made.path / CHECKPOINT / "adapter_model.safetensors")
    [name] = [key for key in kept if key.endswith("transform.dense.weight")]
    torch.testing.assert_close(model.cls.predictions.transform.dense.weight.data, kept[name])


def test_targets_are_found_or_refused_in_one_line(bench, tiny_models):
    model = loading.load_backbone(tiny_models / "biogpt", torch.device("cpu"))
    assert lora._targets(model) == ["q_proj", "v_proj"]
    wrong = job(bench, "a", tiny_models / "gpt2", objective="clm", lora={"targets": ["query"]})
    error, _ = run_job(wrong, bench.store.root)
    assert error.startswith("lora.targets: no module 'query' in this gpt2 (modules with weights: c_attn,")


def test_the_identity_is_made_of_base_and_adapter(bench, tiny_models):
    ids = {
        job(bench, "a", tiny_models / model, objective="clm", lora=adapter).id
        for model in ("gpt2", "biogpt")
        for adapter in (None, {"rank": 1}, {"rank": 2})
    }
    assert len(ids) == 6
    same = job(bench, "b", tiny_models / "gpt2", objective="clm", lora={"rank": 1})
    assert same.id == job(bench, "a", tiny_models / "gpt2", objective="clm", lora={"rank": 1}).id


def test_documents_are_joined_only_if_asked(bench, tiny_models):
    apart, joined = (
        bench.run(job(bench, "a", tiny_models / "gpt2", objective="clm", epochs=1, join=join)).manifest[
            "outputs"
        ]
        for join in (False, True)
    )
    assert joined["blocks"]["training"] < apart["blocks"]["training"]


def test_an_objective_that_does_not_suit_the_model_is_refused(bench, tiny_models):
    for name, objective, other in (("gpt2", "mlm", "clm"), ("bert", "clm", "mlm")):
        error, _ = run_job(job(bench, "a", tiny_models / name, objective=objective), bench.store.root)
        assert error == f"objective {objective} does not suit a {name}; say objective: {other}"
    with pytest.raises(InputError, match="either a base model or a new one"):
        job(bench, "a", None, objective="clm")


@pytest.mark.parametrize(("share", "side"), [(1e-9, "held out"), (1 - 1e-9, "left to train on")])
def test_a_corpus_of_which_nothing_falls_on_one_side_is_refused(bench, tiny_models, share, side):
    wrong = job(bench, "a", tiny_models / "gpt2", objective="clm", heldout_share=share)
    error, _ = run_job(wrong, bench.store.root)
    assert error.startswith(f"no document of the corpus is {side} at heldout_share")


@pytest.mark.parametrize("warmup", [{"warmup": 1.0}, {"warmup_steps": 1}])
def test_a_share_of_the_steps_warms_up_or_a_count(bench, tiny_models, monkeypatch, warmup):
    real, rates = epoch_trainer.Trainer.training_step, []

    def training_step(self, *args, **kwargs):
        rates.append(self.optimizer.param_groups[0]["lr"] / self.args.learning_rate)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(epoch_trainer.Trainer, "training_step", training_step)
    bench.run(job(bench, "a", tiny_models / "gpt2", objective="clm", **warmup))
    steps = len(rates)
    rising = steps if "warmup" in warmup else 1
    expected = [i / rising if i < rising else (steps - i) / (steps - rising) for i in range(steps)]
    assert rates == pytest.approx(expected)


def test_a_share_and_a_count_together_are_refused():
    values = QUICK | {"objective": "clm", "warmup": 0.5, "warmup_steps": 0}
    with pytest.raises(InputError, match="warmup 0.5 is a share and warmup_steps 0 a count: set one"):
        AdaptConfig.parse(values, where="test")


@pytest.mark.parametrize("adapter", [None, {"rank": 1}])
@pytest.mark.parametrize(("name", "objective"), [("bert", "mlm"), ("gpt2", "clm")])
def test_training_that_diverged_leaves_nothing(bench, tiny_models, name, objective, adapter):
    options = {"objective": objective, "lora": adapter, "learning_rate": 1e30}
    wrong = job(bench, "a", tiny_models / name, **options)
    error, _ = run_job(wrong, bench.store.root)
    assert error.startswith("training diverged: the ")
    assert "\n" not in error
    assert bench.store.find(wrong.request) is None


def _run_and_die(job, root, step):
    real = epoch_trainer.Trainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args, **kwargs)

    epoch_trainer.Trainer.training_step = training_step
    save_after_every_step()
    run_job(job, root)


DROPPING = {"rank": 1, "dropout": 0.1}


@pytest.mark.thorough  # saved and read as in the fine-tuning of test_finetune.py
@pytest.mark.parametrize("adapter", [DROPPING, None])
@pytest.mark.parametrize(("name", "objective"), [("bert", "mlm"), ("gpt2", "clm")])
def test_a_killed_run_goes_on_in_the_middle_of_an_epoch_and_ends_the_same(
    bench, tiny_models, tmp_path, monkeypatch, name, objective, adapter
):
    wanted = job(bench, "a", tiny_models / name, objective=objective, epochs=2, lora=adapter)
    whole = bench.run(wanted)
    other = type(bench)(tmp_path / "other", bench.tasks)
    steps = -(-whole.manifest["outputs"]["blocks"]["training"] // QUICK["batch_size"])
    process = multiprocessing.get_context("spawn").Process(
        target=_run_and_die, args=(wanted, other.store.root, steps + steps // 2)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert other.store.find(wanted.request) is None
    real, seen = epoch_trainer.Trainer.training_step, []

    def training_step(self, *args, **kwargs):
        seen.append(self.state.global_step)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(epoch_trainer.Trainer, "training_step", training_step)
    resumed = other.run(wanted)
    assert seen == list(range(steps + steps // 2, 2 * steps))
    log = other.store.log_path(wanted.request).read_text()
    assert f"resuming from checkpoint-{steps + steps // 2}" in log
    for key, value in weights(whole).items():
        torch.testing.assert_close(value, weights(resumed)[key], msg=key)
    assert json.dumps(read_rows(resumed)) == json.dumps(read_rows(whole))


def test_weight_decay_is_a_setting(bench, tiny_models, monkeypatch):
    from microtome.jobs.models import training

    decays = []
    train = training.train

    def noted(model, features, collator, evaluate, schedule, *more, **options):
        decays.append(schedule.settings.weight_decay)
        return train(model, features, collator, evaluate, schedule, *more, **options)

    monkeypatch.setattr(training, "train", noted)
    bench.run(job(bench, "a", tiny_models / "gpt2", objective="clm"))
    bench.run(job(bench, "b", tiny_models / "gpt2", objective="clm", weight_decay=0.2))
    assert decays == [0.01, 0.2]


@pytest.mark.parametrize(
    ("name", "objective"),
    [("gpt2", "clm"), pytest.param("bert", "mlm", marks=pytest.mark.thorough)],
)
def test_the_base_of_an_adapter_may_be_in_bfloat16(bench, tiny_models, monkeypatch, name, objective):
    seen = {}
    train = training.train

    def look(model, *args, **options):
        for parameter in model.parameters():
            seen.setdefault(parameter.dtype, set()).add(parameter.requires_grad)
        return train(model, *args, **options)

    monkeypatch.setattr(training, "train", look)
    options = {"objective": objective, "epochs": 4, "precision": "float32", "gradient_checkpointing": True}
    adapter = {"rank": 4, "base": "bfloat16"}
    asked = job(bench, "half", tiny_models / name, lora=adapter, **options)
    made = bench.run(asked)
    assert seen == {torch.bfloat16: {False}, torch.float32: {True}}
    metric = "masked_perplexity" if objective == "mlm" else "perplexity"
    perplexity = scores(made, metric)
    assert perplexity[-1][2] < perplexity[0][2]
    assert {value.dtype for value in weights(made).values()} == {torch.float32}
    whole = job(bench, "half", tiny_models / name, lora={"rank": 4}, **options)
    assert whole.id != asked.id
    before = scores(bench.run(whole), metric)[0][2]
    assert perplexity[0][2] == pytest.approx(before, rel=0.02)
    again = job(
        bench, "half", tiny_models / name, lora=adapter, **options | {"gradient_checkpointing": False}
    )
    assert again.id == asked.id
