"""What it takes to compute with a model: operations and memory, from its config.json alone.

Operations are multiplications and additions of matrix products, two for each parameter and token, and those
of attention, which grow with the square of a text (Kaplan et al. 2020, arXiv:2001.08361, section 2.1; and
Chowdhery et al. 2022, arXiv:2204.02311, appendix B). The backward pass takes twice those of the forward pass.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINING_PASSES = 3  # forward, and a backward pass of twice its operations
FROZEN_PASSES = 2  # where the weights stay: no gradient of them, only of activations
# Bytes per trained parameter: the float32 weight, its gradient, and two averages of Adam.
TRAINED_BYTES = 16
# Bytes that a layer keeps for the backward pass, per token and unit of width, in half precision, where
# attention is computed in blocks (Korthikanti et al. 2022, arXiv:2205.05198, section 4.1, without its term of
# attention).
KEPT_BYTES = 34


@dataclass(frozen=True)
class Texts:
    """Sequences that go through a model: how many, their tokens, and the sum of their squared lengths."""

    sequences: float = 0
    tokens: float = 0
    squares: float = 0

    def __add__(self, other: "Texts") -> "Texts":
        return Texts(
            self.sequences + other.sequences, self.tokens + other.tokens, self.squares + other.squares
        )

    def times(self, factor: float) -> "Texts":
        """As many of them, of the same lengths on average."""
        return Texts(self.sequences * factor, self.tokens * factor, self.squares * factor)


@dataclass(frozen=True)
class Generation:
    """What a causal language model reads and writes: `prompts`, then tokens behind them, `written` with what
    is before each as their `squares`. `predictions` are the places at which it scores its whole vocabulary,
    `passes` how often its weights are read from memory; `batch` sequences of up to `longest` tokens go
    through it together."""

    prompts: Texts
    written: Texts
    predictions: float
    passes: float
    batch: int
    longest: int


@dataclass(frozen=True)
class ModelShape:
    """`embeddings` are the parameters in lookup tables, which no matrix product reads; `attention_width` is
    heads times the width of a head."""

    parameters: int
    embeddings: int
    layers: int
    width: int
    attention_width: int
    heads: int
    vocabulary: int

    def forward_flops(self, texts: Texts, *, predicts_tokens: bool = False) -> float:
        """Operations of a forward pass; with the output layer of a language model if it predicts tokens."""
        matrices = self.parameters - self.embeddings
        if predicts_tokens:
            matrices += self.vocabulary * self.width
        return 2 * matrices * texts.tokens + 4 * self.layers * self.attention_width * texts.squares

    def generation_flops(self, generation: Generation) -> float:
        """Operations of a causal model that keeps the keys and values of what it has read."""
        scores = 2 * self.vocabulary * self.width * generation.predictions
        return self.forward_flops(generation.prompts) + self.forward_flops(generation.written) + scores

    def generation_reads(self, generation: Generation, *, half: bool) -> float:
        """Bytes of weights that come from the GPU's memory: all matrices, in each pass."""
        matrices = self.parameters - self.embeddings + self.vocabulary * self.width
        return matrices * (2 if half else 4) * generation.passes

    def generation_bytes(self, generation: Generation, *, half: bool) -> float:
        """GPU memory at its peak while a model writes, about: weights, and keys and values of a batch."""
        size = 2 if half else 4
        kept = 2 * self.layers * self.attention_width * generation.batch * generation.longest * size
        return self.parameters * size + kept + generation.batch * self.vocabulary * 4

    def training_bytes(
        self, batch: int, length: int, *, half: bool, trained: float = 1, predicts_tokens: bool = False
    ) -> float:
        """GPU memory at its peak while a share of the parameters is trained, about."""
        weights = self.parameters * (4 + (TRAINED_BYTES - 4) * trained)
        size = 1 if half else 2
        kept = batch * length * self.layers * self.width * KEPT_BYTES * size
        logits = batch * length * self.vocabulary * 8 if predicts_tokens else 0  # and their gradients
        return weights + kept + logits

    def extraction_bytes(self, tokens: int, length: int, part: float, *, half: bool, maps: bool) -> float:
        """GPU memory at its peak while `tokens` go through at once and a part of a cache is filled, about."""
        size = 2 if half else 4
        passing = tokens * self.width * KEPT_BYTES * size / 2  # of one layer at a time
        if maps:
            passing += 3 * tokens * length * self.heads * size  # before, in and after the softmax
        return self.parameters * size + passing + part


def shape_of(folder: Path) -> ModelShape:
    """The shape of the model that a config.json describes: transformers builds it without weights. Of an
    encoder and a decoder it is that of the encoder."""
    import torch
    from transformers import AutoModel

    from microtome.jobs.models import loading

    config: Any = loading.load_config(folder)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    model = model.get_encoder() if config.is_encoder_decoder else model
    tables = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    heads = int(getattr(config, "num_attention_heads", 0) or 0)
    width = int(config.hidden_size)
    head = getattr(config, "head_dim", None) or (width // heads if heads else 0)
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        embeddings=sum(table.weight.numel() for table in tables),
        layers=int(config.num_hidden_layers),
        width=width,
        attention_width=heads * int(head),
        heads=heads,
        vocabulary=int(config.vocab_size),
    )
