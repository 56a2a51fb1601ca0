from types import SimpleNamespace

import pytest
import torch
import transformers
from click.testing import CliRunner

from microtome.jobs import hub
from microtome.jobs import hub_cache as hub_cache_module
from microtome.jobs.cli import main
from microtome.jobs.models import loading, source
from microtome.jobs.models.architecture import architecture_of, read_architecture
from microtome.jobs.run.executor import run_job
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MissingError

SIZES = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODER = {**SIZES, "intermediate_size": 16, "pad_token_id": 1, "max_position_embeddings": 50}
SEQ2SEQ = {
    **{"vocab_size": 400, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
    **{
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    },
}
MAMBA = {"vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
GEMMA = {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 16}
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}

NO_PLAIN_ENCODER = (
    "of models with an encoder and a decoder, these are used: bart, m2m_100, marian, mbart, mt5, mvp"
)
UNUSABLE = {
    "led": (SEQ2SEQ, NO_PLAIN_ENCODER),
    "prophetnet": ({"hidden_size": 16, "num_encoder_layers": 1, "num_decoder_layers": 1}, NO_PLAIN_ENCODER),
    "longformer": ({**ENCODER, "attention_window": 4}, "their attention is not that of every token to every"),
    "big_bird": ({**ENCODER, "block_size": 4}, "their attention is not that of every token to every"),
    "gemma3": ({"text_config": GEMMA, "vision_config": VISION}, "they hold several models"),
}
ATTENTIONLESS = {
    "mamba": (MAMBA, "their layers have no attention heads"),
    "lfm2": (
        {
            **SIZES,
            "num_key_value_heads": 2,
            "intermediate_size": 16,
            "layer_types": ["conv", "full_attention"],
        },
        "some of their layers have no attention heads",
    ),
    "convbert": (ENCODER, "their layers have fewer attention heads than their config says"),
}
OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet")


@pytest.fixture(scope="session")
def family(tmp_path_factory, tiny_models):
    """family(kind, weights=False, **settings) -> a model folder; with random weights only if asked for."""

    def make(kind, weights=False, **settings):
        folder = tmp_path_factory.mktemp(kind)
        tokenizer = loading.load_tokenizer(tiny_models / "bert")
        tokenizer.model_max_length = 10**6
        tokenizer.save_pretrained(folder)
        config = transformers.AutoConfig.for_model(kind, **settings)
        config.save_pretrained(folder)
        if weights:
            transformers.AutoModel.from_config(config).save_pretrained(folder)
        else:
            (folder / "model.safetensors").write_bytes(b"never read")
        return folder

    return make


@pytest.mark.parametrize("kind", OFFSET)
@pytest.mark.parametrize("padding", [0, 1])
def test_the_last_usable_position_is_usable_and_the_next_is_refused(bench, family, kind, padding):
    settings = {**ENCODER, "pad_token_id": padding}
    folder = family(kind, weights=True, **settings)
    usable = 48 if padding or kind == "mpnet" else 49
    assert read_architecture(folder).positions == usable
    model = loading.load_backbone(folder, loading.best_device())

    ids = torch.full((1, usable), 7)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    with pytest.raises((IndexError, RuntimeError)):
        long = torch.full((1, usable + 1), 7)
        model(input_ids=long, attention_mask=torch.ones_like(long))
    said = f"max_length {usable + 1} exceeds the {usable} positions of this {kind}"
    for job in (
        bench.finetune("ner", folder, max_length=usable + 1),
        bench.extract("ner", folder, max_length=usable + 1),
    ):
        assert job.refused == said
        assert run_job(job, bench.store.root)[0] == said
        assert bench.store.find(job.request) is None


def test_a_roberta_is_fine_tuned_and_extracted_at_its_full_length(bench, family, tmp_path):
    folder = family("roberta", weights=True, **{**ENCODER, "max_position_embeddings": 20, "pad_token_id": 0})
    job = bench.finetune("ner", folder, max_length=19, epochs=1)
    assert not job.refused
    made = bench.run(job)
    assert made.manifest["outputs"]["truncated_words"]["train"] > 0  # some sequences have the full length
    bench.run(bench.extract("ner", made.id, max_length=19))


@pytest.mark.parametrize("kind", ["bert", "gpt2", "biogpt"])
def test_other_architectures_have_the_positions_that_they_say(tiny_models, kind):
    found = read_architecture(tiny_models / kind)
    assert (found.kind, found.positions, found.unusable) == (kind, 64, "")
    assert loading.max_positions(loading.load_config(tiny_models / kind)) == 64


def test_what_limits_nothing_has_no_positions():
    assert architecture_of({"model_type": "xlnet", "max_position_embeddings": -1}).positions is None
    assert architecture_of({"model_type": "bloom"}).positions is None
    rotary = {"model_type": "esm", "position_embedding_type": "rotary", "max_position_embeddings": 30}
    assert architecture_of(rotary).positions == 30


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_extracted_is_refused_before_anything_is_trained(bench, family, kind):
    settings, why = UNUSABLE[kind]
    folder = family(kind, **settings)
    for job in (bench.finetune("nli", folder), bench.finetune("ner", folder), bench.extract("nli", folder)):
        assert job.refused.startswith(f"{kind} models cannot be used: {why}")
        error, _ = run_job(job, bench.store.root)  # for who comes past the plan
        assert error == job.refused
        assert bench.store.find(job.request) is None


@pytest.mark.parametrize("kind", ATTENTIONLESS)
def test_an_architecture_without_attentions_gives_its_hidden_states(bench, family, kind):
    settings, why = ATTENTIONLESS[kind]
    folder = family(kind, weights=True, **settings)
    job = bench.extract("nli", folder)
    wanted = f"{kind} models have no attentions to keep: {why}. Set keep: [hidden]"
    assert job.refused == wanted
    assert run_job(job, bench.store.root)[0] == wanted
    assert not bench.finetune("ner", folder).refused
    hidden = bench.extract("nli", folder, keep=["hidden"], examples=3)
    assert not hidden.refused
    bench.run(hidden)


ENCODERS = {
    "mt5": {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2},
    "umt5": {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2},
    **dict.fromkeys(("mbart", "marian", "pegasus", "plbart", "mvp", "m2m_100"), SEQ2SEQ),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_of_an_encoder_and_a_decoder_the_encoder_is_extracted(bench, family, kind):
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    folder = family(kind, weights=True, **ENCODERS[kind], **ends)
    made = bench.run(bench.extract("nli", folder, examples=3, max_length=40))
    assert made.manifest["outputs"]["cache"]["layout"]["layers"] == 1
    assert made.manifest["outputs"]["cache"]["layout"]["causal"] is False


SUITE = """
name: odd
description: a model that cannot be used beside one that can
models: {{bert: {{}}, odd: {{source: {folder}}}, made: {{source: odd, weights: random}}}}
tasks: [{ner}, {nli}]
fractions: [0, 100]
extract: {{probing: {{splits: {{train: 10, test: 5}}, options: {{keep: [hidden]}}}}}}
probe: [{{view: probing}}]
"""


def plan_of(tmp_path, small_tasks, folder):
    path = tmp_path / "odd.yaml"
    tasks = {kind: str(path) for kind, path in small_tasks.items()}
    path.write_text(SUITE.format(folder=folder, **tasks))
    return path


@pytest.mark.parametrize("kind", ["led", "longformer"])
def test_a_plan_shows_what_cannot_be_used_and_why(
    tmp_path, small_tasks, tiny_models, family, monkeypatch, bench, kind
):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    settings, why = UNUSABLE[kind]
    path = plan_of(tmp_path, small_tasks, family(kind, **settings))
    plan = make_plan(load_suite(str(path)), bench.store)
    blocked = plan.blocked(set())
    assert {job.labels["model"] for job in plan.jobs if job.id in blocked} == {"odd", "made"}
    assert {job.labels["model"] for job in plan.jobs if job.id not in blocked} == {"bert"}
    assert all(why in reason for reason in blocked.values())
    assert {(m.what, m.name) for m in plan.missing} == {("model", "odd"), ("model", "made")}
    result = CliRunner().invoke(main, ["suite", "plan", str(path)])
    assert result.exit_code == 0, result.output
    assert "odd" in result.output
    assert f"{kind} models cannot be used" in " ".join(result.output.split())


def test_a_plan_blocks_attentions_of_a_model_without_them(
    tmp_path, small_tasks, tiny_models, family, monkeypatch, bench
):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path = plan_of(tmp_path, small_tasks, family("mamba", **MAMBA))
    assert not make_plan(load_suite(str(path)), bench.store).blocked(set())
    path.write_text(path.read_text().replace("keep: [hidden]", "keep: [hidden, attention]"))
    plan = make_plan(load_suite(str(path)), bench.store)
    blocked = [job for job in plan.jobs if job.id in plan.blocked(set())]
    assert {job.labels["model"] for job in blocked} == {"odd", "made"}
    assert {job.kind for job in blocked} == {"extract", "probe"}


def test_by_hand_it_is_one_line(tmp_path, small_tasks, family):
    folder = family("led", **SEQ2SEQ)
    for words in (("finetune", "--model"), ("extract", "--checkpoint")):
        result = CliRunner().invoke(main, [*words, str(folder), "--task", str(small_tasks["nli"])])
        assert result.exit_code == 2
        [line] = result.stderr.splitlines()
        assert line.startswith(f"error: led models cannot be used: {NO_PLAIN_ENCODER}")
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("*"))


def test_a_config_that_says_nothing_is_left_to_the_loader(tmp_path):
    for text in ("[]", "{", "null"):
        (tmp_path / "config.json").write_text(text)
        assert read_architecture(tmp_path) is None
    assert read_architecture(tmp_path / "nowhere") is None
    (tmp_path / "config.json").write_text('{"model_type": "new", "layer_types": ["conv", "full_attention"]}')
    assert read_architecture(tmp_path).no_attention == "some of their layers have no attention heads"


def test_of_a_model_on_the_hub_only_the_config_is_fetched(family, hub_emulator, monkeypatch):
    hub_emulator.publish("state-spaces/mamba-130m-hf", family("mamba", **MAMBA))
    identity = lambda repo, model, digests: "of this commit"  # noqa: E731  # it takes the tokenizer
    monkeypatch.setattr(source, "_hub_identity", identity)
    model = source.find_model("state-spaces/mamba-130m-hf", Store())
    assert hub_emulator.downloads() == ["config.json"]
    assert model.architecture.no_attention == "their layers have no attention heads"


def test_a_config_alone_in_the_local_cache_is_no_model(hub_cache, monkeypatch):
    snapshot = hub_cache / "models--a--b" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (hub_cache / "models--a--b" / "refs").mkdir()
    (hub_cache / "models--a--b" / "refs" / "main").write_text("c" * 40)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingError, match="'a/b' is not in the hub's local cache with its weights"):
        hub.hub_model("a/b")
    (snapshot / "pytorch_model.bin").write_bytes(b"")
    model = hub.hub_model("a/b")
    assert (model.commit, model.safe) == ("c" * 40, False)
    assert hub_cache_module.cached_commit("a/b") is None  # of no use as it is


def test_a_config_without_the_shape_of_its_layers_is_refused(bench, family):
    folder = family("bert", **ENCODER)
    loading.check_usable(loading.load_config(folder), 48, ("hidden", "attention"))
    values = SIZES | {"model_type": "bert", "num_attention_heads": None}
    config = SimpleNamespace(**values, to_dict=lambda: values)
    with pytest.raises(
        InputError, match="bert models cannot be used: their config has no num_attention_heads"
    ):
        loading.check_usable(config, 48, ("hidden", "attention"))


def test_a_config_of_wrong_types_is_one_line(bench, family):
    folder = family("bert", **ENCODER)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        text.replace('"num_attention_heads": 2', '"num_attention_heads": [2]')
    )
    with pytest.raises(InputError, match="cannot read config.json") as caught:
        loading.load_config(folder)
    assert "\n" not in str(caught.value)
