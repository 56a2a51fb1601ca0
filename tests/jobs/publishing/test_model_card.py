import ast
import re

import pytest
import yaml

from microtome.analysis.metrics import METRICS
from microtome.jobs.publishing.lineage import lineage
from microtome.jobs.publishing.model_card import model_card
from microtome.jobs.tasks import load_task
from microtome.store.artifacts.store import Request, Store
from microtome.store.results import write_rows

BASE = "f" * 64
PROVENANCE = {"microtome": "0.1.0", "torch": "2.13.0", "host": "node-17", "cwd": "/home/somebody"}
HELD_OUT = {("before", "perplexity"): 40.0, ("during", "perplexity"): 30.0, ("after", "perplexity"): 20.0}


def scores(split, values, n=20):
    return [{"split": split, "metric": name, "value": value, "n": n} for name, value in values.items()]


@pytest.fixture
def made(tmp_path):
    """Makes artifacts with manifests and rows and without weights, as jobs leave them."""
    store = Store(tmp_path / "store")

    def commit(kind, config, inputs, labels, outputs, rows):
        request = Request(kind, 1, config, inputs, slug=labels.get("task") or labels["model"], labels=labels)
        with store.begin(request) as staging:
            write_rows(staging.path, rows)
            staging.outputs.update(outputs)
            staging.provenance.update(PROVENANCE)
        return store.find(request)

    class Made:
        def finetune(self, task, model="bert", identity=BASE, rows=(), name=None, fraction=50.0):
            task = load_task(task)
            config = {"type": task.type, "labels": list(task.labels), "fraction": fraction, "seed": 3}
            config["recipe"] = task.recipe.model_dump()
            labels = {"task": name or task.name, "model": model, "fraction": fraction, "seed": 3}
            truncated = {"train": 7, "dev": 8, "test": 9}
            outputs = {"training_examples": 46, "truncated_words": truncated, "label_subword": "first"}
            return commit("finetune", config, {"model": identity}, labels, outputs, rows)

        def adapt(self, name, identity=None, lora=None, objective="mlm"):
            config = {
                "objective": objective,
                "base": None,
                "new": None,
                "lora": lora,
                "epochs": 2.0,
                "seed": 1,
            }
            config["mask_share"] = 0.15
            if identity is None:
                config["new"] = {"architecture": "bert", "dim": 64}
            inputs = {"corpus": "c" * 64} | ({"model": identity} if identity else {})
            rows = [
                {"split": "heldout", "stage": stage, "metric": metric, "value": value, "n": 33}
                for (stage, metric), value in HELD_OUT.items()
            ]
            outputs = {"blocks": {"training": 818, "heldout": 33}}
            return commit("adapt", config, inputs, {"model": name, "seed": 1}, outputs, rows)

        def card(self, artifact, name="somebody/model", **options):
            text = model_card(lineage(artifact, store), name, **options)
            _, front, body = text.split("---\n", 2)
            return yaml.safe_load(front), body

    Made.store = store
    return Made()


def test_front_matter_of_a_tagger(made):
    rows = scores("dev", {"entity_f1": 0.5, "truncated_words": 8}) + scores("test", {"entity_f1": 0.25})
    front, _ = made.card(made.finetune("jnlpba", "biobert", rows=rows))
    title = load_task("jnlpba").title
    [test, dev] = front["model-index"][0].pop("results")
    assert front == {
        "language": ["en"],
        "license": "other",
        "license_name": "see-model-card",
        "library_name": "transformers",
        "base_model": "dmis-lab/biobert-v1.1",
        "datasets": ["tner/bionlp2004"],
        "pipeline_tag": "token-classification",
        "tags": ["microtome", "ner"],
        "model-index": [{"name": "model"}],
    }
    assert test == {
        "task": {"type": "token-classification"},
        "dataset": {"type": "tner/bionlp2004", "name": title, "split": "test"},
        "metrics": [{"type": "f1", "value": 0.25, "name": METRICS["entity_f1"].full_name}],
    }
    assert [metric["value"] for metric in dev["metrics"]] == [0.5]


def test_the_library_of_the_hub_reads_the_scores(made):
    from huggingface_hub import ModelCard

    rows = scores("dev", {"accuracy": 0.5, "macro_f1": 0.25}) + scores("test", {"accuracy": 0.75})
    artifact = made.finetune("sick", rows=rows)
    read = ModelCard(model_card(lineage(artifact, made.store), "somebody/model")).data
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in read.eval_results}
    assert found == {("dev", "accuracy"): 0.5, ("dev", "f1"): 0.25, ("test", "accuracy"): 0.75}
    assert (read.license, read.pipeline_tag) == ("other", "text-classification")


