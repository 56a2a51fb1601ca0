import json
import shutil
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from microtome.analysis.probing.settings import ProbeConfig
from microtome.jobs.kinds.probe import probe_job
from microtome.jobs.kinds.randomise import RandomConfig, randomise_job
from microtome.jobs.models import loading
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.run.executor import execute, run_job
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.results import derived_rows
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.cache.reader import ActivationCache
from microtome.store.errors import InputError
from microtome.store.results import read_rows
from tests.jobs.suite.test_plan import Silent


def job(bench, model, seed=0, name="nothing"):
    return randomise_job(name, RandomConfig(seed=seed), find_model(str(model), bench.store))


def weights(artifact):
    return load_file(artifact.path / CHECKPOINT / "model.safetensors")


def same(one, other):
    assert one.keys() == other.keys()
    return {name for name in one if torch.equal(one[name], other[name])}


def test_weights_that_are_not_finite_are_refused(bench, tiny_models, tmp_path):
    folder = tmp_path / "wild"
    shutil.copytree(tiny_models / "bert", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"initializer_range": 1e39}))
    wanted = job(bench, folder)
    error, _ = run_job(wanted, bench.store.root)
    assert "tensors are not finite as this architecture draws them" in error
    assert bench.store.find(wanted.request) is None


@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
def test_the_checkpoint_is_a_backbone_with_the_tokenizer_of_its_model(bench, tiny_models, name):
    made = bench.run(job(bench, tiny_models / name))
    cpu = torch.device("cpu")
    trained = loading.load_backbone(tiny_models / name, cpu)
    random = loading.load_backbone(made.path / CHECKPOINT, cpu)
    assert type(random) is type(trained)
    shapes = [{key: value.shape for key, value in m.state_dict().items()} for m in (trained, random)]
    assert shapes[0] == shapes[1]
    equal = same(trained.state_dict(), random.state_dict())
    drawn = {key for key, value in trained.state_dict().items() if value.dim() > 1}
    assert drawn
    assert not equal & drawn  # biases and norms start as constants in both
    tokenizers = [loading.load_tokenizer(folder) for folder in (tiny_models / name, made.path / CHECKPOINT)]
    text = "The drug treats headache (severe)."
    assert tokenizers[0](text)["input_ids"] == tokenizers[1](text)["input_ids"]
    assert made.manifest["labels"] == {"model": "nothing", "seed": 0}


def test_weights_follow_the_seed_alone(bench, tiny_models, tmp_path):
    torch.manual_seed(1)
    first = weights(bench.run(job(bench, tiny_models / "bert", seed=3)))
    torch.manual_seed(2)
    again = Store(tmp_path / "again")
    asked = job(bench, tiny_models / "bert", seed=3, name="other")
    error, _ = run_job(asked, again.root)
    assert error is None
    assert same(first, weights(again.find(asked.request))) == first.keys()
    other = job(bench, tiny_models / "bert", seed=4)
    assert other.id != asked.id
    different = first.keys() - same(first, weights(bench.run(other)))
    assert {name for name in first if first[name].dim() > 1} <= different


def test_extraction_and_probing_take_it_like_any_model(bench, tiny_models):
    made = bench.run(job(bench, tiny_models / "bert"))
    caches = [bench.run(bench.extract("ner", made.id, split, keep=["hidden"])) for split in ("train", "test")]
    plain = bench.run(bench.extract("ner", tiny_models / "bert", "test", keep=["hidden"]))
    opened = [ActivationCache(cache.path) for cache in (caches[1], plain)]
    assert opened[0].input_ids.tolist() == opened[1].input_ids.tolist()
    assert (opened[0].hidden(2) != opened[1].hidden(2)).any()
    probed = bench.run(probe_job("p", caches[0].id, caches[1].id, None, ProbeConfig(), {"model": "nothing"}))
    assert {row["layer"] for row in read_rows(probed)} == {0, 1, 2, None}


SUITE = """
name: floor
description: a model and its floor
models: {{bert: {{}}, bert-random: {{source: bert, weights: random, seed: 5}}}}
tasks: [{task}]
fractions: [0]
extract: {{probing: {{splits: {{train: 10, test: 10}}, options: {{keep: [hidden]}}}}}}
probe: [{{view: probing}}]
"""


def test_a_suite_plans_it_beside_its_model(tmp_path, small_tasks, tiny_models, monkeypatch):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path = tmp_path / "floor.yaml"
    path.write_text(SUITE.format(task=small_tasks["ner"]))
    store = Store(tmp_path / "store")
    plan = make_plan(load_suite(str(path)), store)
    assert plan.missing == ()
    [made] = [job for job in plan.jobs if job.kind == "randomise"]
    assert (made.labels, made.config.seed) == ({"model": "bert-random", "seed": 5}, 5)
    assert made.inputs == {"model": find_model("bert", store).identity}
    counts = Counter((job.kind, job.labels["model"]) for job in plan.jobs)
    for kind, number in {"extract": 2, "probe": 1, "finetune": 1}.items():
        assert counts[kind, "bert"] == counts[kind, "bert-random"] == number
    of_random = [
        j for j in plan.jobs if j.labels["model"] == "bert-random" and j.kind in ("extract", "finetune")
    ]
    assert {j.needs for j in of_random} == {(made.id,)}


def test_several_draws_are_analysed_as_the_seeds_of_one_model(
    tmp_path, small_tasks, tiny_models, monkeypatch
):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path = tmp_path / "floor.yaml"
    several = "seed: 5, draws: 3, fractions: []"
    path.write_text(SUITE.format(task=small_tasks["ner"]).replace("seed: 5", several))
    store = Store(tmp_path / "store")
    plan = make_plan(load_suite(str(path)), store)
    assert [job.config.seed for job in plan.jobs if job.kind == "randomise"] == [5, 6, 7]
    of_random = [job for job in plan.jobs if job.labels["model"] == "bert-random"]
    for kind in ("extract", "probe"):
        seeds = {job.labels["seed"] for job in of_random if job.kind == kind}
        assert seeds == {5, 6, 7}
    assert not [job for job in of_random if job.kind == "finetune"]
    assert execute(plan.jobs, set(), {}, LocalRunner(store.root), Silent()).ok
    derived = derived_rows(plan, store)
    floor = derived[(derived["model"] == "bert-random") & (derived["quantity"] == "mean")]
    assert len(floor)
    assert set(floor["seeds"]) == {3}


@pytest.mark.parametrize("settings", ["seed: 5, draws: 2", "draws: 2, weights: pretrained, fractions: []"])
def test_several_draws_of_what_is_not_drawn_or_is_fine_tuned_are_refused(tmp_path, small_tasks, settings):
    path = tmp_path / "floor.yaml"
    text = SUITE.format(task=small_tasks["ner"]).replace(
        "weights: random, seed: 5", f"weights: random, {settings}"
    )
    path.write_text(text.replace("weights: random, draws", "draws"))
    with pytest.raises(
        InputError, match="bert-random: several draws are of random weights that are not fine"
    ):
        load_suite(str(path))


def test_random_and_adapted_weights_exclude_each_other(tmp_path, small_tasks):
    path = tmp_path / "floor.yaml"
    adapted = "seed: 5, adapt: {objective: mlm, base: bert, corpus: {format: synthetic, topic: general}}"
    path.write_text(SUITE.format(task=small_tasks["ner"]).replace("seed: 5", adapted))
    with pytest.raises(InputError, match="models.bert-random: a model is either adapted or random"):
        load_suite(str(path))
