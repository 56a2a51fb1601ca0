"""Task types: what a label is, which head it needs, how it is scored, what a probe looks at."""

from jobs.tasks.types.ner import Ner
from jobs.tasks.types.pair import PairClassification
from jobs.tasks.types.task_type import TaskType

TASK_TYPES: dict[str, TaskType] = {
    "ner": Ner(),
    "pair-classification": PairClassification(),
}
