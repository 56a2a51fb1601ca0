"""Plans of suites in which a model is made first, and of what is asked of models without a head."""

import pytest

from microtome.jobs.run.executor import execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.results import measured_rows
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError

SUITE = """
name: small
description: a causal model, and the same adapted
models:
  gpt2: {{}}
  adapted:
    adapt:
      objective: clm
      base: gpt2
      corpus: {{format: text, path: mine/corpus.txt, separator: line}}
      epochs: 1
      block_size: 32
tasks: [{task}]
fractions: [0, 100]
extract:
  probing: {{splits: {{test: 10}}, options: {{keep: [hidden]}}}}
  attending: {{splits: {{test: 10}}, options: {{keep: [attention]}}}}
attention: [{{view: attending}}]
similarity: [{{view: probing}}]
generate: [{{prompts: [The gene, The drug], options: {{max_new_tokens: 4}}}}]
answer: [{{task: {task}, options: {{limit: 6}}}}]
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Where the suite's corpus is."""
    monkeypatch.setenv("MICROTOME_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "mine" / "corpus.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"the drug number {i} was given to a patient with fever\n" for i in range(60)))
    return path


@pytest.fixture
def suite(tmp_path, small_tasks, tiny_models, monkeypatch):
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    path = tmp_path / "small.yaml"
    path.write_text(SUITE.format(task=small_tasks["nli"]))
    return load_suite(str(path))


def of(plan, kind, **labels):
    """The jobs of a kind with these labels."""
    return [j for j in plan.jobs if j.kind == kind and labels.items() <= j.labels.items()]


def cache(plan, keep, **labels):
    """The id of the one cache of this view and model."""
    [found] = [job for job in of(plan, "extract", **labels) if job.config.extract.keep == (keep,)]
    return found.id


@pytest.mark.parametrize(("kind", "keep"), [("attention", "attention"), ("similarity", "hidden")])
def test_an_adapted_model_is_compared_with_its_base_and_both_with_what_is_tuned(
    suite, corpus, store, kind, keep
):
    plan = make_plan(suite, store)
    assert plan.missing == ()
    [across] = of(plan, kind, model="adapted", fraction=0)
    base, adapted = (cache(plan, keep, model=name, fraction=0) for name in ("gpt2", "adapted"))
    assert across.inputs == {"before": base, "after": adapted}
    assert set(across.needs) == {base, adapted}
    assert of(plan, kind, model="gpt2", fraction=0) == []
    for name, before in (("gpt2", base), ("adapted", adapted)):
        [tuned] = of(plan, kind, model=name, fraction=100)
        assert tuned.inputs == {"before": before, "after": cache(plan, keep, model=name, fraction=100)}
    assert len(of(plan, kind)) == 3


def test_everything_of_an_adapted_model_waits_for_it(suite, corpus, store):
    plan = make_plan(suite, store)
    [made] = of(plan, "adapt")
    direct = [*of(plan, "finetune", model="adapted"), *of(plan, "generate", model="adapted")]
    direct += [*of(plan, "answer", model="adapted"), *of(plan, "extract", model="adapted", fraction=0)]
    assert [job.needs for job in direct] == [(made.id,)] * (2 + 1 + 1 + 2)
    assert not {made.id} & {need for job in plan.jobs if job.labels["model"] == "gpt2" for need in job.needs}


def test_what_is_asked_without_a_head_is_planned_for_every_model(suite, corpus, store):
    plan = make_plan(suite, store)
    for name in ("gpt2", "adapted"):
        [written] = of(plan, "generate", model=name)
        assert written.sources.prompts == ("The gene", "The drug")
        assert written.config.max_new_tokens == 4
        [answered] = of(plan, "answer", model=name)
        assert (answered.labels["task"], answered.config.answer.limit) == ("small-nli", 6)
        assert answered.inputs["data"] == of(plan, "extract", model=name)[0].inputs["data"]
    assert len({job.id for kind in ("generate", "answer") for job in of(plan, kind)}) == 4


def test_models_are_made_and_asked(suite, corpus, store):
    plan = make_plan(suite, store)
    kinds = ("adapt", "generate", "answer")
    outcome = execute(
        plan.wanted(kinds), set(), plan.blocked(set(), kinds), LocalRunner(store.root), Silent()
    )
    assert outcome.ok, outcome.failed
    rows = measured_rows(plan, store)
    assert set(rows["kind"]) == set(kinds)
    answered = rows[(rows["kind"] == "answer") & (rows["metric"] == "accuracy")]
    assert answered.set_index("model")["n"].to_dict() == {"gpt2": 6, "adapted": 6}


class Silent:
    def submitted(self, job):
        pass

    def finished(self, job, error, seconds):
        pass


def test_a_missing_corpus_is_listed_with_how_to_get_it(suite, corpus, store):
    corpus.unlink()
    plan = make_plan(suite, store)
    [missing] = plan.missing
    assert (missing.what, missing.name) == ("corpus", "adapted")
    assert missing.why == f"no corpus at mine/corpus.txt or {corpus}"
    assert missing.how == "put the text corpus at $MICROTOME_DATA/mine/corpus.txt, or change its path"
    [made] = of(plan, "adapt")
    assert made.sources.absences() == [missing]
    assert plan.unidentified == ("corpus:adapted",)
    assert plan.blocked(set())[made.id] == f"{missing.why}. {missing.how}"
    assert not store.root.exists()


def test_a_corpus_that_was_seen_once_keeps_its_identity(suite, corpus, store):
    seen = make_plan(suite, store)
    store.remember(seen.identities)
    corpus.unlink()
    later = make_plan(suite, store)
    assert [m.what for m in later.missing] == ["corpus"]
    assert later.unidentified == ()
    assert [job.id for job in later.jobs] == [job.id for job in seen.jobs]


def test_a_model_is_made_after_the_one_it_is_made_from(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ndescription: d\ntasks: [demo-ner]\nmodels:\n"
        "  new: {adapt: {objective: mlm, base: bert, corpus: {format: synthetic}}}\n  bert: {}\n"
    )
    with pytest.raises(InputError, match="model 'new' is made from 'bert', which must stand before it"):
        load_suite(str(path))
