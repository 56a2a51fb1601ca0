"""The relation of two mentions in a text, or none."""

from collections.abc import Sequence

from microtome.analysis.metrics.labels import ClassLabels, class_labels
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.single_label import SingleLabel


class RelationClassification(SingleLabel):
    """The mentions are masked by their types. The first label of the task is "no relation": F1 counts the
    others only. A probe sees the two mentions."""

    texts = 1
    unit = "entity_pair"
    metrics = ("micro_f1", "micro_precision", "micro_recall", "macro_f1", "accuracy")

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[str], labels: Sequence[str]
    ) -> ClassLabels:
        gold = [str(e.label) for e in examples]
        return class_labels(gold, predicted, labels, first_counted=1, groups=document_names(examples))

    def counted(self, labels: Sequence[str]) -> Sequence[str]:
        return labels[1:]
