"""One class for a pair of texts: natural language inference and its like."""

from microtome.jobs.tasks.types.single_label import SingleLabel


class PairClassification(SingleLabel):
    """Both texts go through the model together."""

    texts = 2
    unit = "segment_pair"
