"""Layers of a probe compared on the same test examples: which are worse than the best one, and how much
better the best layer after fine-tuning is than the best one before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from microtome.analysis.bootstrap import Difference, differences
from microtome.analysis.metrics.terms import MetricTerms
from microtome.analysis.probing.best_layers import best_layer

Run = tuple[str, float]  # model, fraction
FROM_BEST, BEST_GAIN = "from_best_layer", "best_layer_gain"


@dataclass
class LayerScores:
    """The scores of one probe of one task by run and layer: by test example, one per seed; and on dev,
    numbers, none where no dev part was probed."""

    test: dict[Run, dict[int, list[MetricTerms]]] = field(default_factory=dict)
    dev: dict[Run, dict[int, list[float]]] = field(default_factory=dict)

    def best(self, run: Run) -> int:
        on_test = {layer: fmean(s.value() for s in seeds) for layer, seeds in self.test[run].items()}
        on_dev = {layer: fmean(values) for layer, values in self.dev.get(run, {}).items()}
        return best_layer(on_test, on_dev)


@dataclass(frozen=True)
class LayerDifference:
    """The score of a layer of a run minus that of the reference.

    quantity  FROM_BEST: the reference is the best layer of the same run;
              BEST_GAIN: it is the best layer of the same model before fine-tuning, and `layer` the best after
    """

    quantity: str
    run: Run
    layer: int
    reference: Run
    reference_layer: int
    difference: Difference


def layer_differences(scores: LayerScores) -> Iterator[LayerDifference]:
    """Those of every run of which several layers were probed."""
    best = {run: scores.best(run) for run in scores.test}
    for run, layers in scores.test.items():
        others = [layer for layer in layers if layer != best[run]]
        several = differences([layers[layer] for layer in others], layers[best[run]]) if others else ()
        for layer, estimate in zip(others, several, strict=True):
            yield LayerDifference(FROM_BEST, run, layer, run, best[run], estimate)
        before = (run[0], 0.0)
        if others and run[1] > 0 and before in best:
            yield LayerDifference(
                BEST_GAIN, run, best[run], before, best[before], _gain(scores, best, run, before)
            )


def _gain(scores: LayerScores, best: Mapping[Run, int], run: Run, before: Run) -> Difference:
    sides: list[Sequence[MetricTerms]] = [scores.test[at][best[at]] for at in (run, before)]
    return differences(sides[:1], sides[1])[0]
