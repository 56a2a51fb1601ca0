"""How the layers are probed. Apart from run.py, so that reading a suite imports no scikit-learn."""

from typing import Annotated

from pydantic import Field, model_validator

from microtome.analysis.pooling import Pair, Pooling
from microtome.analysis.probing.probes import OPTIONAL, PROBES, FitSettings, ProbeSettings
from microtome.store.config import Layer, OneOf

MIX = "scalar-mix"


def probe_names() -> tuple[str, ...]:
    """What `probe` may be: a probe of single layers, or the mix of all."""
    return (*PROBES, MIX)


def _about_probes() -> str:
    """A line on each."""
    lines = [f"{name}: {PROBES.about(name)}" for name in PROBES]
    mix = "one linear probe of a learned mix of all layers, with its weights and their centre of gravity"
    return " ".join([*lines, f"{MIX}: {mix}"])


class ProbeConfig(FitSettings):
    """How the layers are probed."""

    probe: Annotated[str, OneOf("probe", probe_names)] = Field("linear", description=_about_probes())
    layers: tuple[Layer, ...] | None = Field(
        None,
        min_length=1,
        json_schema_extra={"any_order": True},
        description="hidden layers to probe, 0 the embeddings; all if unset",
    )
    pooling: Pooling = Field(
        "mean",
        description="which subwords of a word, or tokens of a text, make its vector; mean-all: the mean of "
        "all tokens of a text, special ones included",
    )
    pair: Pair = Field(
        "both",
        description="features of a pair: both vectors side by side; or also their difference and product",
    )
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.001, 0.01, 0.1, 1.0),
        min_length=1,
        description="inverse L2 regularisation; the best on dev is taken, after one more step where that is "
        "an end of the grid (one value: no choice)",
    )
    bag_strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
        min_length=1,
        description="the same of the bag of words",
    )
    controls: bool = Field(
        True,
        description="also a control task, one random label per word type or per example; selectivity, plain "
        "and over the majority labels",
    )
    codelength: bool = Field(
        True, description="also the online description length, in bits, where the probe has probabilities"
    )
    baselines: bool = Field(True, description="also the majority label and a bag of words")
    resamples: int = Field(1000, ge=0, description="of the 95 % bootstrap intervals over documents; 0: none")

    @model_validator(mode="after")
    def _options_have_effect(self) -> "ProbeConfig":
        changed = [name for name in OPTIONAL if getattr(self, name) != type(self).model_fields[name].default]
        if changed:  # else the probe, which may need large libraries, is not imported
            takes = PROBES[self.probe].takes if self.probe in PROBES else ()
            for name in changed:
                if name not in takes:
                    raise ValueError(f"probe: {self.probe} has no {name}")
        return self

    def settings(self) -> ProbeSettings:
        """What a probe is told, but for the strength."""
        fit = {name: getattr(self, name) for name in FitSettings.model_fields}
        return ProbeSettings(strength=self.strengths[0], **fit)
