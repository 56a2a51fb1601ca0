import json
import shutil

import pytest
import torch
import transformers

from microtome.jobs.models.adapter import AdapterDescription
from microtome.jobs.models.source import CHECKPOINT, find_model
from microtome.jobs.publishing import publish
from microtome.jobs.publishing.publish import export, push, without_places
from microtome.store.artifacts.store import Request
from microtome.store.errors import InputError, MissingError

HEADS = {
    "ner": transformers.AutoModelForTokenClassification,
    "nli": transformers.AutoModelForSequenceClassification,
}
LABELS = {
    "ner": ["O", "B-Gene", "I-Gene", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"],
    "nli": ["entailment", "neutral", "contradiction"],
}
REPO = "somebody/some-model"


@torch.inference_mode()
def logits(auto, folder, text="Aspirin treats fever ."):
    model = auto.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return model(**tokenizer(text, return_tensors="pt")).logits


def texts(folder):
    return "".join(path.read_text("utf-8") for path in folder.iterdir() if path.suffix != ".safetensors")


def rename(bench, kind, name):
    """Let a small task stand for one that comes with microtome."""
    text = bench.tasks[kind].read_text().replace(f"small-{kind}", name)
    bench.tasks[kind].write_text(text)


@pytest.fixture
def open_model(bench, tiny_models):
    """Fine-tuned on data that everybody may have."""
    rename(bench, "ner", "demo-ner")
    return bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0))


@pytest.fixture
def adapter(bench, tiny_models):
    """A LoRA adapter of the tiny BERT, as an adaptation leaves it, with weights that are not zero."""
    from peft import LoraConfig, get_peft_model

    base = find_model(str(tiny_models / "bert"), bench.store)
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_pretrained(base.path)
    config = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    adapted = get_peft_model(model, config)
    labels = {"model": "slim", "seed": 1}
    settings = {"objective": "mlm", "epochs": 1.0, "lora": {"rank": 2}}
    inputs = {"corpus": "c" * 64, "model": base.identity}
    request = Request("adapt", 1, settings, inputs, "slim", labels)
    with bench.store.begin(request) as staging:
        adapted.save_pretrained(staging.path / CHECKPOINT)
        model.config.save_pretrained(staging.path / CHECKPOINT)
        transformers.AutoTokenizer.from_pretrained(base.path).save_pretrained(staging.path / CHECKPOINT)
        AdapterDescription(base=base.name, bytes=1).write(staging.outputs)
    return bench.store.find(request)


@pytest.mark.parametrize("name", ["bert", "gpt2", "biogpt"])
@pytest.mark.parametrize("kind", ["ner", "nli"])
def test_an_export_is_the_checkpoint_for_stock_transformers(bench, tiny_models, tmp_path, kind, name):
    artifact = bench.run(bench.finetune(kind, tiny_models / name, fraction=0))
    out = export(artifact, bench.store, tmp_path / "new" / "out")
    expected = logits(HEADS[kind], artifact.path / CHECKPOINT)
    assert torch.equal(logits(HEADS[kind], out), expected)
    config = json.loads((out / "config.json").read_text())
    assert list(config["id2label"].values()) == LABELS[kind]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer_config.json"} <= {
        path.name for path in out.iterdir()
    }
    assert not [path for path in out.iterdir() if path.suffix not in (".md", ".json", ".safetensors", ".txt")]
    assert str(tmp_path) not in texts(out)
    assert str(tiny_models) not in texts(out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_pipeline_takes_the_exported_folder(bench, tiny_models, tmp_path):
    artifact = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=0))
    out = export(artifact, bench.store, tmp_path / "out")
    classify = transformers.pipeline("text-classification", model=str(out))
    found = classify({"text": "the drug helps", "text_pair": "it works"}, top_k=None)
    assert {row["label"] for row in found} == set(LABELS["nli"])


def test_what_says_where_a_model_was_loaded_from_is_left_out():
    config = {
        "_name_or_path": "models/mine",
        "cache": "/home/somebody/cache",
        "windows": "C:\\models\\mine",
        "local_files_only": True,
        "unk_token": "/",
        "eos_token": "</s>",
        "labels": {"0": "/a/b/c"},
        "dim": 3,
    }
    kept = {"unk_token": "/", "eos_token": "</s>", "labels": {"0": "/a/b/c"}, "dim": 3}
    assert without_places(config) == kept


