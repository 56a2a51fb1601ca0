"""What an extraction is asked for: what a cache holds, the views of a suite, and what a job reads."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from microtome.jobs.data.examples import Split
from microtome.jobs.kinds.job import Job, Sources
from microtome.jobs.kinds.planning import Step
from microtome.jobs.models.placement import ABOUT_DEVICE_MAP, DeviceMap
from microtome.jobs.models.source import ModelSource
from microtome.jobs.tasks.source import TaskData
from microtome.store.cache.formats import PART_FORMATS
from microtome.store.cache.formats.part import COMPRESSIONS
from microtome.store.cache.layout import SITES
from microtome.store.cache.token_rows import TOKENS
from microtome.store.config import Config, Layer, OneOf, Seed, runtime

Keep = Literal[
    "hidden", "attention", "query", "key", "value", "head_output", "attention_output", "mlp_output"
]
Tokens = Literal["all", "words", "first_subwords", "last_subwords", "labelled", "mean", "cls", "last"]
ATTENTION_ROWS = 16  # of each map


class ExtractConfig(Config):
    """What a cache holds."""

    keep: tuple[Keep, ...] = Field(
        ("hidden", "attention"),
        min_length=1,
        json_schema_extra={"any_order": True},
        description="what to keep of each layer: hidden states, attentions, and sites in a block by name",
    )
    tokens: Tokens = Field(
        "all",
        description="what to keep hidden states and sites of: "
        + "; ".join(f"{name}: {about}" for name, about in TOKENS.items()),
    )
    hidden_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="hidden layers, 0 the embeddings; all if unset",
    )
    attention_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="attention layers from 0; all if unset",
    )
    attention_keep: Literal["maps", "patterns"] = Field(
        "maps",
        description="patterns: in place of each map of attention, where its head attends (entropy, distance, "
        "shares of some kinds of tokens), computed with the model from every row, and attention_rows of the "
        "rows. A comparison has the same patterns as from maps; measures of change are estimates from these "
        "rows",
    )
    attention_rows: int = Field(
        ATTENTION_ROWS,
        ge=0,
        description="rows that attention_keep: patterns keeps of each map, those of the same queries for "
        "every model; with 0 no measure of change can be had",
    )
    attention_topk: int | None = Field(
        None,
        ge=1,
        description="of each row of attention keep so many of the largest weights and where they are; whole "
        "rows if unset. The log says how much of the rows that is",
    )
    site_layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="blocks to keep sites of, from 0; all if unset",
    )
    examples: int | None = Field(
        None, ge=1, description="at most so many examples, a seeded sample; all if unset"
    )
    sample_seed: Seed = Field(0, description="of the sample")
    segments: Literal["together", "separate"] = Field(
        "together", description="encode the texts of a pair in one sequence or each on its own"
    )
    max_length: int | None = Field(None, ge=8, description="tokens per sequence; the task's own if unset")
    dtype: Literal["float16", "bfloat16", "float32", "int8"] = Field(
        "float16",
        description="on disk; values beyond float16 lead to bfloat16 by themselves. int8 has a scale for "
        "each row, and the log says how large its errors are",
    )
    compute: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32", description="dtype of weights and activations; auto: what the checkpoint is published in"
    )
    # A reader returns the same arrays whatever the next three are, so a cache in another form is found.
    format: Annotated[str, OneOf("part format", PART_FORMATS.keys)] = runtime("zarr", "of the parts")
    compression: Annotated[str, OneOf("compression", lambda: COMPRESSIONS)] = runtime(
        "none", "lz4 saves about a tenth, zstd a fifth; both lossless, both cost time"
    )
    part_megabytes: int = runtime(256, "size of a part, the unit of memory and of resuming", ge=1)
    batch_tokens: int | None = runtime(
        None, "tokens per forward pass with padding; if unset, what suits the device", ge=16
    )

    device_map: DeviceMap = runtime("one", ABOUT_DEVICE_MAP)

    @model_validator(mode="after")
    def _layers_are_kept(self) -> "ExtractConfig":
        for what in ("hidden", "attention"):
            if what not in self.keep and getattr(self, f"{what}_layers") is not None:
                raise ValueError(f"{what}_layers has no effect, as keep leaves out {what}")
        sites = set(SITES) & set(self.keep)
        if self.site_layers is not None and not sites:
            raise ValueError(f"site_layers has no effect, as keep has none of {', '.join(SITES)}")
        if self.attention_topk is not None and "attention" not in self.keep:
            raise ValueError("attention_topk has no effect, as keep leaves out attention")
        if self.attention_keep != "maps" and "attention" not in self.keep:
            raise ValueError("attention_keep has no effect, as keep leaves out attention")
        if self.attention_topk is not None and self.attention_keep == "patterns":
            raise ValueError("attention_topk is of maps, which attention_keep: patterns does not keep")
        if self.attention_rows != ATTENTION_ROWS and self.attention_keep != "patterns":
            raise ValueError("attention_rows has no effect without attention_keep: patterns")
        if self.tokens != "all" and set(self.keep) == {"attention"}:
            raise ValueError("tokens has no effect, as attentions are kept of all tokens")
        return self

    @property
    def kept(self) -> str:
        """What is kept, in words for a table."""
        form = (
            "patterns" if self.keeps_patterns else f"top {self.attention_topk}" if self.attention_topk else ""
        )
        return " + ".join(f"{name} ({form})" if name == "attention" and form else name for name in self.keep)

    @property
    def keeps_patterns(self) -> bool:
        """Whether patterns of attention are kept in place of maps."""
        return "attention" in self.keep and self.attention_keep == "patterns"


class View(Step):
    """One cut of every checkpoint: which splits, and what is kept of them."""

    splits: dict[Split, Annotated[int, Field(ge=1)] | None] = Field(
        min_length=1, description="split -> at most so many examples, a seeded sample"
    )
    options: ExtractConfig = ExtractConfig()

    @model_validator(mode="after")
    def _sizes_have_effect(self) -> "View":
        whole = any(size is None for size in self.splits.values())
        if self.options.examples is not None and not whole:
            raise ValueError("options.examples has no effect, as splits give every size")
        if self.options.sample_seed and whole and self.options.examples is None:
            raise ValueError("options.sample_seed has no effect on a split that is taken whole")
        return self


class SplitConfig(Config):
    """An ExtractConfig applied to one split of one task."""

    type: str
    labels: tuple[str, ...]
    split: str
    extract: ExtractConfig


@dataclass(frozen=True)
class ExtractSources(Sources):
    """The checkpoint and the data of the task."""

    checkpoint: ModelSource
    data: TaskData

    @property
    def start(self) -> ModelSource:
        return self.checkpoint


ExtractJob = Job[SplitConfig, ExtractSources]
