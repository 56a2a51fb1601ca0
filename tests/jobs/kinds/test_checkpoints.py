"""What a checkpoint says of itself, as predict, export and the cards read it."""

import pytest

from microtome.jobs.kinds.checkpoints import AdaptedCheckpoint, FinetunedCheckpoint, finetuned
from microtome.jobs.kinds.records import AdaptRecord, FinetuneRecord
from microtome.jobs.models.adapter import AdapterDescription
from microtome.jobs.tasks import TRAINS_ONLY, Recipe
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import InputError

TUNED = {"type": "ner", "labels": ["Gene"], "seed": 3, "recipe": {"max_length": 64, "epochs": 2}}
ADAPTED = {"objective": "clm", "epochs": 2.0, "mask_share": 0.15, "seed": 1, "new": None}


@pytest.fixture
def made(tmp_path):
    """made(kind, config, *records): an artifact with these settings and notes."""
    store = Store(tmp_path / "store")

    def make(kind, config, *records):
        inputs = {"model": "m", "corpus": "c"}
        request = Request(kind, 1, config, inputs, "made", {"task": "genes", "model": "bert"})
        with store.begin(request) as staging:
            for record in records:
                record.write(staging.outputs)
        return store.find(request)

    return make


def test_a_fine_tuned_model_reads_back_what_was_written_and_fills_in_defaults(made):
    record = FinetuneRecord(
        training_examples=7,
        history=[{"epoch": 1.0, "entity_f1": 0.5}],
        truncated_words={"test": 2},
        also_in_train={"test": 0.0},
        label_subword="first",
    )
    checkpoint = FinetunedCheckpoint.of(made("finetune", TUNED, record))
    assert (checkpoint.task, checkpoint.type, checkpoint.labels) == ("genes", "ner", ("Gene",))
    assert (checkpoint.fraction, checkpoint.seed) == (100, 3)  # a fraction that is not written is the default
    assert checkpoint.recipe == Recipe(max_length=64, epochs=2)
    assert checkpoint.kind.head == "token"
    assert checkpoint.record == record
    assert checkpoint.settings["epochs"] == 2


def test_the_settings_of_an_untrained_model_are_those_that_had_an_effect(made):
    untrained = FinetunedCheckpoint.of(
        made("finetune", TUNED | {"fraction": 0}, FinetuneRecord(training_examples=0))
    )
    assert untrained.settings["max_length"] == 64
    assert not set(TRAINS_ONLY) & set(untrained.settings)


def test_settings_that_this_version_does_not_know_are_refused_in_a_line(made):
    other = made("finetune", TUNED | {"colour": "blue"}, FinetuneRecord(training_examples=1))
    with pytest.raises(InputError, match="unknown key in settings of finetune/made-.* 'colour'"):
        finetuned(other)


def test_an_adapted_model_reads_back_what_was_written(made):
    record = AdaptRecord(blocks={"training": 9, "heldout": 1}, parameters=100, trainable_parameters=10)
    adapter = AdapterDescription(base="bert", bytes=5)
    artifact = made("adapt", ADAPTED, record, adapter)
    adapted = AdaptedCheckpoint.of(artifact)
    assert (adapted.record, adapted.adapter) == (record, adapter)
    assert (adapted.objective, adapted.corpus) == ("clm", "c")
    assert adapted.settings == {"epochs": 2.0, "seed": 1}  # a causal model has no mask
    assert finetuned(artifact) is None
    assert AdaptedCheckpoint.of(made("adapt", ADAPTED | {"seed": 2}, record)).adapter is None
