"""How a model is fine-tuned on a task."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from microtome.jobs.training_settings import TrainingSettings

Threshold = Annotated[float, Field(gt=0, lt=1)]


class Recipe(TrainingSettings):
    """How a model is fine-tuned on a task, unless a suite or an option says otherwise."""

    max_length: int = Field(128, ge=8, description="tokens per sequence, special tokens included")
    stride: int | None = Field(
        None,
        ge=0,
        description="a text longer than max_length goes through the model in windows that share so many "
        "tokens, and their predictions are joined; unset, it is cut",
    )
    keep: str = Field("best", pattern="^(best|last)$", description="checkpoint of the best or the last epoch")
    train_on: tuple[Literal["train", "dev"], ...] = Field(
        ("train",),
        min_length=1,
        json_schema_extra={"any_order": True},
        description="splits that are trained on; with dev among them, dev scores say nothing",
    )
    by_length: bool = Field(
        True, description="put texts of similar length into one batch; false: batches in random order"
    )
    head: Literal["linear", "mlp"] = Field(
        "linear",
        description="on the model: that of transformers, or a hidden layer with tanh before the classes",
    )
    pooling: Literal["auto", "mean"] = Field(
        "auto",
        description="what of a text the head reads: as transformers has it, the first token of most encoders "
        "and the last of causal models; or the mean over the tokens",
    )
    threshold: Threshold | Literal["dev"] = Field(
        0.5,
        description="of multi-label tasks: probability from which a class is predicted; dev: the one of 0.05 "
        "to 0.95 with the best primary score on dev",
    )
    positive_weight: float = Field(
        1.0,
        gt=0,
        description="in the loss, of a class that is there (multi-label), of a relation; above 1 if few are",
    )
    train_examples: int | None = Field(
        None, ge=1, description="at most so many training examples, whatever the fraction"
    )
    tags: Literal["iob2", "types"] = Field(
        "iob2",
        description="of tagging tasks, what the head tells apart: iob2, O and B- and I- of each type; types, "
        "O and each type, so that a run of words of one type is one entity",
    )
    label_subword: str = Field(
        "auto",
        pattern="^(auto|first|last)$",
        description="subword that carries a word's label; auto: first for encoders, last for causal models",
    )

    @model_validator(mode="after")
    def _dev_chooses_or_trains(self) -> Self:
        if "dev" in self.train_on and self.keep == "best":
            raise ValueError("train_on has dev, which cannot say which epoch is best then; set keep: last")
        if "dev" in self.train_on and self.threshold == "dev":
            raise ValueError("train_on has dev, which cannot say which threshold is best then; give a number")
        return self


# What of a recipe has no effect where nothing is trained.
TRAINS_ONLY = (
    *(name for name in TrainingSettings.model_fields if name != "precision"),
    "keep",
    "train_on",
    "by_length",
    "positive_weight",
    "train_examples",
)
