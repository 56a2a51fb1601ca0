"""The relation of two mentions in a text, or none."""

from collections.abc import Sequence

from microtome.analysis.metrics.labels import ClassLabels, class_labels
from microtome.jobs.data.examples import Example, document_names
from microtome.jobs.tasks.types.single_label import SingleLabel


class RelationClassification(SingleLabel):
    """The mentions are masked by their types. The first label of the task is "no relation": F1 counts the
    others only. A probe sees the two mentions.

    Of a pair with several gold relations (ChemProt has a few) one may be predicted; every other one is a unit
    of its own for which "no relation" was predicted, so that it counts as missed."""

    texts = 1
    unit = "entity_pair"
    metrics = ("micro_f1", "micro_precision", "micro_recall", "macro_f1", "accuracy")

    def labelled(
        self, examples: Sequence[Example], predicted: Sequence[str], labels: Sequence[str]
    ) -> ClassLabels:
        gold: list[str] = []
        predictions: list[str] = []
        groups: list[str] = []
        for example, prediction, document in zip(examples, predicted, document_names(examples), strict=True):
            first, *missed = _with_the_right_one_first(
                (str(example.label), *example.further_labels), prediction
            )
            gold += [first, *missed]
            predictions += [prediction, *(labels[0] for _ in missed)]
            groups += [document] * (1 + len(missed))
        return class_labels(gold, predictions, labels, first_counted=1, groups=groups)

    def counted(self, labels: Sequence[str]) -> Sequence[str]:
        return labels[1:]


def _with_the_right_one_first(relations: Sequence[str], predicted: str) -> list[str]:
    """The gold relations of a pair; the predicted one stands first if it is among them."""
    return sorted(relations, key=lambda relation: relation != predicted)