def test_a_dataset_of_the_hub_and_a_chosen_licence_are_named_as_the_hub_names_them(made):
    rows = scores("test", {"entity_f1": 0.25})
    front, body = made.card(made.finetune("ncbi-disease", rows=rows), licence="cc-by-4.0")
    assert front["datasets"] == ["ncbi/ncbi_disease"]
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "ncbi/ncbi_disease"
    assert front["license"] == "cc-by-4.0"
    assert "license_name" not in front
    assert "names no licence" not in body


def test_the_scores_of_a_similarity_task_are_named_as_the_hub_names_them(made):
    artifact = made.finetune("biosses", rows=scores("test", {"pearson": 0.25, "spearman": 0.5}))
    front, body = made.card(artifact)
    metrics = front["model-index"][0]["results"][0]["metrics"]
    assert [m["type"] for m in metrics] == ["pearsonr", "spearmanr"]
    assert "| Pearson correlation |  | 0.2500 |" in body
    assert 'function_to_apply="none"' in body


def test_the_text_says_what_it_was_trained_on_how_it_scored_and_what_was_cut_off(made):
    by_class = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 12.0}
    of_class = scores("test", {f"class_{name}": value for name, value in by_class.items()})
    rows = [
        *scores("dev", {"entity_f1": 0.5}),
        *scores("test", {"entity_f1": 0.25}),
        *({"label": "a|b", **row} for row in of_class),
    ]
    _, body = made.card(made.finetune("jnlpba", rows=rows))
    task = load_task("jnlpba")
    for said in (
        task.title,
        task.licence,
        task.citation,
        task.obtain,
        "training examples: 46 (50 % of the training split)",
        "seed: 3",
        "| learning_rate | 5e-05 |",
        f"| {METRICS['entity_f1'].full_name} | 0.5000 | 0.2500 |",
        r"| a\|b | 0.5000 | 0.2500 | 0.3333 | 12 |",
        "7 in train, 8 in dev, 9 in test",
        "must not be used for decisions about\n  patients",
        'model="somebody/model", aggregation_strategy="first"',
        "torch: 2.13.0",
    ):
        assert said in body, said
    for kept_back in ("node-17", "/home/somebody"):
        assert kept_back not in body


def test_an_untrained_head_and_credentialed_data_are_said_to_be_so(made):
    _, body = made.card(made.finetune("mednli", fraction=0.0), withheld=["task 'mednli' is credentialed"])
    assert "The head is untrained" in body
    assert "task 'mednli' is credentialed" in body
    assert "given under an agreement" in body
    assert '"text_pair"' in body


def test_the_whole_chain_is_named(made):
    first = made.adapt("own")
    second = made.adapt("own-pubmed", first.id)
    last = made.finetune("jnlpba", "own-pubmed", second.id)
    front, body = made.card(last)
    assert "base_model" not in front
    order = [
        "Random weights",
        f"gives {first.path.name}",
        f"gives {second.path.name}",
        "Fine-tuning on jnlpba",
    ]
    places = [body.index(said) for said in order]
    assert places == sorted(places)
    assert body.index(second.id) < body.index(first.id)
    assert body.count("| perplexity | 40.0000 | 20.0000 |") == 2
    assert "blocks: training 818, heldout 33" in body
    assert body.count("cccccccccccc…") == 2


