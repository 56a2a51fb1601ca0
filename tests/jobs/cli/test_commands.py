import json
import re
import shlex
import shutil
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Store

ROOT = Path(__file__).parents[3]


def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def commands(group=main, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value)[:40])
def test_every_command_and_option_has_help(path, command):
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help, (path, parameter.name)
    shown = " ".join(call(*path, "--help").split())
    assert shown.startswith(f"Usage: main {' '.join(path)} ")
    assert " ".join(command.help.partition("\n\n")[0].split()) in shown
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert max(parameter.opts, key=len) in shown


DOCUMENTS = {
    name: (ROOT / name).read_text("utf-8") for name in ("README.md", "CONTRIBUTING.md", "jobs/README.md")
}


def documented():
    """Every `microtome ...` line of the documents, those of consoles and those in running text, as words."""
    for name, text in DOCUMENTS.items():
        text = text.replace("\\\n", " ")
        lines = re.findall(r"^(?:\$ )?(?:.*/)?microtome (.*)$", "\n".join(blocks(text)), re.M)
        spans = re.findall(r"`(?:\w+=\S+ )*microtome ([^`]*)`", re.sub(r"```.*?```", "", text, flags=re.S))
        for line in [*lines, *(" ".join(span.split()) for span in spans)]:
            line = line.partition("  #")[0].partition(" # ")[0].partition(" > ")[0]
            yield pytest.param(shlex.split(line.replace("\\|", "|")), id=f"{name}: {line}"[:60])


def blocks(text):
    return re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)


@pytest.mark.parametrize("words", list(documented()))
def test_a_command_in_the_documents_is_one_that_there_is(words):
    """Down to its options and their values, where these are no placeholders."""
    command, names = main, list(words)
    while names and isinstance(command, click.Group):
        assert names[0] in command.commands, f"no command {names[0]} in {words}"
        command = command.commands[names.pop(0)]
    known = {option: p for p in command.params for option in (*p.opts, *p.secondary_opts)}
    for at, word in enumerate(names):
        option, _, value = word.partition("=")
        if not option.startswith("-"):
            continue
        assert option in known, f"{option} in {words}"
        value = value or (names[at + 1] if at + 1 < len(names) else "")
        if isinstance(known[option].type, click.Choice):
            assert value in known[option].type.choices or set(value.split("|")) <= set(
                known[option].type.choices
            )
    context = click.Context(command, info_name=" ".join(words), resilient_parsing=True)
    whole = [word for word in names if not word.startswith("...")]
    command.parse_args(context, whole)
    assert not context.args, f"left over: {context.args} in {words}"


def test_the_table_of_commands_names_each_of_them():
    rows = [line for line in DOCUMENTS["jobs/README.md"].splitlines() if line.startswith("| `microtome")]
    named = {
        tuple(name.split())
        for row in rows
        for name in re.findall(r"`(?:microtome )?([a-z]+(?: [a-z]+)?)", row)
    }
    there = {path for path, command in commands() if not isinstance(command, click.Group)}
    assert there <= named


