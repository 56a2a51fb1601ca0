"""Yes, no or maybe: a question, and the contexts that answer it."""

from microtome.jobs.tasks.types.single_label import SingleLabel


class QuestionAnswering(SingleLabel):
    """The question is the first text, all contexts together the second; the longer is cut."""

    texts = 2
    unit = "segment_pair"
