"""What of hidden states is compared. Apart from similarity.py, so that reading a suite imports no scipy."""

from typing import Literal

from pydantic import Field

from microtome.store.config import Config, Layer, Seed

Measure = Literal["linear_cka", "rsa", "rbf_cka"]
DEFAULT_MEASURES: tuple[Measure, ...] = ("linear_cka", "rsa")
LEAST_ROWS = 4  # the unbiased estimate divides by n - 3


class SimilarityConfig(Config):
    """What is compared."""

    measures: tuple[Measure, ...] = Field(
        DEFAULT_MEASURES,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="linear_cka, debiased; rsa, Spearman correlation of the dissimilarities between tokens; "
        "rbf_cka, with Gaussian kernels, biased",
    )
    layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="hidden layers, 0 the embeddings; all that are kept if unset",
    )
    tokens: int = Field(10_000, ge=LEAST_ROWS, description="at most so many tokens, special ones left out")
    items: int = Field(
        1000, ge=LEAST_ROWS, description="of these tokens, at most so many for rsa and rbf_cka"
    )
    seed: Seed = Field(0, description="of the sample of tokens")
