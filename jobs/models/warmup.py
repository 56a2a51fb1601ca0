"""The beginning of a training, in which the learning rate rises: a share of its steps, or a count."""

from typing import Self

from pydantic import Field, model_validator

from microtome.store.config import Config


class Warmup(Config):
    """What every settings class of a training has in common."""

    warmup: float = Field(0.0, ge=0, le=1, description="share of the steps with rising learning rate")
    warmup_steps: int | None = Field(
        None, ge=0, description="number of steps with rising learning rate, in place of a share"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.warmup and self.warmup_steps is not None:
            raise ValueError(
                f"warmup {self.warmup:g} is a share and warmup_steps {self.warmup_steps} a count: set one of "
                "them (warmup: 0 undoes a share that was set before)"
            )
        return self
