"""Benchmarks as ratios, both sides measured in one run: `make bench` prints a table and writes bench.json.

Sentences are those of bc5cdr-disease where MICROTOME_DATA has it, else synthetic. The model is a six-layer,
384-wide encoder with random weights on a CPU: its speed does not depend on what it has learned.
"""

import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from startup import over_click

from microtome.analysis.attention.compare import AttentionConfig, compare_attention
from microtome.analysis.metrics.scores import token_scores
from microtome.analysis.probing.probes import ProbeSettings
from microtome.analysis.probing.probes.linear import LinearProbe
from microtome.analysis.probing.probes.svm import SvmProbe
from microtome.analysis.probing.run import probe
from microtome.analysis.probing.settings import ProbeConfig
from microtome.analysis.units import units
from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.data.fractions import sample
from microtome.jobs.data.source import find_local
from microtome.jobs.demo.corpus import biomedical_text, ner_sentences
from microtome.jobs.kinds import extract
from microtome.jobs.kinds.extract import ExtractConfig, cache_layout, compute_parts, example_table
from microtome.jobs.models import loading, training
from microtome.jobs.models import tiny_models as scratch
from microtome.jobs.models.batching import length_sorted_batches, padded, takes_segments
from microtome.jobs.models.task_model import TaskModel
from microtome.jobs.run.memory import keep_freed_memory
from microtome.jobs.tasks import Recipe, load_task
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter
from microtome.store.files.operations import aligned_memory, flush, folder_bytes, write_bytes

EXAMPLES = 5000  # of the extraction; long enough for several parts
FEW_EXAMPLES = 1000  # of everything that is measured per token or per layer
REPEATS = 3
SWEEP = ProbeConfig(strengths=(1.0,), controls=False, codelength=False, baselines=False, resamples=0)
PROBED = (("train", 0, 3800), ("test", 3800, 1000))  # sentences of jnlpba: about 100,000 words to fit
FORMATS = tuple(PART_FORMATS)
# What the published study used, with random weights; the model of a CPU is a small BERT.
ON_A_GPU = {
    "bert-base": {"architecture": "bert", "dim": 768, "layers": 12, "heads": 12},
    "gpt2-medium": {"architecture": "gpt2", "dim": 1024, "layers": 24, "heads": 16},
    "biogpt": {"architecture": "biogpt", "dim": 1024, "layers": 24, "heads": 16},
}
ON_A_CPU = {"small-bert": {"architecture": "bert", "dim": 384, "layers": 6, "heads": 12}}


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


def seconds(
    *sides: Callable[[], Any], repeats: int = REPEATS, after: Callable[[], Any] = int, warm: bool = True
) -> list[float]:
    """The median time of each side, after a warm-up, the sides in turn so that drift hits both.

    `after` cleans up after each side, untimed.
    """
    times: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + warm):
        for side, kept in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            if turn >= warm:
                kept.append(time.perf_counter() - start)
            after()
    return [statistics.median(kept) for kept in times]


