import shutil
from collections import Counter

import pytest

from microtome.jobs.run.executor import Finished, execute
from microtome.jobs.run.local_runner import LocalRunner
from microtome.jobs.suite.include import suite_names
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.results import derived_rows, measured_rows
from microtome.jobs.suite.suite import load_suite
from microtome.store.artifacts.store import Store
from microtome.store.errors import InputError, MissingError
from microtome.store.results import COLUMNS, DERIVED_COLUMNS


class Silent:
    def submitted(self, job):
        pass

    def finished(self, job, error, seconds):
        pass

    def notice(self, text):
        pass


def run(suite, store, kinds=(), runner=None):
    plan = make_plan(load_suite(str(suite)), store)
    done = plan.done(store)
    store.remember(plan.identities)
    runner = runner or LocalRunner(store.root)
    return plan, execute(plan.wanted(kinds), done, plan.blocked(done, kinds), runner, Silent())


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_file_is_complete(name):
    suite = load_suite(name)
    assert suite.name == name
    assert suite.extract


def test_the_paper_has_its_four_models_with_random_ones_two_tasks_and_five_fractions(tmp_path):
    plan = make_plan(load_suite("paper"), Store(tmp_path))
    kinds = Counter(job.kind for job in plan.jobs)
    assert kinds["finetune"] == 4 * 2 * 5 * 5  # and five seeds
    checkpoints = 4 * 2 * (1 + 4 * 5)  # before fine-tuning there is one for all seeds
    drawn = 4 * 3 * 2  # of each architecture random weights, three times, for each task
    assert kinds["probe"] == (checkpoints + drawn) * 3
    assert kinds["similarity"] == 4 * 2 * 4 * 5
    assert kinds["attention"] == 4 * 2 * 4 * (5 + 4)  # each with before, and each seed with the next
    assert kinds["randomise"] == 4 * 3
    assert [(m.what, m.name) for m in plan.missing] == [
        ("model", "bert-base-cased"),
        ("model", "dmis-lab/biobert-v1.1"),
        ("model", "gpt2-medium"),
        ("model", "microsoft/biogpt"),
        ("dataset", "mednli"),
        ("dataset", "jnlpba"),
    ]
    assert all(m.how for m in plan.missing)
    assert len(plan.blocked(set())) == len(plan.jobs)
    assert list(tmp_path.iterdir()) == []


def test_jobs_come_after_what_they_need_and_before_is_extracted_once(small_suite, tmp_path):
    plan = make_plan(load_suite(str(small_suite)), Store(tmp_path / "store"))
    seen = set()
    for job in plan.jobs:
        assert set(job.needs) <= seen
        seen.add(job.id)
    assert len(seen) == len(plan.jobs)
    # two tasks x (base and two fractions) x three caches; separate encoding means nothing for one text
    assert Counter(job.kind for job in plan.jobs) == {
        "finetune": 6,
        "extract": 18,
        "probe": 6,
        "attention": 4,
    }


