"""What a cache will hold, known before the model runs: everything is read and tokenised first."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtome.analysis.attention.kept_patterns import KEPT_PATTERNS
from microtome.analysis.attention.patterns import TokenFacts
from microtome.jobs.data.encoding import Encoder, Encoding
from microtome.jobs.data.examples import Example, document_numbers, text_numbers
from microtome.jobs.data.fractions import sample
from microtome.jobs.kinds.extraction.settings import ExtractConfig, ExtractJob
from microtome.jobs.models.architecture import architecture_of
from microtome.jobs.models.sites import site_layouts
from microtome.jobs.tasks.source import read_as_planned
from microtome.jobs.tasks.types import TASK_TYPES
from microtome.store.cache.examples import Examples
from microtome.store.cache.layout import Layout
from microtome.store.cache.token_rows import TokenRows, token_rows


@dataclass(frozen=True)
class Prepared:
    """What a cache will hold, known before the first forward pass."""

    encodings: Sequence[Encoding]
    table: Examples
    layout: Layout
    rows: TokenRows | None  # what is kept of the tokens; None where all are
    tokenizer: Any
    sinks: bool  # whether rows of attention sum to less than one
    facts: TokenFacts | None = None  # of the examples, where patterns of attention are kept

    def bytes(self) -> int:
        """What the cache will take on disk, uncompressed; a few kB of headers per part aside."""
        return int(self.bytes_per_example().sum()) + self.table.bytes()

    def bytes_per_example(self) -> np.ndarray:
        """What each example takes in the parts, uncompressed, int64 [examples]."""
        counts = None if self.rows is None else self.rows.counts
        return self.layout.bytes_per_example(self.table.lengths, counts)


def prepare(job: ExtractJob, folder: Path, name: str) -> Prepared:
    """Read and tokenise what an extraction job is to run through the model `name` in `folder`."""
    return prepare_all([job], folder, name)[0]


def prepare_all(jobs: Sequence[ExtractJob], folder: Path, name: str) -> list[Prepared]:
    """The same of several jobs that are made in one pass (see passes.py): what they run is read and tokenised
    once."""
    from microtome.jobs.models import loading

    config, options = jobs[0].config, jobs[0].config.extract
    task_type = TASK_TYPES[config.type]
    max_length = int(options.max_length or 0)
    model_config = loading.load_config(folder)
    for job in jobs:
        loading.check_usable(model_config, max_length, job.config.extract.keep)
    tokenizer = loading.load_tokenizer(folder, name)
    rows = read_as_planned(jobs[0].sources.data, config.split, jobs[0].inputs["data"])
    kept_rows = sample(len(rows), options.examples, options.sample_seed)
    examples = [rows[index] for index in kept_rows]
    encoder = Encoder(tokenizer, max_length=max_length)
    encoder.encode_words(examples)
    encode = encoder.encode_separately if options.segments == "separate" else encoder.encode
    encodings = [encode(example) for example in examples]
    classes = task_type.classes(config.labels)
    labels = task_type.cached_labels(examples, classes)
    documents = np.array(document_numbers(rows))[kept_rows]
    table = example_table(examples, encodings, labels, kept_rows, documents)
    causal, sinks = loading.is_causal(model_config), architecture_of(model_config.to_dict()).sinks
    return [
        Prepared(
            encodings,
            table,
            cache_layout(model_config, kept, causal),
            None if kept.tokens == "all" else token_rows(table, kept.tokens, task_type.unit),
            tokenizer,
            "attention" in kept.keep and sinks,
            TokenFacts(table, task_type.unit, classes, causal=causal) if kept.keeps_patterns else None,
        )
        for kept in (job.config.extract for job in jobs)
    ]


def cache_layout(model_config: Any, options: ExtractConfig, causal: bool) -> Layout:
    """The shape of a model's activations, and what of it the options keep."""
    layers = model_config.num_hidden_layers
    hidden = options.hidden_layers if options.hidden_layers is not None else tuple(range(layers + 1))
    blocks = options.site_layers if options.site_layers is not None else tuple(range(layers))
    attention = options.attention_layers if options.attention_layers is not None else tuple(range(layers))
    return Layout(
        layers=layers,
        heads=model_config.num_attention_heads if "attention" in options.keep else 0,
        dim=model_config.hidden_size,
        causal=causal,
        dtype=options.dtype,
        hidden_layers=hidden if "hidden" in options.keep else (),
        attention_layers=attention if "attention" in options.keep else (),
        tokens=options.tokens,
        attention_topk=options.attention_topk if "attention" in options.keep else None,
        attention_patterns=KEPT_PATTERNS if options.keeps_patterns else None,
        attention_rows=options.attention_rows if options.keeps_patterns else None,
        sites=site_layouts(model_config, options.keep, blocks),
    )


def example_table(
    examples: Sequence[Example],
    encodings: Sequence[Encoding],
    labels: np.ndarray,
    rows: Sequence[int],
    documents: np.ndarray,
) -> Examples:
    """What the cache says of its examples: tokens, alignment, labels, their `rows` in the split, the
    document of each (see document_numbers), and which have the same texts."""

    def flat(name: str, dtype: type) -> np.ndarray:
        return np.fromiter(itertools.chain.from_iterable(getattr(e, name) for e in encodings), dtype)

    def offsets(sizes: list[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    return Examples(
        offsets=offsets([len(e.input_ids) for e in encodings]),
        input_ids=flat("input_ids", np.int32),
        word_ids=flat("word_ids", np.int32),
        segment_ids=flat("segment_ids", np.int8),
        special_mask=flat("special_mask", np.bool_),
        word_offsets=offsets([e.words for e in examples]),
        labels=labels,
        spans=np.array([e.spans or ((0, 0), (0, 0)) for e in examples], np.int32).reshape(-1, 2, 2),
        rows=np.array(rows, np.int64),
        documents=documents.astype(np.int64),
        texts=np.array(text_numbers(examples), np.uint64),
    )