class Bench:
    """A model on a device, encoded sentences, and a folder to write into."""

    def __init__(
        self, folder: Path, device: str, architecture: str, task: str = "bc5cdr-disease", **shape: int
    ) -> None:
        self.folder = folder
        self.task = load_task(task)
        self.sentences = _sentences(self.task)
        self.model_folder = folder / "model"
        words = [" ".join(e.texts[0]) for e in self.sentences] + biomedical_text(50, seed=0)
        scratch.create(architecture, words, self.model_folder, vocabulary=8000, **shape)
        self.tokenizer = loading.load_tokenizer(self.model_folder)
        self.device = torch.device(device)
        self.model = loading.load_backbone(self.model_folder, self.device)
        encoder = Encoder(self.tokenizer, max_length=128)
        self.encodings = [encoder.encode(e) for e in self.sentences]
        self.batch_tokens = extract.BATCH_TOKENS[device]
        self.store = Store(folder / "store")

    def tokens(self, examples: int) -> int:
        """How many tokens the first examples have."""
        return sum(len(e.input_ids) for e in self.encodings[:examples])

    def forward(self, examples: int = EXAMPLES) -> None:
        """The bare batched forward pass with the outputs that a cache keeps."""
        encodings = self.encodings[:examples]
        segments = takes_segments(self.model, self.tokenizer)
        with torch.inference_mode():
            for indices in length_sorted_batches([len(e.input_ids) for e in encodings], self.batch_tokens):
                ids = [encodings[i].input_ids for i in indices]
                kinds = [encodings[i].segment_ids for i in indices] if segments else None
                batch = padded(ids, kinds, self.tokenizer.pad_token_id)
                batch = {name: value.to(self.device) for name, value in batch.items()}
                self.model(**batch, output_hidden_states=True, output_attentions=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def extract(
        self, name: str = "timed", form: str = "zarr", examples: int = EXAMPLES, offset: int = 0
    ) -> ActivationCache:
        """The forward pass of `forward`, into a cache on disk."""
        chosen = slice(offset, offset + examples)
        sentences, encodings = self.sentences[chosen], self.encodings[chosen]
        request = Request("extract", 1, {"name": name, "format": form}, {"checkpoint": "bench"}, name)
        labels = self.task.kind.cached_labels(sentences, self.task.classes)
        table = example_table(sentences, encodings, labels, range(len(sentences)))
        config = self.model.config
        layout = cache_layout(config, ExtractConfig(format=form), loading.is_causal(config))
        pinned = extract.pinned_memory if self.device.type == "cuda" else None
        with self.store.begin(request) as staging:
            with CacheWriter(
                staging.path, staging.scratch, layout, table, part_format=form, allocate=pinned
            ) as writer:
                compute_parts(writer, encodings, self.model, self.tokenizer, self.batch_tokens)
                described, staging.files = writer.finish()
            staging.outputs["cache"] = described | {
                "unit": self.task.kind.unit,
                "classes": list(self.task.classes),
                "split": "test",
                "segments": "together",
            }
        artifact = self.store.find(request)
        assert artifact is not None
        return ActivationCache(artifact.path)

    def clear(self) -> None:
        """Forget every cache."""
        for artifact in self.store.list():
            self.store.remove(artifact)

    def common_way(self, examples: int) -> None:
        """One sentence at a time, one HDF5 dataset per sentence, hidden states only."""
        path = self.folder / "common.h5"
        path.unlink(missing_ok=True)
        with h5py.File(path, "w") as file, torch.inference_mode():
            for number, encoding in enumerate(self.encodings[:examples]):
                ids = torch.tensor([encoding.input_ids], device=self.device)
                output = self.model(ids, output_hidden_states=True)
                states = torch.stack(output.hidden_states)[:, 0].cpu().numpy()
                file.create_dataset(str(number), data=states)


def extraction_cost(bench: Bench) -> list[Ratio]:
    """Extraction against the forward pass alone, and against the common way, by tokens per second."""
    bounds = (1.3, 15) if bench.device.type == "cuda" else (1.15, 3)
    *ours, bare, common = seconds(
        *(partial(bench.extract, form=form) for form in FORMATS),
        bench.forward,
        lambda: bench.common_way(FEW_EXAMPLES),
        after=bench.clear,
    )
    limit, slow = bench.tokens(EXAMPLES) / bare, bench.tokens(FEW_EXAMPLES) / common
    of_common = f"common way {slow:.0f} tokens/s; bare forward pass {limit / slow:.2f} times that"
    found = []
    for form, time_taken in zip(FORMATS, ours, strict=True):
        speed = bench.tokens(EXAMPLES) / time_taken
        detail = f"{speed:.0f} tokens/s; bare {limit:.0f}"
        name = f"extraction / bare forward pass ({form})"
        found.append(Ratio(name, limit / speed, bounds[0], False, detail))
        found.append(Ratio(f"common way / extraction ({form})", speed / slow, bounds[1], True, of_common))
    return found


def writing(bench: Bench) -> list[Ratio]:
    """Where the forward pass is faster than the disk: bytes per second against those of the disk alone."""
    size = int(bench.extract().layout.bytes_per_example(_lengths(bench)).sum())
    bench.clear()
    block = aligned_memory(256 << 20)
    block[:] = np.random.default_rng(0).integers(0, 256, len(block), np.uint8)
    path = bench.folder / "disk.bin"

    def disk() -> None:
        path.touch()
        for offset in range(0, size, len(block)):
            write_bytes(path, offset, block)
        flush(path)

    def clear() -> None:
        bench.clear()
        path.unlink(missing_ok=True)

    ours, alone = seconds(bench.extract, disk, after=clear)
    detail = f"{size / ours / 1e9:.2f} GB/s of {size / alone / 1e9:.2f} GB/s"
    return [Ratio("extraction's bytes/s / disk's", alone / ours, 0.8, True, detail)]


def bytes_on_disk(bench: Bench) -> list[Ratio]:
    """Bytes of the parts over elements that exist times their size, and files per 10 GB."""
    found = []
    for form in FORMATS:
        cache = bench.extract(form=form)
        elements = int(cache.layout.bytes_per_example(_lengths(bench)).sum())
        parts = cache.path / "parts"
        detail = f"{elements / 1e6:.0f} MB"
        ratio = folder_bytes(parts) / elements
        found.append(Ratio(f"bytes / elements ({form})", ratio, 1.02, False, detail))
        files = sum(path.is_file() for path in parts.rglob("*"))
        found.append(
            Ratio(f"files per 10 GB ({form})", files / elements * 1e10, 300, False, f"{files} files")
        )
        bench.clear()
    return found


def reading_a_layer(bench: Bench) -> list[Ratio]:
    """numpy.fromfile of the same bytes, warm, against `cache.hidden`."""
    found = []
    for form in FORMATS:
        cache = bench.extract(form=form, examples=FEW_EXAMPLES)
        path = bench.folder / "layer.bin"
        path.unlink(missing_ok=True)
        path.touch()
        layer = cache.hidden(3)
        block = aligned_memory(layer.nbytes)
        block[:] = layer.view(np.uint8).reshape(-1)
        write_bytes(path, 0, block)  # as parts are written: it decides how the system caches the file
        plain, ours = seconds(
            lambda path=path: np.fromfile(path, np.float16), lambda cache=cache: cache.hidden(3), repeats=51
        )
        detail = f"{ours * 1e3:.2f} ms for {path.stat().st_size / 1e6:.1f} MB"
        found.append(Ratio(f"fromfile / hidden(layer) ({form})", plain / ours, 0.7, True, detail))
        bench.clear()
    return found


def probing_again(bench: Bench) -> list[Ratio]:
    """Extracting again for a sweep of the linear probe over all layers, against the sweep from the cache."""
    train, test = (bench.extract(name, examples=FEW_EXAMPLES) for name in ("train", "test"))
    again = itertools.count()
    sweep, extraction = seconds(
        lambda: probe(SWEEP, train, test),
        lambda: [bench.extract(f"again-{next(again)}", examples=FEW_EXAMPLES) for _ in ("train", "test")],
        repeats=1,
    )
    bench.clear()
    detail = f"sweep {sweep:.1f} s, extraction of train and test {extraction:.1f} s"
    return [Ratio("(extraction + sweep) / sweep", (extraction + sweep) / sweep, 10, True, detail)]


def linear_probe(bench: Bench) -> list[Ratio]:
    """The linear probe over all layers, against a loop over the layers with scikit-learn to convergence."""
    train, test = (bench.extract(name, examples=size, offset=start) for name, start, size in PROBED)
    known, asked = units(train), units(test)
    layers = train.layout.hidden_layers
    found: dict[str, list[float]] = {"ours": [], "theirs": []}

    def scored(side: str, predicted: np.ndarray) -> None:
        found[side].append(token_scores(asked.y, predicted, range(len(asked.classes)))["token_macro_f1"])

    def ours() -> None:
        found["ours"].clear()
        classifier = LinearProbe(ProbeSettings())
        for layer in layers:
            classifier.fit(known.features(train.hidden(layer)), known.y, known.groups)
            scored("ours", classifier.predict(asked.features(test.hidden(layer)), asked.groups))

    def theirs() -> None:
        found["theirs"].clear()
        for layer in layers:
            scale = StandardScaler()
            classifier = LogisticRegression(max_iter=2000)
            classifier.fit(scale.fit_transform(known.features(train.hidden(layer))), known.y)
            scored("theirs", classifier.predict(scale.transform(asked.features(test.hidden(layer)))))

    fast, slow = seconds(ours, theirs, repeats=1, warm=False)
    apart = max(abs(a - b) for a, b in zip(found["ours"], found["theirs"], strict=True))
    detail = f"{slow:.0f} and {fast:.0f} s, {len(known.y)} words; F1 of a layer at most {apart:.4f} apart"
    bench.clear()
    return [Ratio("sklearn loop / linear probe", slow / fast, 4, True, detail)]


def rbf_probe(bench: Bench) -> list[Ratio]:
    """The support-vector machine on its Gram matrix from one product, against scikit-learn's own kernel."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2 * bench.model.config.hidden_size)).astype(np.float32)
    y = (x[:, :5].sum(axis=1) + rng.normal(size=len(x)) > 0).astype(np.int64)
    rows = np.arange(len(x))
    theirs, ours = seconds(
        lambda: make_pipeline(StandardScaler(), SVC()).fit(x, y).predict(x),
        lambda: (machine := SvmProbe(ProbeSettings())).fit(x, y, rows) or machine.predict(x, rows),
        repeats=1,
    )
    detail = f"{theirs:.1f} and {ours:.1f} s for {len(x)} pairs"
    return [Ratio("sklearn's RBF machine / ours", theirs / ours, 1, True, detail)]


def comparing_attentions(bench: Bench) -> list[Ratio]:
    """A loop of sklearn's cosine_similarity per sentence, layer and head, against the comparison job."""
    one, other = (bench.extract(name, examples=FEW_EXAMPLES) for name in ("one", "other"))
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

    config = AttentionConfig(measures=("cosine",), patterns=())
    theirs, ours = seconds(loop, lambda: compare_attention(config, one, other), repeats=1)
    detail = f"loop {theirs:.2f} s, ours {ours:.2f} s from disk"
    return [Ratio("sklearn loop / attention comparison", theirs / ours, 20, True, detail)]


def fine_tuning(bench: Bench) -> list[Ratio]:
    """Tokens per second with length-sorted dynamic batches, over padding every batch to max_length."""
    recipe = Recipe(batch_size=32, max_length=128)
    model = TaskModel(bench.model_folder, "bench", bench.task.kind, bench.task.labels, recipe)
    features = model.prepare(bench.sentences[:FEW_EXAMPLES]).features
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

    tokens = bench.tokens(FEW_EXAMPLES)
    fixed, dynamic = seconds(lambda: epoch(True), lambda: epoch(False), repeats=1)
    detail = f"{tokens / dynamic:.0f} against {tokens / fixed:.0f} tokens/s"
    return [Ratio("padding to max_length / dynamic batches", fixed / dynamic, 2, True, detail)]


def _longest(length: int) -> dict[str, Any]:
    return {"input_ids": [0] * length, "segment_ids": [0] * length, "labels": [training.IGNORED] * length}


def _lengths(bench: Bench) -> np.ndarray:
    return np.array([len(e.input_ids) for e in bench.encodings])


def _sentences(task: Any) -> list[Example]:
    data, _ = find_local(task)
    if data is not None:
        rows = data.read("train")
        return [rows[i] for i in sample(len(rows), EXAMPLES, seed=0)]
    tagged = ner_sentences(EXAMPLES, seed=0)
    name = task.labels[0]
    tags = [tuple("O" if t == "O" else f"{t[0]}-{name}" for t in row) for _, row in tagged]
    return [Example(str(i), (w,), t) for i, ((w, _), t) in enumerate(zip(tagged, tags, strict=True))]


def measure(name: str, device: str, shape: dict[str, Any], *benches: Callable[[Bench], list[Ratio]]) -> Any:
    """Run benches on one model; every ratio is printed when it is known."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("MICROTOME_BENCH")) as folder:
        bench = Bench(Path(folder), device, **shape)
        for part in benches:
            for ratio in part(bench):
                yield printed(ratio, name, device)
            bench.clear()


def printed(ratio: Ratio, name: str, device: str) -> dict[str, Any]:
    """Print a ratio as a line of the table; returns its row of bench.json."""
    bound, mark = ">=" if ratio.at_least else "<=", "ok " if ratio.met else "OFF"
    line = f"{mark} {name:<11} {ratio.name:<40} {ratio.value:7.2f}  {bound} {ratio.target:<5g}"
    print(line, ratio.detail, flush=True)
    return asdict(ratio) | {"model": name, "device": device, "met": ratio.met}


def starting() -> list[Ratio]:
    """What a command takes before it does anything, over the import of click, which it cannot do without."""
    bounds = {"--help": 5.0, "suite ls": 10.0, "task ls": 16.0}
    ratios = []
    for command, bound in bounds.items():
        value, detail = over_click(*command.split())
        ratios.append(Ratio(f"microtome {command} / import click", value, bound, False, detail))
    return ratios


def main() -> None:
    """All ratios of this machine, on the screen and in bench.json."""
    keep_freed_memory()  # as every job does
    rows = [printed(ratio, "start", "cpu") for ratio in starting()]
    for name, shape in ON_A_CPU.items():
        rows += measure(
            name,
            "cpu",
            shape,
            extraction_cost,
            bytes_on_disk,
            reading_a_layer,
            probing_again,
            rbf_probe,
            comparing_attentions,
            fine_tuning,
        )
        rows += measure(f"{name}, jnlpba", "cpu", shape | {"task": "jnlpba"}, linear_probe)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
        for name, shape in ON_A_GPU.items():
            rows += measure(name, "cuda", shape, extraction_cost, writing)
    print(f"on {machine}")
    Path("bench.json").write_text(json.dumps({"machine": machine, "ratios": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
