"""The relation of two mentions in a text, or none."""

from collections.abc import Sequence

from microtome.analysis.metrics.scores import relation_scores
from microtome.jobs.data.examples import Example
from microtome.jobs.tasks.types.single_label import SingleLabel


class RelationClassification(SingleLabel):
    """The mentions are masked by their types. The first label of the task is "no relation": F1 counts the
    others only. A probe sees the two mentions."""

    texts = 1
    unit = "entity_pair"
    primary = "micro_f1"

    def score(
        self, examples: Sequence[Example], predicted: Sequence[str], labels: Sequence[str]
    ) -> dict[str, float]:
        return relation_scores([str(e.label) for e in examples], predicted, labels[1:])

    def counted(self, labels: Sequence[str]) -> Sequence[str]:
        return labels[1:]