def test_an_adapter_is_merged_with_its_base(bench, adapter, tiny_models, tmp_path):
    from peft import PeftModel

    auto = transformers.AutoModelForMaskedLM
    out = export(adapter, bench.store, tmp_path / "out")
    base = auto.from_pretrained(tiny_models / "bert")
    PeftModel.from_pretrained(base, adapter.path / CHECKPOINT).merge_and_unload().save_pretrained(
        tmp_path / "by-hand"
    )
    shutil.copy(tiny_models / "bert" / "tokenizer.json", tmp_path / "by-hand")
    shutil.copy(tiny_models / "bert" / "tokenizer_config.json", tmp_path / "by-hand")
    assert torch.equal(logits(auto, out), logits(auto, tmp_path / "by-hand"))
    assert not torch.equal(logits(auto, out), logits(auto, tiny_models / "bert"))
    assert not (out / "adapter_config.json").exists()
    assert str(tmp_path) not in texts(out)


def test_an_adapter_can_stay_one_and_names_its_base_without_a_path(bench, adapter, tiny_models, tmp_path):
    from peft import PeftModel

    out = export(adapter, bench.store, tmp_path / "out", adapter=True)
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "bert"
    assert not (out / "model.safetensors").exists()
    assert str(tmp_path) not in texts(out)
    assert str(tiny_models) not in texts(out)
    base = transformers.AutoModelForMaskedLM.from_pretrained(tiny_models / "bert")
    names = dict(PeftModel.from_pretrained(base, out).named_parameters())
    assert any("lora_A" in name and weights.any() for name, weights in names.items())