def test_the_whole_suite_runs_once_and_its_rows_are_tidy(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    plan, outcome = run(small_suite, store)
    assert outcome.ok, outcome.failed
    assert len(outcome.done) == len(plan.jobs)
    rows = measured_rows(plan, store)
    assert list(rows.columns) == list(COLUMNS)
    assert set(rows["kind"]) == {"finetune", "probe", "attention"}
    assert set(rows["model"]) == {"bert"}
    assert set(rows["fraction"]) == {0, 50, 100}
    assert not rows[["suite", "kind", "task", "metric", "value", "n"]].isna().any().any()
    keys = ["kind", "task", "model", "fraction", "seed", "split", "stage", "layer", "head", "probe"]
    keys += ["label", "predicted_label"]
    assert not rows.duplicated([*keys, "metric"]).any()
    assert not rows["artifact"].isna().any()
    derived = derived_rows(plan, store)
    assert list(derived.columns) == list(DERIVED_COLUMNS)
    assert set(derived["quantity"]) == {"gain", "from_best_layer", "best_layer_gain"}
    assert set(derived.loc[derived["quantity"] == "gain", "reference_fraction"]) == {0}
    assert (derived["low"] <= derived["value"]).all()
    assert (derived["value"] <= derived["high"]).all()
    own = rows[(rows["kind"] == "finetune") & (rows["metric"] == "entity_f1") & (rows["split"] == "test")]
    score = own.set_index("fraction")["value"]
    gains = derived[(derived["kind"] == "finetune") & (derived["metric"] == "entity_f1")]
    assert gains.set_index("fraction")["value"][100] == pytest.approx(score[100] - score[0])

    _, again = run(small_suite, store)
    assert again.done == []


@pytest.mark.thorough
def test_a_suite_may_start_from_a_checkpoint_in_the_store(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    run(small_suite, store, kinds=["finetune"])
    trained = next(a for a in store.list("finetune") if a.manifest["labels"]["fraction"] == 100)
    text = small_suite.read_text()
    source = f"models: {{twice: {{source: '{trained.id[:8]}'}}}}"
    small_suite.write_text(text.replace("models: [bert]", source))
    assert small_suite.read_text() != text
    plan, outcome = run(small_suite, store)
    assert outcome.ok, outcome.skipped
    assert {job.id for job in outcome.done} == {job.id for job in plan.jobs}
    assert {job.labels["model"] for job in plan.jobs} == {"twice"}


def test_results_are_read_where_models_and_data_are_not(small_suite, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    plan, _ = run(small_suite, store)
    monkeypatch.delenv("MICROTOME_MODELS")
    copied = Store(shutil.copytree(store.root, tmp_path / "laptop"))
    elsewhere = make_plan(load_suite(str(small_suite)), copied)
    assert [m.what for m in elsewhere.missing] == ["model"]
    assert elsewhere.done(copied) == {job.id for job in plan.jobs}
    assert elsewhere.blocked(elsewhere.done(copied)) == {}
    assert len(measured_rows(elsewhere, copied)) == len(measured_rows(plan, store))


def test_only_a_kind_runs_only_that_kind_and_names_what_it_needs(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    _, outcome = run(small_suite, store, kinds=("probe",))
    assert outcome.done == []
    make_it = "needs {0} jobs that are not done; make them: microtome suite run {1} --only {0}"
    first_missing = {reason for _, reason in outcome.skipped}
    assert first_missing == {make_it.format(kind, small_suite) for kind in ("extract", "finetune")}
    assert store.list() == []
    _, outcome = run(small_suite, store, kinds=("finetune",))
    assert {job.kind for job in outcome.done} == {"finetune"}
    assert len(outcome.done) == 6


def test_a_failed_job_stops_only_what_depends_on_it(small_suite, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    plan = make_plan(load_suite(str(small_suite)), store)
    broken = next(job for job in plan.jobs if job.kind == "finetune" and job.labels["fraction"] == 50)

    class Breaking(LocalRunner):
        def next_finished(self):
            if self._queue[0].id == broken.id:
                return Finished(self._queue.pop(0), "it broke", 0.0, "here")
            return super().next_finished()

    _, outcome = run(small_suite, store, runner=Breaking(store.root))
    assert [(job.id, reason) for job, reason in outcome.failed] == [(broken.id, "it broke")]
    assert {reason for _, reason in outcome.skipped} == {f"needs {broken.name}, which failed"}
    assert Counter(job.kind for job, _ in outcome.skipped) == {"extract": 3, "probe": 1, "attention": 1}
    assert len(outcome.done) == len(plan.jobs) - 6


def test_a_failing_job_says_why_and_leaves_a_log(bench, tiny_models):
    from microtome.jobs.run.executor import run_job

    job = bench.finetune("ner", tiny_models / "bert", max_length=500)
    error, _ = run_job(job, bench.store.root)
    assert error == "max_length 500 exceeds the 64 positions of this bert"
    assert error in bench.store.log_path(job.request).read_text()
    assert bench.store.list() == []
    assert not (bench.store.root / ".staging").exists()


def test_an_adapted_model_is_a_model_like_any_other(tmp_path, small_tasks):
    path = tmp_path / "s.yaml"
    path.write_text(f"""
name: s
description: a model from nothing, one adapted from it
models:
  small:
    adapt: &a
      objective: mlm
      new: {{architecture: bert, vocabulary: 300, dim: 16, layers: 1, heads: 2, max_length: 64}}
      corpus: {{format: synthetic, topic: general, documents: 40}}
      epochs: 4
      block_size: 32
      learning_rate: 3.0e-3
  adapted:
    adapt: {{<<: *a, new: null, base: small, corpus: {{format: synthetic, topic: biomedical, documents: 40}}}}
tasks: [{small_tasks["ner"]}]
fractions: [0]
extract: {{probing: {{splits: {{train: 10, test: 10}}, options: {{keep: [hidden]}}}}}}
probe: [{{view: probing}}]
""")
    store = Store(tmp_path / "store")
    plan, outcome = run(path, store)
    assert outcome.ok, outcome.failed
    rows = measured_rows(plan, store)
    adapt = rows[rows["kind"] == "adapt"].set_index(["model", "stage", "metric"])["value"]
    for model in ("small", "adapted"):
        assert adapt[model, "after", "masked_perplexity"] < adapt[model, "before", "masked_perplexity"]
    assert set(rows[rows["kind"] == "probe"]["model"]) == {"small", "adapted"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("models: [bert]", "model: [bert]"), "unknown key in .*small.yaml 'model'; did you mean 'models'"),
        (("options: {keep: [hidden]", "options: {kep: [hidden]"), "'kep'; did you mean 'keep'"),
        (("view: probing", "view: probin"), "unknown view in .* 'probin'; did you mean 'probing'"),
        (("{view: attending}", "{view: probing}"), "view 'probing' keeps no attention"),
        (("{train: 20, test: null}", "{test: null}"), "unknown split of view 'probing' in .* 'train'"),
        (("fractions: [0, 50, 100]", "fractions: few"), "fractions: input should be a valid"),
    ],
)
def test_a_bad_suite_file_is_one_line(small_suite, change, message):
    text = small_suite.read_text()
    assert change[0] in text
    small_suite.write_text(text.replace(*change))
    with pytest.raises(InputError, match=message):
        load_suite(str(small_suite))


def test_unknown_suites_and_overrides():
    with pytest.raises(InputError, match="unknown suite 'papr'; did you mean 'paper'"):
        load_suite("papr")
    with pytest.raises(MissingError, match="no suite file x.yaml"):
        load_suite("x.yaml")
    assert load_suite("paper", ["seeds=[1, 2]", "recipe.epochs=1"]).recipe == {"epochs": 1}
    blue = load_suite("blue", ["recipe.epochs=1", "recipes.hoc.epochs=2"])
    assert blue.recipe["epochs"] == 1
    assert {task: r["epochs"] for task, r in blue.recipes.items() if "epochs" in r} == {"hoc": 2}
    with pytest.raises(InputError, match="--set takes KEY=VALUE"):
        load_suite("paper", ["seeds"])
    with pytest.raises(InputError, match="'sead'; did you mean 'seeds'"):
        load_suite("paper", ["sead=1"])


def test_an_override_changes_identities(small_suite, tmp_path):
    store = Store(tmp_path / "store")
    plain = make_plan(load_suite(str(small_suite)), store)
    changed = make_plan(load_suite(str(small_suite), ["recipe.epochs=1"]), store)
    for trained in (False, True):  # at fraction 0 epochs decide nothing
        finetunes = [
            {
                job.id
                for job in plan.jobs
                if job.kind == "finetune" and (job.labels["fraction"] > 0) == trained
            }
            for plan in (plain, changed)
        ]
        assert finetunes[0]
        assert finetunes[0].isdisjoint(finetunes[1]) if trained else finetunes[0] == finetunes[1]
