"""The settings that every training has, of a task or of a language model; each stands here and nowhere else.

A settings class that inherits them may have defaults of its own: `learning_rate: LearningRate = 5e-5`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from microtome.store.config import Config, runtime

LearningRate = Annotated[float, Field(gt=0, description="peak learning rate")]
BatchSize = Annotated[int, Field(ge=1, description="examples, or blocks of text, per optimisation step")]
WeightDecay = Annotated[
    float, Field(ge=0, description="weight decay: decoupled with adamw, added to the gradient with adam")
]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class TrainingSettings(Config):
    """How weights are trained."""

    learning_rate: LearningRate = 2e-5
    epochs: float = Field(3, gt=0, description="passes over the training data")
    batch_size: BatchSize = 32
    weight_decay: WeightDecay = 0.0
    warmup: float = Field(0.0, ge=0, le=1, description="share of the steps with rising learning rate")
    warmup_steps: int | None = Field(
        None, ge=0, description="number of steps with rising learning rate, in place of a share"
    )
    schedule: Literal["linear", "constant", "cosine"] = Field(
        "linear",
        description="of the learning rate after its rise: down to 0 in a line or a cosine, or constant",
    )
    cycles: int = Field(
        1,
        ge=1,
        description="times that the schedule, its rise and the optimiser's averages begin anew, each over an "
        "equal share of the steps (warm restarts)",
    )
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="adam: of torch, with weight decay as L2"
    )
    precision: Precision = Field(
        "auto",
        description="of the forward and backward pass: auto is bfloat16 on a GPU that computes in it, else "
        "float16, and float32 on a CPU",
    )

    gradient_checkpointing: bool = runtime(
        False,
        "compute what each block holds again in the backward pass: the memory of one block and not of all, a "
        "third more time, and the same weights",
    )

    processes: int = runtime(
        1,
        "over which weights, gradients and the optimiser's averages are sharded (FSDP), each with a GPU of "
        "its own if there are any; they share every batch, and the checkpoint is an ordinary one",
        ge=1,
    )

    @model_validator(mode="after")
    def _each_process_has_examples(self) -> Self:
        if self.processes > self.batch_size:
            raise ValueError(
                f"{self.processes} processes cannot share the {self.batch_size} examples of a step "
                "(batch_size): some would have nothing to do"
            )
        return self

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.warmup and self.warmup_steps is not None:
            raise ValueError(
                f"warmup {self.warmup:g} is a share and warmup_steps {self.warmup_steps} a count: set one of "
                "them (warmup: 0 undoes a share that was set before)"
            )
        return self
