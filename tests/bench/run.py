"""Benchmarks as ratios, both sides measured in one run: `make bench` prints a table and writes bench.json.

Sentences are those of bc5cdr-disease where MICROTOME_DATA has it, else synthetic. The model is a six-layer,
384-wide encoder with random weights on a CPU: its speed does not depend on what it has learned.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from sklearn.metrics.pairwise import cosine_similarity

from analysis.attention import AttentionConfig, compare_attention
from analysis.probing import ProbeConfig, probe
from jobs import extract
from jobs.data.encoding import Encoder
from jobs.data.examples import Example
from jobs.data.fractions import sample
from jobs.data.source import find_local
from jobs.demo.corpus import biomedical_text, ner_sentences
from jobs.extract import ExtractConfig, cache_layout, compute_parts, example_table
from jobs.models import loading, scratch, training
from jobs.models.batching import length_sorted_batches, padded
from jobs.models.task_model import TaskModel
from jobs.tasks import Recipe, load_task
from store.activations import ActivationCache
from store.artifacts import Request, Store
from store.cache_writer import CacheWriter

BATCH_TOKENS = extract.BATCH_TOKENS["cpu"]
EXAMPLES = 1000
REPEATS = 2


@dataclass(frozen=True)
class Ratio:
    """One line of the table. `value` is better the larger it is where `at_least`, else the smaller."""

    name: str
    value: float
    target: float
    at_least: bool
    detail: str

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


def seconds(*sides: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """The median time of each side, after a warm-up, the sides in turn so that drift hits both."""
    times: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + 1):
        for side, kept in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            if turn:
                kept.append(time.perf_counter() - start)
    return [statistics.median(kept) for kept in times]


class Bench:
    """A model, encoded sentences, and a folder to write into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.task = load_task("bc5cdr-disease")
        self.sentences = _sentences(self.task)
        model_folder = folder / "model"
        words = [" ".join(e.texts[0]) for e in self.sentences] + biomedical_text(50, seed=0)
        scratch.create("bert", words, model_folder, vocabulary=8000, dim=384, layers=6, heads=12)
        self.model_folder = model_folder
        self.tokenizer = loading.load_tokenizer(model_folder)
        self.model = loading.load_backbone(model_folder, torch.device("cpu"))
        encoder = Encoder(self.tokenizer, max_length=128)
        self.encodings = [encoder.encode(e) for e in self.sentences]
        self.tokens = sum(len(e.input_ids) for e in self.encodings)

    def forward(self) -> None:
        """The bare batched forward pass with the outputs that a cache keeps."""
        lengths = [len(e.input_ids) for e in self.encodings]
        with torch.inference_mode():
            for indices in length_sorted_batches(lengths, BATCH_TOKENS):
                ids = [self.encodings[i].input_ids for i in indices]
                segments = [self.encodings[i].segment_ids for i in indices]
                batch = padded(ids, segments, self.tokenizer.pad_token_id)
                self.model(**batch, output_hidden_states=True, output_attentions=True)

    def extract(self, name: str = "timed", form: str = "zarr") -> ActivationCache:
        """The forward pass of `forward`, into a cache on disk."""
        options = ExtractConfig(format=form)
        store = Store(self.folder / "store")
        request = Request("extract", 1, {"name": name, "format": form}, {"checkpoint": "bench"}, name)
        found = store.find(request)
        if found is not None:
            store.remove(found)
        kind = self.task.kind
        labels = kind.cached_labels(self.sentences, self.task.classes)
        table = example_table(self.sentences, self.encodings, labels, range(len(self.sentences)))
        layout = cache_layout(self.model.config, options, causal=False)
        with store.begin(request) as staging:
            with CacheWriter(staging.path, staging.scratch, layout, table, part_format=form) as writer:
                compute_parts(writer, self.encodings, self.model, self.tokenizer, BATCH_TOKENS)
                described = writer.finish()
            staging.outputs["cache"] = described | {
                "unit": kind.unit,
                "classes": list(self.task.classes),
                "split": "test",
                "segments": "together",
            }
        artifact = store.find(request)
        assert artifact is not None
        return ActivationCache(artifact.path)

    def common_way(self) -> None:
        """One sentence at a time, one HDF5 dataset per sentence, hidden states only."""
        path = self.folder / "common.h5"
        path.unlink(missing_ok=True)
        with h5py.File(path, "w") as file, torch.inference_mode():
            for number, encoding in enumerate(self.encodings):
                output = self.model(torch.tensor([encoding.input_ids]), output_hidden_states=True)
                states = torch.stack(output.hidden_states)[:, 0].numpy()
                file.create_dataset(str(number), data=states)


def extraction_cost(bench: Bench) -> list[Ratio]:
    """Extraction against the forward pass alone, and against the common way."""
    found = []
    for form in ("zarr", "hdf5"):
        ours, bare, common = seconds(
            lambda form=form: bench.extract(form=form), bench.forward, bench.common_way
        )
        detail = f"{ours:.2f} s, bare {bare:.2f} s, common {common:.2f} s, {bench.tokens} tokens"
        found.append(Ratio(f"extraction / bare forward pass ({form})", ours / bare, 1.15, False, detail))
        found.append(Ratio(f"common way / extraction ({form})", common / ours, 3, True, detail))
    return found


