"""One class for one text."""

from microtome.jobs.tasks.types.single_label import SingleLabel


class TextClassification(SingleLabel):
    """A probe sees the mean of the text's tokens."""

    texts = 1
    unit = "text"
