"""Task types: what a label is, which head it needs, how it is scored, what a probe looks at."""

from microtome.jobs.tasks.types.multi_label import DocumentsMultiLabel, MultiLabel
from microtome.jobs.tasks.types.ner import Ner
from microtome.jobs.tasks.types.pair import PairClassification
from microtome.jobs.tasks.types.question import QuestionAnswering
from microtome.jobs.tasks.types.relation import RelationClassification
from microtome.jobs.tasks.types.similarity import Similarity
from microtome.jobs.tasks.types.task_type import TaskType
from microtome.jobs.tasks.types.text import TextClassification

TASK_TYPES: dict[str, TaskType] = {
    "classification": TextClassification(),
    "multi-label": MultiLabel(),
    "multi-label-documents": DocumentsMultiLabel(),
    "ner": Ner(),
    "pair-classification": PairClassification(),
    "question-answering": QuestionAnswering(),
    "relation": RelationClassification(),
    "similarity": Similarity(),
}
