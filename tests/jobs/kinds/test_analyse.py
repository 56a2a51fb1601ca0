import builtins

import pytest

from microtome.analysis.attention.compare import AttentionConfig
from microtome.analysis.metrics.terms import ScoreKey, read_metric_terms
from microtome.analysis.probing.settings import ProbeConfig
from microtome.jobs.kinds.attention import attention_job
from microtome.jobs.kinds.probe import probe_job
from microtome.store.results import read_rows


@pytest.fixture
def no_models(monkeypatch):
    """From here on, nothing that could load a model, a tokenizer or a dataset can be imported or called."""
    import datasets
    import transformers

    from microtome.jobs.tasks import source

    def refuse(*args, **kwargs):
        raise AssertionError("an analysis job tried to load something")

    for auto in ("AutoModel", "AutoTokenizer", "AutoConfig", "AutoModelForTokenClassification"):
        monkeypatch.setattr(getattr(transformers, auto), "from_pretrained", refuse)
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", refuse)
    monkeypatch.setattr(transformers.PreTrainedTokenizerBase, "from_pretrained", refuse)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr(source.TaskData, "read", refuse)
    real = builtins.__import__

    def guarded(name, *args, **kwargs):
        if name.partition(".")[0] in ("torch", "transformers", "datasets"):
            refuse()
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)


@pytest.mark.parametrize("kind", ["ner", "nli"])
def test_probe_and_attention_load_no_model_tokenizer_or_dataset(bench, tiny_models, kind, request):
    checkpoint = bench.run(bench.finetune(kind, tiny_models / "gpt2", epochs=1))
    train = bench.run(bench.extract(kind, checkpoint.id, split="train", keep=["hidden"]))
    before = bench.run(bench.extract(kind, tiny_models / "gpt2", examples=10))
    after = bench.run(bench.extract(kind, checkpoint.id, examples=10))

    request.getfixturevalue("no_models")
    probed = bench.run(probe_job("p", train.id, after.id, None, ProbeConfig(), {}))
    compared = bench.run(attention_job("a", before.id, after.id, AttentionConfig(), {}))

    rows = read_rows(probed)
    assert {row["layer"] for row in rows} == {0, 1, 2, None}
    assert {row["probe"] for row in rows} == {"linear", "majority", "bag-of-words"}
    terms = read_metric_terms(probed)
    primary = "token_macro_f1" if kind == "ner" else "accuracy"
    for row in rows:
        if row["metric"] == primary:
            assert terms[ScoreKey(row["probe"], row["layer"])].value() == pytest.approx(row["value"])
            assert row["low"] <= row["value"] <= row["high"]
    rows = read_rows(compared)
    assert {(row["layer"], row["head"]) for row in rows} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    changed = [row["value"] for row in rows if row["metric"] == "jensen_shannon"]
    assert min(changed) >= 0
    assert max(changed) > 0


def test_an_analysis_that_is_done_is_not_done_again(bench, tiny_models):
    cache = bench.run(bench.extract("ner", tiny_models / "bert", keep=["attention"], examples=5))
    job = attention_job("a", cache.id, cache.id, AttentionConfig(), {})
    made = bench.run(job).manifest["provenance"]["made"]
    (bench.store.log_path(job.request)).unlink()
    assert bench.run(job).manifest["provenance"]["made"] == made
    assert not bench.store.log_path(job.request).exists()