def test_one_job_after_another_by_hand(tiny_models, small_tasks, tmp_path):
    task, model = str(small_tasks["ner"]), str(tiny_models / "bert")
    output = call("finetune", "--task", task, "--model", model, "--epochs", "1", "--fraction", "50")
    assert "entity_f1" in output
    checkpoint = output.strip().splitlines()[-1].removeprefix("id ")
    assert "already done" in call(
        "finetune", "--task", task, "--model", model, "--epochs", "1", "--fraction", "50"
    )

    def extract(reference, split, *more):
        out = call("extract", "--checkpoint", reference, "--task", task, "--split", split, *more)
        return out.strip().splitlines()[-1].removeprefix("id ")

    train = extract(checkpoint, "train", "--keep", "hidden", "--examples", "20")
    after = extract(checkpoint, "test", "--format", "hdf5")
    before = extract(model, "test")
    assert "token_macro_f1" in call(
        "probe", "--train", train, "--test", after, "--layers", "1", "--layers", "2"
    )
    assert "jensen_shannon" in call("attention", "--before", before, "--after", after)
    assert "artifacts are as they were written" in call("store", "verify")
    for reference in (train, before, after):
        copied = Store().open(reference).path
        shutil.copytree(copied, tmp_path / "laptop" / copied.name)
    train_there, before_there, after_there = (
        str(tmp_path / "laptop" / Store().open(reference).path.name) for reference in (train, before, after)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_STORE", str(tmp_path / "rows"))  # where none of the caches is
        assert "token_macro_f1" in call(
            "probe", "--train", train_there, "--test", after_there, "--layers", "1"
        )
        assert "jensen_shannon" in call("attention", "--before", before_there, "--after", after_there)
        assert "linear_cka" in call("similarity", "--before", before_there, "--after", after_there)
        assert {artifact.kind for artifact in Store().list()} == {"probe", "attention", "similarity"}
    listed = call("cache", "ls")
    assert {kind for kind in ("finetune/", "extract/", "probe/", "attention/") if kind in listed} == {
        "finetune/",
        "extract/",
        "probe/",
        "attention/",
    }
    assert json.loads(call("cache", "show", before))["kind"] == "extract"
    call("cache", "rm", before)
    assert before not in {artifact.id for artifact in Store().list()}


@pytest.mark.thorough  # test_own_corpus.py goes from a table to a report
def test_a_suite_from_plan_to_report(small_suite, tmp_path):
    suite = str(small_suite)
    assert "finetune" in call("suite", "plan", suite)
    assert "done, 0 failed, 0 skipped" in call("suite", "run", suite, "--local")
    assert "nothing to do: all 34 jobs of 'small' are done" in call("suite", "run", suite)
    assert "to do" not in call("suite", "status", suite)
    table = pd.read_csv(pd.io.common.StringIO(call("results", suite, "--format", "csv")))
    records = json.loads(call("results", suite, "--format", "json"))
    call("results", suite, "--format", "parquet", "--out", str(tmp_path / "rows.parquet"))
    parquet = pd.read_parquet(tmp_path / "rows.parquet")
    assert len(table) == len(records) == len(parquet) > 100
    assert "entity_f1" in call("results", suite)
    assert set(table["stage"].dropna()) == {"before", "after"}  # of attention patterns; no gain is a score
    derived = pd.read_csv(pd.io.common.StringIO(call("results", suite, "--derived", "--format", "csv")))
    assert set(derived["quantity"]) == {"gain", "from_best_layer", "best_layer_gain"}
    assert "artifact" not in derived
    assert "gain" in call("results", suite, "--derived")
    out = str(tmp_path / "report")
    assert "wrote" in call("report", suite, "--out", out)
    assert "unchanged" in call("report", suite, "--out", out)
    page = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert page.count("<svg") >= 4
    assert str(tmp_path) not in page


def test_a_model_with_pickled_weights_is_fetched_into_safetensors(tiny_models, tmp_path):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_models / "gpt2")
    old = tmp_path / "old"
    old.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (old / name).write_bytes((tiny_models / "gpt2" / name).read_bytes())
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    call("model", "fetch", str(old), "--out", str(tmp_path / "new"))
    assert not (tmp_path / "new" / "pytorch_model.bin").exists()
    again = AutoModel.from_pretrained(tmp_path / "new", use_safetensors=True)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


def test_listings(monkeypatch, tiny_models):
    assert "bc5cdr-disease" in call("task", "ls")
    shown = call("task", "show", "mednli")
    assert "physionet" in shown
    assert "credentialed" in shown
    monkeypatch.setenv("MICROTOME_MODELS", str(tiny_models))
    assert "dmis-lab/biobert-v1.1" in call("model", "ls")
    assert "paper-open" in call("suite", "ls")
