"""What a plan costs, from configurations and tokenizers alone; of one job the arithmetic is done by hand."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.models.compute import ModelShape, Texts, shape_of
from microtome.jobs.suite.cost import UTILISATION, plan_cost, seconds_on
from microtome.jobs.suite.disk import cache_bytes
from microtome.jobs.suite.gpus import GPUS, gpu_of_driver
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.suite.workload import Workloads
from microtome.store.artifacts.store import Store

# As published: Qwen3-8B. 36 layers, each of
#   query 4096 x 4096, key and value 4096 x 1024 each, output 4096 x 4096   41,943,040
#   gate, up and down of 4096 x 12288                                      150,994,944
#   norms: two of 4096, two of 128                                               8,448
QWEN = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}
LAYERS = 36 * (41_943_040 + 150_994_944 + 8_448) + 4096  # and the last norm
EMBEDDINGS = 151936 * 4096

SUITE = """
name: large
description: a large model on a small task
models: {qwen: {source: someone/qwen, fractions: [50]}}
tasks: [task.yaml]
extract:
  layers: {splits: {test: null}}
"""


@pytest.fixture
def qwen(hub_emulator, tiny_models, tmp_path, write_task, monkeypatch):
    """A suite over a model on the hub that has a config and a tokenizer, and announces weights of 16 GB."""
    folder = tmp_path / "qwen"
    shutil.copytree(tiny_models / "gpt2", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "config.json").write_text(json.dumps(QWEN))
    weights = {f"model-0000{n}-of-00005.safetensors": (4_000_000_000, str(n) * 64) for n in range(1, 6)}
    hub_emulator.publish("someone/qwen", folder, announced=weights)
    monkeypatch.chdir(tmp_path)
    for split, count in {"train": 40, "dev": 4, "test": 6}.items():
        rows = [
            {"id": f"{split}{n}", "text_a": f"{split} {n} word", "label": "ab"[n % 2]} for n in range(count)
        ]
        (tmp_path / f"{split}.data").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_task("classification", "jsonl", {}, "class", ["a", "b"], max_length=32, batch_size=8, epochs=2)
    (tmp_path / "suite.yaml").write_text(SUITE)
    Store().root.mkdir()
    return folder


def lengths(folder, split):
    """The tokens of each text: the tiny tokenizer puts nothing around a text."""
    from microtome.jobs.models.loading import load_tokenizer

    tokenizer = load_tokenizer(folder)
    rows = map(json.loads, (folder.parent / f"{split}.data").read_text().splitlines())
    return [len(tokenizer(" " + row["text_a"])["input_ids"]) for row in rows]


def cost_of(plan, store, gpu="h100", **options):
    done = plan.done(store)
    return plan_cost(plan, store, done, cache_bytes(plan, store), gpu, GPUS[gpu], **options)


def test_the_shape_of_a_large_model_is_built_from_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    shape = shape_of(tmp_path)
    assert (shape.parameters, shape.embeddings) == (LAYERS + EMBEDDINGS, EMBEDDINGS)
    assert (shape.layers, shape.width, shape.attention_width, shape.heads) == (36, 4096, 4096, 32)
    # One text of 100 tokens: two operations per parameter and token, and 4 x 36 x 4096 x 100^2 of attention.
    assert shape.forward_flops(Texts(1, 100, 100**2)) == 2 * LAYERS * 100 + 5_898_240_000
    predicting = shape.forward_flops(Texts(1, 100, 100**2), predicts_tokens=True)
    assert predicting - shape.forward_flops(Texts(1, 100, 100**2)) == 2 * EMBEDDINGS * 100


def test_one_fine_tuning_by_hand(qwen):
    store = Store()
    plan = make_plan(load_suite("suite.yaml"), store)
    [job] = [job for job in plan.jobs if job.kind == "finetune"]
    work = Workloads(plan.jobs, set(), store).of(job, None)
    train, dev, test = (lengths(qwen, split) for split in ("train", "dev", "test"))
    # Half of the training texts, twice; the dev texts after each of two epochs, the test texts once.
    trained, scored = sum(train) / 2 * 2, 2 * sum(dev) + sum(test)
    squares = sum(n * n for n in train), 2 * sum(n * n for n in dev) + sum(n * n for n in test)
    assert work.tokens == trained + scored
    expected = 3 * (2 * LAYERS * trained + 4 * 36 * 4096 * squares[0])
    expected += 2 * LAYERS * scored + 4 * 36 * 4096 * squares[1]
    assert work.flops == pytest.approx(expected, rel=1e-12)
    assert work.half
    # 16 bytes per parameter; 8 texts of 32 tokens keep 34 bytes per unit of width in each of 36 layers.
    assert work.memory == 16 * (LAYERS + EMBEDDINGS) + 8 * 32 * 36 * 4096 * 34
    assert work.disk == 4 * (LAYERS + EMBEDDINGS)
    # An H100 at 30 % of 989 TFLOPS.
    cost = cost_of(plan, store)
    [kind] = [kind for kind in cost.kinds if kind.kind == "finetune"]
    assert kind.hours == pytest.approx(expected / (989e12 * 0.3) / 3600, rel=1e-12)


def test_planning_and_its_cost_load_no_weights(qwen, hub_emulator):
    store = Store()
    plan = make_plan(load_suite("suite.yaml"), store)
    cost = cost_of(plan, store)
    assert {kind.kind: kind.unknown for kind in cost.kinds} == {"finetune": 0, "extract": 0}
    assert not any(name.endswith(".safetensors") for name in hub_emulator.downloads())
    hub_emulator.requests.clear()
    assert cost_of(plan, Store()) == cost  # what was counted is remembered
    assert hub_emulator.requests == []


def test_the_longest_chain_is_a_training_and_its_cache(qwen):
    store = Store()
    cost = cost_of(make_plan(load_suite("suite.yaml"), store), store)
    finetune, extract = cost.kinds
    assert extract.jobs == 2  # before and after
    assert cost.longest_hours == pytest.approx(finetune.hours + extract.hours / 2, rel=1e-12)
    assert cost.hours == pytest.approx(finetune.hours + extract.hours, rel=1e-12)


def test_what_does_not_fit_is_said(qwen, monkeypatch):
    store = Store()
    plan = make_plan(load_suite("suite.yaml"), store)
    [sentence] = cost_of(plan, store).misfits
    assert sentence.startswith("finetune of qwen needs about 122 GB of GPU memory at once; h100 has 80")
    assert cost_of(plan, store, "h200").misfits == ()
    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert any("has 1.0 GB free. Set MICROTOME_STORE" in line for line in cost_of(plan, store).misfits)


def test_the_command_says_tokens_hours_money_and_disk(qwen):
    command = [
        "suite",
        "plan",
        "suite.yaml",
        "--gpu",
        "h200",
        "--utilisation",
        "0.5",
        "--price-per-hour",
        "3",
    ]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    for part in (
        "million tokens",
        "PFLOP",
        "hours on h200",
        "peak GPU GB",
        "at 3 an hour",
        "at 50% of the peak",
    ):
        assert part in shown.output
    values = json.loads(CliRunner().invoke(main, [*command, "--format", "json"]).output)["cost"]
    assert values["price"] == pytest.approx(3 * values["hours"])
    refused = CliRunner().invoke(main, [*command[:4], "h1000"])
    assert refused.exit_code == 2


def test_jobs_that_ran_calibrate_what_is_left(small_suite, tmp_path, monkeypatch):
    from tests.jobs.suite.test_plan import run

    store = Store(tmp_path / "store")
    run(small_suite, store, kinds=("finetune",))
    plan = make_plan(load_suite(str(small_suite)), store)
    before = cost_of(plan, store)
    assert (before.utilisation, before.measured) == (UTILISATION, 0)  # it ran on a CPU
    artifact = store.find(next(job for job in plan.jobs if job.kind == "finetune").request)
    noted = {"gpu": "NVIDIA H100 80GB HBM3", "device_seconds": 2.0}
    monkeypatch.setattr(type(artifact), "provenance", property(lambda self: noted))
    works = Workloads(plan.jobs, plan.done(store), store)
    shares = [
        seconds_on(GPUS["h100"], 1, work.flops, half=work.half) / 2
        for job in plan.jobs
        if job.kind == "finetune" and (work := works.of(job, None))
    ]
    after = cost_of(plan, store)
    assert after.measured == len(shares) > 0
    assert min(shares) <= after.utilisation <= max(shares)
    assert all(kind.kind != "finetune" for kind in after.kinds)  # nothing of it is left to do


def test_what_has_no_tokenizer_here_is_counted_as_unknown(tmp_path):
    store = Store(tmp_path)
    cost = cost_of(make_plan(load_suite("paper"), store), store)
    assert all(kind.unknown == kind.jobs for kind in cost.kinds)
    assert cost.hours == 0
    shown = CliRunner().invoke(main, ["suite", "plan", "paper"]).output
    assert "jobs that run a model cost is not known: no tokenizer of theirs" in shown
    assert "GPU hours" not in shown  # 0 of them would be taken for a price


def test_precision_decides_which_peak_counts():
    gpu = replace(GPUS["a100"], half_tflops=200, single_tflops=20)
    assert seconds_on(gpu, 0.5, 1e14, half=True) == 1
    assert seconds_on(gpu, 0.5, 1e14, half=False) == 10


@pytest.mark.parametrize(
    ("driver", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
    ],
)
def test_what_the_driver_calls_a_gpu(driver, gpu):
    assert gpu_of_driver(driver) is GPUS[gpu]
    assert gpu_of_driver("A GPU of tomorrow") is None


def test_an_adapter_takes_less_than_all_weights():
    shape = ModelShape(1000, 100, 2, 8, 8, 2, 10)
    whole = shape.training_bytes(1, 1, half=True)
    assert whole - shape.training_bytes(1, 1, half=True, trained=0) == 12_000
    assert shape.training_bytes(1, 4, half=False) - shape.training_bytes(1, 4, half=True) == 4 * 2 * 8 * 34


def test_every_gpu_has_a_source():
    assert yaml.safe_dump({name: gpu.source for name, gpu in GPUS.items() if not gpu.source}) == "{}\n"


BERT = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 500,
}
# As Qwen3-8B, smaller, and small enough to be run.
SMALL_QWEN = QWEN | {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}


@pytest.mark.parametrize("config", [SMALL_QWEN, BERT], ids=["qwen3", "bert"])
@pytest.mark.parametrize("length", [32, 512])
def test_operations_are_those_that_torch_counts(tmp_path, config, length):
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoConfig, AutoModel

    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = AutoConfig.from_pretrained(tmp_path)
    model = AutoModel.from_config(settings, attn_implementation="eager", dtype=torch.float32).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, length, dtype=torch.long), use_cache=False)
    flops = shape_of(tmp_path).forward_flops(Texts(1, length, length**2))
    # Biases, norms and a pooler over one token are counted here as matrices, and not by torch.
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.06)
