"""Documents of a corpus on their way: cache, predictions, and what intervals are over."""

import io
import json

import numpy as np
import pytest

from microtome.analysis.metrics.terms import ScoreKey, read_metric_terms
from microtome.jobs.kinds.probe import ProbeConfig, probe_job
from microtome.store.cache.examples import Examples
from microtome.store.cache.reader import ActivationCache

DOCUMENTS, SENTENCES = 6, 4  # of a split, of a document


@pytest.fixture
def by_document(bench, tmp_path, write_task):
    """A task whose sentences are from documents, as the bench's task "documents"."""
    for split in ("train", "dev", "test"):
        rows = [
            {
                "text": f"{split} patient {i} reports {'pain' if (i + d) % 3 else 'fever'}",
                "pmid": d,
                "label": "x" if i % 2 else "y",
            }
            for i in range(SENTENCES)
            for d in range(DOCUMENTS)  # the sentences of a document do not stand together
        ]
        (tmp_path / f"{split}.data").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = {"text_a": "text", "label": "label", "document": "pmid"}
    bench.tasks["documents"] = write_task(
        "classification", "jsonl", columns, "class", ("x", "y"), max_length=48
    )
    return bench


def test_a_cache_keeps_the_document_of_each_example(by_document, tiny_models):
    model = tiny_models / "bert"
    whole = ActivationCache(by_document.run(by_document.extract("documents", model, keep=["hidden"])).path)
    assert whole.documents.tolist() == list(range(DOCUMENTS)) * SENTENCES
    job = by_document.extract("documents", model, keep=["hidden"], examples=7)
    some = ActivationCache(by_document.run(job).path)
    rows = some.example_data.rows
    assert some.documents.tolist() == (rows % DOCUMENTS).tolist()  # as in the whole split


def test_scores_and_predictions_go_by_documents(by_document, tiny_models):
    artifact = by_document.run(by_document.finetune("documents", tiny_models / "bert", fraction=0))
    lines = [json.loads(line) for line in (artifact.path / "predictions.jsonl").open()]
    assert [line["document"] for line in lines] == [str(d) for d in range(DOCUMENTS)] * SENTENCES
    assert len(read_metric_terms(artifact)[ScoreKey()].terms) == DOCUMENTS


def test_a_probe_has_its_interval_over_documents(by_document, tiny_models):
    caches = [
        by_document.run(by_document.extract("documents", tiny_models / "bert", split, keep=["hidden"])).id
        for split in ("train", "test")
    ]
    artifact = by_document.run(probe_job("probe", *caches, None, ProbeConfig(layers=(1,)), {}))
    assert {len(terms.terms) for terms in read_metric_terms(artifact).values()} == {DOCUMENTS}


def test_a_cache_of_before_documents_were_kept_has_examples_in_their_place(small_cache):
    class Older:
        """The contents of a cache without the array of documents."""

        def read(self, name):
            with np.load(small_cache.artifact.path / name) as arrays:
                kept = {array: arrays[array] for array in arrays.files if array != "documents"}
            buffer = io.BytesIO()
            np.savez(buffer, **kept)
            return buffer.getvalue()

    examples = Examples.load(Older())
    assert examples.documents.tolist() == examples.rows.tolist() == [0, 1, 2]
