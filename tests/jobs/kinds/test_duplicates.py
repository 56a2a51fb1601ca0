"""Test texts that are training texts, from the files of a task to the rows of a probe."""

import json

import numpy as np

from microtome.jobs.kinds.probe import ProbeConfig, probe_job
from microtome.store.cache.reader import ActivationCache
from microtome.store.results import WITHOUT_DUPLICATES, read_rows

CONFIG = ProbeConfig(layers=(1,), codelength=False, controls=False, baselines=False)


def sentences(split, count):
    return [(f"{split} patient {i} reports {'pain' if i % 3 else 'fever'}", i % 2) for i in range(count)]


def test_a_probe_scores_the_test_split_without_the_texts_it_was_fitted_on(
    bench, tiny_models, tmp_path, write_task
):
    train = sentences("train", 16)
    splits = {"train": train, "dev": sentences("dev", 8), "test": [*train[:5], *sentences("test", 12)]}
    for split, rows in splits.items():
        lines = [json.dumps({"text": text, "label": "xy"[label]}) for text, label in rows]
        (tmp_path / f"{split}.data").write_text("\n".join(lines))
    columns = {"text_a": "text", "label": "label"}
    bench.tasks["copies"] = write_task("classification", "jsonl", columns, "class", ("x", "y"), max_length=48)
    artifacts = [
        bench.run(bench.extract("copies", tiny_models / "bert", split, keep=["hidden"]))
        for split in ("train", "test")
    ]
    of_train, of_test = (ActivationCache(artifact.path).example_data.texts for artifact in artifacts)
    assert np.isin(of_test, of_train).tolist() == [True] * 5 + [False] * 12
    probed = bench.run(probe_job("probe", *(artifact.id for artifact in artifacts), None, CONFIG, {}))
    (row,) = [row for row in read_rows(probed) if row["split"] == WITHOUT_DUPLICATES]
    assert (row["layer"], row["n"]) == (1, 12)
    assert row["low"] <= row["value"] <= row["high"]
