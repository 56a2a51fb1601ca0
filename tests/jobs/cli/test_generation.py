import json

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.cli.generation import generate_command
from microtome.jobs.kinds.generate import GenerateConfig, generate

GROUP = type(main)("microtome", commands=[generate_command])  # with the one-line errors of the command line
SHORT = ("--max-new-tokens", "6")


def call(*arguments):
    return CliRunner().invoke(GROUP, ("generate", *map(str, arguments)))


def lines(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


@pytest.mark.parametrize("name", ["gpt2", "biogpt"])
def test_prompts_of_options_and_of_a_file_are_continued_in_order(tiny_models, tmp_path, name):
    (tmp_path / "in.jsonl").write_text('{"prompt": "The drug"}\n')
    prompts = ("--prompt", "The gene", "--prompt", "", "--prompts", tmp_path / "in.jsonl")
    rows, _ = lines("--checkpoint", tiny_models / name, *prompts, *SHORT, "--samples", 2, "--seed", 3)
    config = GenerateConfig(max_new_tokens=6, samples=2, seed=3)
    assert rows == generate(tiny_models / name, ["The gene", "", "The drug"], config)


def test_a_file_gets_the_lines_that_the_screen_would(tiny_models, tmp_path):
    arguments = ("--checkpoint", tiny_models / "gpt2", "--prompt", "The gene", *SHORT)
    rows, _ = lines(*arguments)
    result = call(*arguments, "--out", tmp_path / "out.jsonl")
    assert result.output.strip() == f"wrote 1 rows: {tmp_path / 'out.jsonl'}"
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").open()] == rows


def test_a_checkpoint_of_the_store_goes_by_its_id(bench, tiny_models):
    checkpoint = bench.run(bench.finetune("nli", tiny_models / "gpt2", fraction=0))
    rows, _ = lines("--checkpoint", checkpoint.id, "--prompt", "The gene", *SHORT)
    assert [row["prompt"] for row in rows] == ["The gene"]


def test_a_task_gives_predictions_on_stdout_and_scores_on_stderr(tiny_models, small_tasks):
    arguments = ("--checkpoint", tiny_models / "biogpt", "--task", small_tasks["nli"], "--split", "dev")
    rows, said = lines(*arguments, "--score", "pmi")
    assert len(rows) == 20
    assert set(rows[0]) == {"id", "gold", "predicted", "log_likelihoods"}
    accuracy = sum(row["gold"] == row["predicted"] for row in rows) / 20
    header, *table = (line.split() for line in said.splitlines())
    assert header[:4] == ["metric", "value", "majority", "class"]
    values = {line[0]: float(line[1]) for line in table if line[0] in ("accuracy", "macro_f1")}
    assert values["accuracy"] == pytest.approx(accuracy)
    few, _ = lines(*arguments, "--score", "pmi", "--limit", 5)
    assert len(few) == 5
    by_id = {row["id"]: row for row in rows}
    for row in few:  # padded in other batches
        assert row["log_likelihoods"] == pytest.approx(by_id[row["id"]]["log_likelihoods"], abs=1e-4)


def test_a_published_score_stands_beside_a_whole_split_only(tiny_models, small_tasks, tmp_path):
    task = tmp_path / "known.yaml"
    asked = "--checkpoint", tiny_models / "gpt2", "--task", task
    row = "{{metric: accuracy, value: 0.911, model: {}, recipe: zero-shot, source: a paper}}"

    def publish(model):
        task.write_text(small_tasks["nli"].read_text() + f"published: [{row.format(model)}]")

    publish("another")
    _, said = lines(*asked)
    assert "a paper" not in said
    publish(tiny_models / "gpt2")
    _, said = lines(*asked)
    assert "0.9110" in said
    assert "a paper" in said
    _, said = lines("--checkpoint", tiny_models / "gpt2", "--task", task, "--limit", 5)
    assert "a paper" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no prompt: give --prompt TEXT, --prompts FILE or --task NAME"),
        (("--prompt", "x", "--task", "pubmedqa"), "--task asks its own questions"),
        (("--prompts", "EMPTY"), "empty.txt: no prompt"),
        (("--prompts", "nowhere.txt"), "nowhere.txt: No such file or directory"),
        (("--prompts", "BAD"), 'bad.jsonl:2: expected a text as "prompt"'),
        (("--task", "NER"), "cannot be answered by likelihood; types that can: classification"),
        (("--task", "pubmedqa", "--temperature", "1"), "--temperature has no meaning for --task"),
        (("--prompt", "x", "--score", "pmi"), "--score has no meaning for prompts"),
        (("--prompt", "x", "--max-new-tokens", "64"), "leaves no room for a prompt in the 64 positions"),
        (("--prompt", "x", "--top-p", "0"), "options: top_p: input should be greater than 0"),
        (
            ("--prompt", "x", "--max-new-tokens", "4", "--out", "EMPTY/a.jsonl"),
            "Not a directory",
        ),
    ],
)
def test_a_mistake_is_one_line(tiny_models, small_tasks, tmp_path, arguments, said):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n{"text": "x"}\n')
    files = {"EMPTY": tmp_path / "empty.txt", "BAD": tmp_path / "bad.jsonl", "NER": small_tasks["ner"]}

    def place(argument):
        name, _, rest = argument.partition("/")
        return files[name] / rest if name in files else argument

    result = call("--checkpoint", tiny_models / "gpt2", *(place(a) for a in arguments))
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_masked_model_is_refused(tiny_models):
    result = call("--checkpoint", tiny_models / "bert", "--prompt", "x")
    assert result.exit_code == 2
    assert "(bert) is no causal language model: it cannot continue a text" in result.stderr
    assert result.stderr.count("\n") == 1