def bytes_on_disk(bench: Bench) -> list[Ratio]:
    """Bytes of the parts over elements that exist times their size."""
    found = []
    for form in ("zarr", "hdf5"):
        cache = bench.extract(form=form)
        elements = int(cache.layout.bytes_per_example(np.diff(cache.offsets)).sum())
        written = sum(part["bytes"] for part in cache.manifest["outputs"]["cache"]["parts"])
        detail = f"{written / 1e6:.1f} MB"
        found.append(Ratio(f"bytes / elements ({form})", written / elements, 1.02, False, detail))
    return found


def reading_a_layer(bench: Bench) -> list[Ratio]:
    """numpy.fromfile of the same bytes, warm, against `cache.hidden`."""
    found = []
    for form in ("zarr", "hdf5"):
        cache = bench.extract(form=form)
        path = bench.folder / "layer.bin"
        cache.hidden(3).tofile(path)
        plain, ours = seconds(
            lambda path=path: np.fromfile(path, np.float16), lambda cache=cache: cache.hidden(3), repeats=51
        )
        detail = f"{ours * 1e3:.2f} ms for {path.stat().st_size / 1e6:.1f} MB"
        found.append(Ratio(f"fromfile / hidden(layer) ({form})", plain / ours, 0.7, True, detail))
    return found


def probing_again(bench: Bench) -> list[Ratio]:
    """Extracting again for a sweep of the linear probe over all layers, against the sweep from the cache."""
    cache = bench.extract("probed")
    sweep, extraction = seconds(lambda: probe(ProbeConfig(), cache, cache), bench.extract, repeats=1)
    detail = f"sweep {sweep:.1f} s, extraction {extraction:.1f} s"
    return [Ratio("(extraction + sweep) / sweep", (extraction + sweep) / sweep, 10, True, detail)]


def comparing_attentions(bench: Bench) -> list[Ratio]:
    """A loop of sklearn's cosine_similarity per sentence, layer and head, against the comparison job."""
    one, other = bench.extract("one"), bench.extract("other")
    maps = {
        c: [[c.attention(layer, e) for e in range(c.examples)] for layer in range(c.layers)]
        for c in (one, other)
    }

    def loop() -> None:
        for layer in range(one.layers):
            for example in range(one.examples):
                for head in range(one.heads):
                    a, b = (maps[c][layer][example][head].reshape(1, -1) for c in (one, other))
                    cosine_similarity(a, b)

    config = AttentionConfig(measures=("cosine",))
    theirs, ours = seconds(loop, lambda: compare_attention(config, one, other), repeats=1)
    detail = f"loop {theirs:.2f} s, ours {ours:.2f} s from disk"
    return [Ratio("sklearn loop / attention comparison", theirs / ours, 20, True, detail)]


def fine_tuning(bench: Bench) -> list[Ratio]:
    """Tokens per second with length-sorted dynamic batches, over padding every batch to max_length."""
    recipe = Recipe(batch_size=32, max_length=128)
    model = TaskModel(bench.model_folder, "bench", bench.task.kind, bench.task.labels, recipe)
    features = model.prepare(bench.sentences).features
    order = sorted(range(len(features)), key=lambda i: len(features[i]["input_ids"]))
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=1e-5)

    def epoch(to_max: bool) -> None:
        model.model.train()
        for start in range(0, len(order), recipe.batch_size):
            chosen = [features[i] for i in order[start : start + recipe.batch_size]]
            batch = model.collator([*chosen, _longest(recipe.max_length)] if to_max else chosen)
            if to_max:
                batch = {name: value[:-1] for name, value in batch.items()}
            model.model(**batch).loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    fixed, dynamic = seconds(lambda: epoch(True), lambda: epoch(False), repeats=1)
    detail = f"{bench.tokens / dynamic:.0f} against {bench.tokens / fixed:.0f} tokens/s"
    return [Ratio("padding to max_length / dynamic batches", fixed / dynamic, 2, True, detail)]


def _longest(length: int) -> dict[str, Any]:
    return {"input_ids": [0] * length, "segment_ids": [0] * length, "labels": [training.IGNORED] * length}


def _sentences(task: Any) -> list[Example]:
    data, _ = find_local(task)
    if data is not None:
        rows = data.read("test")
        return [rows[i] for i in sample(len(rows), EXAMPLES, seed=0)]
    tagged = ner_sentences(EXAMPLES, seed=0)
    tags = [tuple("O" if t == "O" else f"{t[0]}-Disease" for t in row) for _, row in tagged]
    return [Example(str(i), (w,), t) for i, ((w, _), t) in enumerate(zip(tagged, tags, strict=True))]


def main() -> None:
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("MICROTOME_BENCH")) as folder:
        bench = Bench(Path(folder))
        for measure in (
            extraction_cost,
            bytes_on_disk,
            reading_a_layer,
            probing_again,
            comparing_attentions,
            fine_tuning,
        ):
            for ratio in measure(bench):
                ratios.append(ratio)
                bound = ">=" if ratio.at_least else "<="
                mark = "ok " if ratio.met else "OFF"
                print(
                    f"{mark} {ratio.name:<44} {ratio.value:7.2f}  {bound} {ratio.target:<5g} {ratio.detail}"
                )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(f"on {machine}")
    rows = [asdict(ratio) | {"met": ratio.met} for ratio in ratios]
    Path("bench.json").write_text(json.dumps({"machine": machine, "ratios": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