def test_there_is_no_adapter_in_a_model_that_was_trained_whole(bench, open_model, tmp_path):
    with pytest.raises(InputError, match="is no LoRA adapter: leave out --adapter"):
        export(open_model, bench.store, tmp_path / "out", adapter=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(bench, open_model, tmp_path):
    (tmp_path / "out").mkdir()
    export(open_model, bench.store, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="is not empty; choose another folder or remove it"):
        export(open_model, bench.store, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_nothing_half_written_stays(bench, open_model, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish, "model_card", full)
    with pytest.raises(InputError, match="cannot write .*out: No space left on device"):
        export(open_model, bench.store, tmp_path / "place" / "out")
    assert not (tmp_path / "place").exists()


def test_only_trained_checkpoints_are_exported(bench, open_model, tmp_path):
    cache = bench.run(bench.extract("ner", open_model.id, keep=["hidden"], examples=2))
    for job in (lambda: export(cache, bench.store, tmp_path / "out"), lambda: push(cache, bench.store, REPO)):
        with pytest.raises(InputError, match="is no trained checkpoint. See: microtome cache ls"):
            job()


class Hub:
    """Stands for HfApi: notes what it is asked, and what lies in the folder it is given."""

    def __init__(self, public=False, error=None):
        self.asked = []
        self.public = public
        self.error = error

    def __call__(self, token):
        self.asked.append(("token", token))
        return self

    def create_repo(self, repo_id, *, private, exist_ok):
        from huggingface_hub import RepoUrl

        if self.error:
            raise self.error
        self.asked.append(("create_repo", repo_id, private, exist_ok))
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    def model_info(self, repo_id):
        from types import SimpleNamespace

        return SimpleNamespace(private=not self.public)

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.asked.append(("upload_folder", repo_id, {p.name for p in folder_path.iterdir()}, commit_message))


@pytest.fixture
def hub(monkeypatch):
    """A recorder in the place of the hub, with the hub switched on and a token."""

    def install(**options):
        recorder = Hub(**options)
        monkeypatch.setattr("huggingface_hub.HfApi", recorder)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        return recorder

    return install


def test_a_dry_run_says_what_would_go_and_asks_nobody(bench, open_model, hub):
    recorder = hub()
    found = push(open_model, bench.store, REPO)
    assert recorder.asked == []
    assert (found.repo, found.private, found.url) == (REPO, True, "")
    weights = open_model.path / CHECKPOINT / "model.safetensors"
    assert found.files["model.safetensors"] == weights.stat().st_size
    assert "predictions.jsonl" not in found.files
    assert found.card.startswith("---\n")
    assert f'model="{REPO}"' in found.card


def test_a_push_makes_the_repository_and_uploads_the_folder(bench, open_model, hub):
    recorder = hub()
    found = push(open_model, bench.store, REPO, dry_run=False)
    assert recorder.asked == [
        ("token", "hf_secret"),
        ("create_repo", REPO, True, True),
        ("upload_folder", REPO, set(found.files), f"{open_model.path.name}, by microtome"),
    ]
    assert found.url == f"https://huggingface.co/{REPO}"
    assert "hf_secret" not in found.card


def test_nothing_private_goes_into_a_repository_that_is_public(bench, open_model, hub):
    recorder = hub(public=True)
    with pytest.raises(InputError, match="is there already, and public"):
        push(open_model, bench.store, REPO, dry_run=False)
    assert [call[0] for call in recorder.asked] == ["token", "create_repo"]
    assert push(open_model, bench.store, REPO, dry_run=False, private=False).url


@pytest.mark.parametrize("dry_run", [True, False])
def test_credentialed_data_anywhere_in_the_lineage_is_refused(bench, tiny_models, hub, dry_run):
    recorder = hub()
    rename(bench, "nli", "mednli")
    first = bench.run(bench.finetune("nli", tiny_models / "bert", fraction=0))
    rename(bench, "ner", "demo-ner")
    second = bench.run(bench.finetune("ner", first.id, fraction=0))
    for artifact in (first, second):
        with pytest.raises(InputError, match=r"task 'mednli' is credentialed .*--force"):
            push(artifact, bench.store, REPO, dry_run=dry_run)
    assert recorder.asked == []
    found = push(second, bench.store, REPO, dry_run=dry_run, force=True)
    assert len(found.withheld) == 1
    assert "task 'mednli' is credentialed" in found.card


def test_data_of_unknown_terms_is_refused(bench, tiny_models, adapter):
    own = bench.run(bench.finetune("ner", tiny_models / "bert", fraction=0))
    with pytest.raises(InputError, match="task 'small-ner' does not come with microtome"):
        push(own, bench.store, REPO)
    with pytest.raises(InputError, match="was trained on a corpus whose terms microtome does not know"):
        push(adapter, bench.store, REPO)
    assert push(own, bench.store, REPO, force=True).files


def test_a_base_that_has_left_the_store_is_of_unknown_terms(bench, open_model):
    second = bench.run(bench.finetune("ner", open_model.id, fraction=0))
    assert push(second, bench.store, REPO).withheld == ()
    bench.store.remove(open_model)
    with pytest.raises(
        InputError, match=f"what {open_model.path.name} was made from is no longer in the store"
    ):
        push(second, bench.store, REPO)


def test_without_a_token_nothing_is_tried(bench, open_model, hub, monkeypatch):
    recorder = hub()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingError, match="HF_TOKEN is not set"):
        push(open_model, bench.store, REPO, dry_run=False)
    assert recorder.asked == []


def test_offline_is_one_line_whoever_notices(bench, open_model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(MissingError, match="HF_HUB_OFFLINE is set: nothing is pushed"):
        push(open_model, bench.store, REPO, dry_run=False)
    monkeypatch.delenv("HF_HUB_OFFLINE")  # the hub's library read it when it was imported
    with pytest.raises(MissingError, match=f"cannot push to '{REPO}': HF_HUB_OFFLINE is set"):
        push(open_model, bench.store, REPO, dry_run=False)


class Refusal(OSError):
    """An answer of the hub with a status."""

    def __init__(self, status):
        from types import SimpleNamespace

        super().__init__("no\nfor many reasons")
        self.response = SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refusal(401), "the hub does not know this HF_TOKEN"),
        (Refusal(403), "may not write there"),
        (Refusal(400), r"the hub refused \(no\)"),
        (Refusal(500), "the hub answers 500 Internal Server Error, 5 times in a row; try again later"),
        (ConnectionError("no route\nto host"), r"the hub could not be reached \(no route\)"),
    ],
)
def test_what_the_hub_says_is_one_line(bench, open_model, hub, monkeypatch, error, said):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub(error=error)
    with pytest.raises(MissingError, match=said) as caught:
        push(open_model, bench.store, REPO, dry_run=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a/b/c", "some model", "a--b", "x/y.git", ""])
def test_a_name_that_the_hub_cannot_have_is_refused(bench, open_model, name):
    with pytest.raises(InputError, match="is no name for a repository"):
        push(open_model, bench.store, name)
