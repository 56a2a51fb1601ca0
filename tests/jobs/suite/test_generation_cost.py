"""What jobs that write and answer cost, by hand and against what goes through a model when they run."""

import json
import math

import pytest
import transformers

from microtome.jobs.cli import main
from microtome.jobs.kinds.answer import AnswerConfig, answer_job
from microtome.jobs.kinds.generate import GenerateConfig, generate_job
from microtome.jobs.models.compute import Generation, ModelShape, Texts
from microtome.jobs.models.source import find_model
from microtome.jobs.suite.cost import plan_cost, seconds_on
from microtome.jobs.suite.disk import cache_bytes
from microtome.jobs.suite.generation import answered, generated
from microtome.jobs.suite.gpus import GPUS
from microtome.jobs.suite.plan import make_plan
from microtome.jobs.suite.suite import load_suite
from microtome.jobs.suite.workload import Workloads
from microtome.jobs.tasks import load_task
from microtome.jobs.tasks.source import find_data
from microtome.store.artifacts.store import Store

PROMPTS = ("The gene was", "Patients with severe headache received the drug and", "It")
SUITE = """
name: writing
description: a model that writes and answers
models: {{small: {{source: {model}, fractions: []}}}}
tasks: [{task}]
generate:
  - {{prompts: [The gene was, It], options: {{max_new_tokens: 9, samples: 3, batch_size: 4}}}}
answer:
  - {{task: {task}, options: {{batch_size: 4}}}}
"""


@pytest.fixture
def passes(monkeypatch):
    """The sizes of what goes through a GPT-2 with its output layer: (sequences, tokens of each) per pass."""
    noted = []
    real = transformers.GPT2LMHeadModel.forward

    def forward(self, input_ids=None, **more):
        noted.append(tuple(input_ids.shape))
        return real(self, input_ids=input_ids, **more)

    monkeypatch.setattr(transformers.GPT2LMHeadModel, "forward", forward)
    return noted


def tokens(passes):
    return sum(sequences * length for sequences, length in passes)


def test_what_is_counted_of_writing_goes_through_the_model(bench, tiny_models, passes):
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    settings = GenerateConfig(max_new_tokens=7, temperature=0, batch_size=1)
    job = generate_job(model, settings, PROMPTS)
    counted = generated(job, model.path, model.name)
    bench.run(job)
    assert len(passes) == counted.passes == 3 * 7
    assert tokens(passes) == counted.prompts.tokens + counted.written.tokens
    assert counted.longest == max(length for _, length in passes) + 7
    # A new token is read behind its prompt and those before it.
    lengths = [length for _, length in passes[::7]]
    assert counted.prompts == Texts(3, sum(lengths), sum(n * n for n in lengths))
    assert counted.written.squares == sum(n + t for n in lengths for t in range(1, 7))


@pytest.mark.parametrize("shots", [0, 1])
def test_what_is_counted_of_answering_goes_through_the_model(bench, tiny_models, small_tasks, passes, shots):
    task = load_task(str(small_tasks["nli"]))
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    settings = AnswerConfig(batch_size=1, shots=shots, limit=5, template="{first} so {second} :")
    job = answer_job(task, find_data(task), model, settings)
    counted = answered(job, model.path, model.name)
    bench.run(job)
    assert len(passes) == counted.passes == 6 * 2  # and the template without texts; choices of several tokens
    assert tokens(passes) == counted.prompts.tokens + counted.written.tokens
    assert counted.batch == 3  # labels


def test_a_long_prompt_counts_as_what_is_left_of_it(bench, tiny_models):
    model = find_model(str(tiny_models / "gpt2"), bench.store)
    counted = generated(
        generate_job(model, GenerateConfig(max_new_tokens=10), ["gene " * 500]), model.path, ""
    )
    assert counted.prompts.tokens == 64 - 10
    assert counted.longest == 64


@pytest.mark.parametrize("count", [generated, answered])
def test_a_model_that_cannot_write_is_not_counted(bench, tiny_models, small_tasks, count):
    model = find_model(str(tiny_models / "bert"), bench.store)
    task = load_task(str(small_tasks["nli"]))
    jobs = {
        generated: generate_job(model, GenerateConfig(), PROMPTS),
        answered: answer_job(task, find_data(task), model, AnswerConfig()),
    }
    assert count(jobs[count], model.path, model.name) is None
    assert Workloads([jobs[count]], set(), bench.store).of(jobs[count], None) is None


def test_operations_memory_and_reads_by_hand():
    # Two prompts of 3 and 5 tokens, 4 new tokens each, together.
    written = Texts(2, 2 * 3, (3 + 1) + (3 + 2) + (3 + 3) + (5 + 1) + (5 + 2) + (5 + 3))
    generation = Generation(Texts(2, 8, 9 + 25), written, predictions=8, passes=4, batch=2, longest=9)
    shape = ModelShape(1000, 100, layers=2, width=8, attention_width=8, heads=2, vocabulary=10)
    # Two operations per parameter and token, 4 x 2 x 8 per pair of tokens, and ten scores of 8 values each.
    expected = 2 * 900 * (8 + 6) + 4 * 2 * 8 * (34 + 36) + 2 * 10 * 8 * 8
    assert shape.generation_flops(generation) == expected
    assert shape.generation_reads(generation, half=False) == (900 + 10 * 8) * 4 * 4
    # Weights, keys and values of two sequences of 9 in two layers, and the scores.
    assert shape.generation_bytes(generation, half=False) == 4000 + 2 * 2 * 8 * 2 * 9 * 4 + 2 * 10 * 4


def test_writing_takes_as_long_as_reading_the_weights():
    h100 = GPUS["h100"]
    assert seconds_on(h100, 0.3, 0, half=False, read=3350e9) == 1
    assert seconds_on(h100, 0.5, 67e12, half=False, read=3350e9) == 2  # unless computing takes longer


@pytest.fixture
def suite(tmp_path, tiny_models, small_tasks):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.format(model=tiny_models / "gpt2", task=small_tasks["nli"]))
    return path


def test_a_plan_knows_what_writing_and_answering_cost(suite, tmp_path):
    store = Store(tmp_path / "store")
    plan = make_plan(load_suite(str(suite)), store)
    cost = plan_cost(plan, store, set(), cache_bytes(plan, store), "h100", GPUS["h100"])
    kinds = {kind.kind: kind for kind in cost.kinds}
    assert {"generate", "answer"} <= kinds.keys()
    assert [kind.unknown for kind in cost.kinds] == [0] * len(cost.kinds)
    works = Workloads(plan.jobs, set(), store)
    [job] = [job for job in plan.jobs if job.kind == "generate"]
    work = works.of(job, None)
    assert kinds["generate"].tokens == work.tokens
    assert kinds["generate"].hours * 3600 == pytest.approx(work.read / 3350e9)
    assert work.read > 0
    assert math.isfinite(kinds["answer"].hours)


def test_the_command_names_no_job_as_unknown(suite):
    from click.testing import CliRunner

    shown = CliRunner().invoke(main, ["suite", "plan", str(suite), "--format", "json"])
    assert shown.exit_code == 0, shown.output
    kinds = {kind["kind"]: kind for kind in json.loads(shown.output)["cost"]["kinds"]}
    assert kinds["generate"]["unknown"] == kinds["answer"]["unknown"] == 0
    assert kinds["generate"]["tokens"] > 0
