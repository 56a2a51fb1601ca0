"""Scores that others reported; a result is compared with those of its model and its recipe alone."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from microtome.analysis.metrics import SCORES
from microtome.jobs.data.examples import Split
from microtome.jobs.tasks.recipe import Recipe
from microtome.store.config import Config, OneOf

# How a training is computed, not what is trained: two runs that differ in these follow the same recipe.
COMPUTATION = ("precision", "by_length", "gradient_checkpointing")
ZERO_SHOT = "zero-shot"  # the recipe of a model that answers without any training on the task


class Published(Config):
    """A score that others reported."""

    metric: Annotated[str, OneOf("metric", lambda: SCORES)] = Field(
        description="of the scores that are known"
    )
    value: float = Field(description="as a share, not in per cent")
    model: str = Field(description="name of the model, as suites call it")
    recipe: str = Field(
        "",
        description="name among the published recipes of the task, or zero-shot; unset where the recipe is "
        "not known: no run is compared with such a score",
    )
    split: Split = Field("test", description="split that was scored")
    drawn: bool = Field(
        False,
        description="the split was drawn by those who reported it, and is not known: a split that is drawn "
        "here may stand beside it",
    )
    label: str = Field("", description="class that the score is of; of all classes if unset")
    epoch: float | None = Field(
        None, gt=0, description="epochs trained when the score was taken; those of the recipe if unset"
    )
    source: str = Field(description="where it was reported")
    note: str = Field("", description="what a reader has to know before relying on the score")

    @model_validator(mode="after")
    def _is_a_value_of_the_metric(self) -> Self:
        low, high = SCORES[self.metric].bounds
        if not low <= self.value <= high:
            raise ValueError(f"value: {self.metric} is from {low:g} to {high:g}, not {self.value:g}")
        return self


def _is_of(score: Published, row: Mapping[str, Any]) -> bool:
    """Whether a score is of what a row is of: metric, split, class and model."""
    return (
        score.metric == row["metric"]
        and score.split == row.get("split")
        and score.label == (row.get("label") or "")
        and score.model == row.get("model")
    )


def known_settings(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a published recipe, without the settings that null says are not known."""
    return {name: value for name, value in stated.items() if value is not None}


def follows(recipe: Recipe, stated: Mapping[str, Any], epoch: float | None = None) -> bool:
    """Whether a training by `recipe` follows a published one, of which `stated` says what is known. A setting
    that is null there may have any value; one that is not named is at its default. How the training is
    computed is not looked at. `epoch` stands in for the stated number of epochs."""
    values = dict(stated) | ({} if epoch is None else {"epochs": epoch})
    expected = Recipe.model_validate(known_settings(values))
    unknown = {name for name, value in values.items() if value is None}
    ours, theirs = recipe.all_settings(), expected.all_settings()
    return all(ours[name] == theirs[name] for name in ours.keys() - unknown - set(COMPUTATION))


def published_score(
    row: Mapping[str, Any],
    published: Sequence[Published],
    recipes: Mapping[str, Mapping[str, Any]],
    recipe: Recipe,
    held_out: Collection[str] = (),
) -> Published | None:
    """The published score to print beside a row of a fine-tuning by `recipe`: of the same metric, split,
    class, model and recipe; None if there is no such score, or if a part of the training data was used.
    `held_out` are splits that were drawn here, which are not those of a score unless it is of a drawn one."""
    if row.get("fraction") != 100:
        return None
    of_row = (
        score
        for score in published
        if score.recipe in recipes and _is_of(score, row) and (score.drawn or score.split not in held_out)
    )
    return next((s for s in of_row if follows(recipe, recipes[s.recipe], s.epoch)), None)


def published_answer(row: Mapping[str, Any], published: Sequence[Published]) -> Published | None:
    """The published score to print beside a row of answers that a model gave without any training."""
    return next((s for s in published if s.recipe == ZERO_SHOT and _is_of(s, row)), None)


def published_columns(score: Published | None) -> dict[str, Any]:
    """A published score as columns of a result row."""
    if score is None:
        return {}
    source = f"{score.source}; {score.note}" if score.note else score.source
    return {"published": score.value, "published_model": score.model, "source": source}
