from jobs.study import comparable
from jobs.tasks import Published

PUBLISHED = (
    Published(metric="accuracy", value=0.8, model="bert", source="one"),
    Published(metric="accuracy", value=0.9, model="biobert", source="two"),
)


def test_a_test_score_stands_beside_that_of_the_same_model_or_else_the_first():
    row = {"metric": "accuracy", "split": "test", "model": "biobert"}
    assert comparable(row, PUBLISHED) == {"published": 0.9, "source": "two (biobert)"}
    assert comparable(row | {"model": "gpt2"}, PUBLISHED) == {"published": 0.8, "source": "one (bert)"}
    assert comparable(row | {"split": "dev"}, PUBLISHED) == {}
    assert comparable(row | {"metric": "macro_f1"}, PUBLISHED) == {}
