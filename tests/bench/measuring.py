"""What every benchmark needs: a model with sentences and a store, times of several sides in turn, and rows
that say in words which side is faster."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from microtome.jobs.data.encoding import Encoder
from microtome.jobs.data.examples import Example
from microtome.jobs.data.fractions import sample
from microtome.jobs.demo.corpus import biomedical_text, ner_sentences
from microtome.jobs.kinds.extraction import parts
from microtome.jobs.kinds.extraction.parts import compute_parts
from microtome.jobs.kinds.extraction.prepared import cache_layout, example_table
from microtome.jobs.kinds.extraction.settings import ExtractConfig
from microtome.jobs.models import loading, tiny_models
from microtome.jobs.models.batching import length_sorted_batches, padded, takes_segments
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_local
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.description import CachedSplit
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.reader import ActivationCache
from microtome.store.cache.writer import CacheWriter

EXAMPLES = 5000  # sentences of the extraction; long enough for several parts
FEW_EXAMPLES = 1000  # sentences of everything that is measured per token or per layer
REPEATS = 3
FORMATS = tuple(PART_FORMATS)


@dataclass(frozen=True)
class Speed:
    """One row of the table: how fast microtome is beside another way to do the same.

    `speedup` is the time of the other way over ours, `least` what it has to be.
    """

    ours: str
    other: str
    speedup: float
    least: float
    detail: str

    @property
    def met(self) -> bool:
        return self.speedup >= self.least

    @property
    def words(self) -> str:
        return f"{self.ours} {in_words(self.speedup)} {self.other}"

    @property
    def bound(self) -> str:
        if self.least >= 1:
            return f"wanted: at least {self.least:g} times as fast"
        return f"wanted: at most {1 / self.least:.3g} times as long"


@dataclass(frozen=True)
class Amount:
    """One row of the table: something that has to stay small."""

    what: str
    value: float
    most: float
    detail: str

    @property
    def met(self) -> bool:
        return self.value <= self.most

    @property
    def words(self) -> str:
        return f"{self.what}: {self.value:.2f}"

    @property
    def bound(self) -> str:
        return f"wanted: at most {self.most:g}"


Row = Speed | Amount


def in_words(speedup: float) -> str:
    """Which of two sides is faster, and how many times."""
    if speedup >= 1:
        return f"is {speedup:.2f} times as fast as"
    return f"takes {1 / speedup:.2f} times as long as"


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
        self,
        folder: Path,
        device: str,
        architecture: str,
        task: str = "bc5cdr-disease",
        examples: int = EXAMPLES,
        few_examples: int = FEW_EXAMPLES,
        **shape: int,
    ) -> None:
        self.folder = folder
        self.task = load_task(task)
        self.examples, self.few_examples = examples, few_examples
        self.sentences = _sentences(self.task, examples)
        self.model_folder = folder / "model"
        words = [" ".join(e.texts[0]) for e in self.sentences] + biomedical_text(50, seed=0)
        tiny_models.create(architecture, words, self.model_folder, vocabulary=8000, **shape)
        self.tokenizer = loading.load_tokenizer(self.model_folder)
        self.device = torch.device(device)
        self.model = loading.load_backbone(self.model_folder, self.device)
        encoder = Encoder(self.tokenizer, max_length=128)
        encoder.encode_words(self.sentences)
        self.encodings = [encoder.encode(e) for e in self.sentences]
        self.batch_tokens = parts.BATCH_TOKENS[device]
        self.store = Store(folder / "store")

    def tokens(self, examples: int | None = None) -> int:
        """How many tokens the first examples have, or all."""
        return sum(len(e.input_ids) for e in self.encodings[:examples])

    def forward(self) -> None:
        """The bare batched forward pass with the outputs that a cache keeps."""
        encodings = self.encodings
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
        self, name: str = "timed", form: str = "zarr", examples: int | None = None, offset: int = 0
    ) -> ActivationCache:
        """The forward pass of `forward`, into a cache on disk; of the first examples, or of all."""
        window = slice(offset, None if examples is None else offset + examples)
        sentences, encodings = self.sentences[window], self.encodings[window]
        request = Request("extract", 1, {"name": name, "format": form}, {"checkpoint": "bench"}, name)
        labels = self.task.kind.cached_labels(sentences, self.task.classes)
        rows = np.arange(len(sentences))
        table = example_table(sentences, encodings, labels, rows.tolist(), rows)
        config = self.model.config
        layout = cache_layout(config, ExtractConfig(format=form), loading.is_causal(config))
        pinned = parts.pinned_memory if self.device.type == "cuda" else None
        with self.store.begin(request) as staging:
            with CacheWriter(
                staging.path, staging.scratch, layout, table, part_format=form, allocate=pinned
            ) as writer:
                compute_parts(
                    [writer], encodings, self.model, self.tokenizer, self.batch_tokens, facts=[None]
                )
                description, staging.files = writer.finish(self._split)
            description.write(staging.outputs)
        artifact = self.store.find(request)
        assert artifact is not None
        return ActivationCache(artifact.path)

    @property
    def _split(self) -> CachedSplit:
        return CachedSplit(
            task=self.task.name,
            split="test",
            unit=self.task.kind.unit,
            classes=tuple(self.task.classes),
            credentialed=False,
            segments="together",
            max_length=128,
            truncated_words=sum(encoding.truncated_words for encoding in self.encodings),
        )

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


def _sentences(task: Any, examples: int) -> list[Example]:
    data, _ = find_local(task)
    if data is not None:
        rows = data.read("train")
        return [rows[i] for i in sample(len(rows), examples, seed=0)]
    tagged = ner_sentences(examples, seed=0)
    name = task.labels[0]
    tags = [tuple("O" if t == "O" else f"{t[0]}-{name}" for t in row) for _, row in tagged]
    return [Example(str(i), (w,), t) for i, ((w, _), t) in enumerate(zip(tagged, tags, strict=True))]