def test_a_causal_language_model(made):
    front, body = made.card(made.adapt("own", objective="clm"))
    assert front["pipeline_tag"] == "text-generation"
    [result] = front["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "perplexity", "value": 20.0, "name": "perplexity"}]
    assert "AutoModelForCausalLM" in body
    assert "mask_share" not in body


def test_an_adapter_is_put_on_its_base(made):
    made.store.remember({"model:bert": BASE})
    lora = {"rank": 4, "alpha": 8.0, "targets": []}
    front, body = made.card(made.adapt("slim", BASE, lora), adapter=True)
    assert (front["library_name"], front["base_model_relation"]) == ("peft", "adapter")
    assert front["base_model"] == "bert-base-cased"
    assert "lora" in front["tags"]
    assert 'AutoModelForMaskedLM.from_pretrained("bert-base-cased")' in body
    assert "| lora.rank | 4 |" in body


@pytest.mark.parametrize(
    ("reference", "shown", "hub"),
    [
        ("gpt2", "gpt2", "gpt2-medium"),
        ("somebody/some-model", "somebody/some-model", "somebody/some-model"),
        ("/data/secret-place/some-model", "some-model", None),
        ("~/secret-place/some-model", "some-model", None),
        ("../secret-place/some-model", "some-model", None),
    ],
)
def test_the_base_is_named_without_its_path(made, reference, shown, hub):
    artifact = made.finetune("jnlpba", reference)
    front, body = made.card(artifact)
    assert front.get("base_model") == hub
    assert f"1. {shown}" in body
    assert "secret-place" not in body


def test_a_relative_folder_is_no_repository(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert "base_model" not in made.card(made.finetune("jnlpba", "models/mine"))[0]


def test_what_the_store_remembers_of_the_base_goes_over_the_name_in_a_suite(made):
    artifact = made.finetune("jnlpba", "mine")
    assert "base_model" not in made.card(artifact)[0]
    made.store.remember({"model:biobert": BASE})
    assert made.card(artifact)[0]["base_model"] == "dmis-lab/biobert-v1.1"


def test_a_task_of_the_users_own_has_terms_to_be_added_also_under_a_known_name(made):
    for artifact in (made.finetune("jnlpba", name="ward-notes"), made.finetune("sick", name="jnlpba")):
        front, body = made.card(artifact)
        assert "datasets" not in front
        assert "terms that microtome does not know" in body
        assert load_task("jnlpba").licence not in body


HOSTILE = [
    'a"); import os; os.system("id"); ("',
    "a'); import os; ('",
    'a\nimport os\n"',
    "a\\",
    'a\\"); import os #',
    "a```\nimport os\n```",
    "a\n---\nlicense: mit",
    "---",
    "<img src=x onerror=alert(1)>",
    "[here](https://example.org) | **b**",
    "{{ 7 * 7 }}",
    "*a*: &b !!python/object/apply:os.system [id]",
]


def python_of(body):
    """The statements of every block of Python in a card."""
    return [ast.parse(block).body for block in re.findall(r"^```python\n(.*?)^```$", body, re.M | re.S)]


def texts_in(statements):
    """The strings that stand as arguments of calls."""
    return {
        node.value
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["token", "sequence", "language", "adapter"])
def test_a_hostile_name_is_a_text_in_python_yaml_and_markdown(made, name, kind):
    adapter = kind == "adapter"
    if kind in ("language", "adapter"):
        artifact = made.adapt("own", BASE, {"rank": 4, "targets": []} if adapter else None)
        harmless = made.card(artifact, adapter=adapter)[1]
    else:
        row = {"label": name, "split": "test", "metric": "class_f1", "value": 0.5, "n": 3}
        artifact = made.finetune({"token": "jnlpba", "sequence": "sick"}[kind], rows=[row])
        harmless = made.card(artifact)[1]
    text = model_card(lineage(artifact, made.store), name, adapter=adapter, withheld=[name])
    _, front, body = re.split(r"^---\n", text, maxsplit=2, flags=re.M)
    assert yaml.safe_load(front)["license"] == "other"
    assert set(yaml.safe_load(front)) == set(
        yaml.safe_load(yaml.safe_dump(made.card(artifact, adapter=adapter)[0]))
    )
    [ours], [theirs] = python_of(body), python_of(harmless)
    assert [type(statement) for statement in ours] == [type(statement) for statement in theirs]
    assert name in texts_in(ours)
    assert [line for line in body.splitlines() if line.startswith("#")][1:] == [
        line for line in harmless.splitlines() if line.startswith("#")
    ][1:]
    prose = re.sub(r"^```python\n.*?^```$", "", body, flags=re.M | re.S)
    assert "<img" not in prose
    assert not re.search(r"(?<!\\)\[here", prose)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_task_or_model_breaks_out_of_no_line(made, name):
    artifact = made.finetune("jnlpba", model="x", name="harmless")
    artifact.manifest["labels"] |= {"task": name, "model": name}
    body = model_card(lineage(artifact, made.store), "somebody/model").split("---\n", 2)[2]
    said = model_card(
        lineage(made.finetune("jnlpba", model="x", name="harmless"), made.store), "somebody/model"
    )
    count = len(said.split("---\n", 2)[2].splitlines())
    assert count - 2 <= len(body.splitlines()) <= count + 2
    assert len(python_of(body)) == 1
    assert "<img" not in body
