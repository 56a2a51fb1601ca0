import json
import re

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.store.artifacts.store import Request, Store
from microtome.store.cache.reader import ActivationCache


def call(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments):
    """(what was printed, the error line) of a command that must be refused."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stdout, result.stderr


def make(value=1, text="x" * 10_000):
    request = Request("probe", 1, {"value": value}, {}, f"thing{value}")
    with Store().begin(request) as staging:
        (staging.path / "data.txt").write_text(text)
    return Store().find(request)


@pytest.fixture
def cache(bench, tiny_models):
    return bench.run(bench.extract("ner", tiny_models / "bert", dtype="float32"))


def test_recompute_says_how_much_each_cache_differs(bench, cache, tiny_models):
    hidden = bench.run(bench.extract("nli", tiny_models / "gpt2", keep=["hidden"]))
    models = ("--model", str(tiny_models / "bert"), "--model", str(tiny_models / "gpt2"))
    printed = call("store", "verify", "--recompute", "0.1", *models).splitlines()
    assert printed[0] == "2 artifacts are as they were written"
    number = r"(0|[0-9.e-]+)"
    said = f"3 of 30 examples recomputed, hidden states differ by at most {number}, attentions "
    assert {line.partition(":")[0] for line in printed[1:]} == {cache.name, hidden.name}
    for line in printed[1:]:
        end = f"differ by at most {number}" if cache.name in line else "not kept"
        assert re.fullmatch(f"extract/.*: {said}{end}", line), line


def test_recompute_refuses_a_cache_that_is_not_what_its_model_makes(cache, tiny_models, monkeypatch):
    read = ActivationCache.hidden
    monkeypatch.setattr(ActivationCache, "hidden", lambda self, *where: read(self, *where) + 0.01)
    arguments = "store", "verify", cache.id, "--recompute", "0.01", "--model", str(tiny_models / "bert")
    printed, line = refused(*arguments)
    assert "1 of 30 examples recomputed, hidden states differ by at most 0.01, attentions" in printed
    assert line.startswith(f"error: {cache.name}: hidden of layer 0, example ")
    assert "differs by 0.01 from what its model makes" in line


def test_recompute_without_the_model_says_how_to_get_it(cache, tiny_models):
    assert "name the model: --model REFERENCE" in refused("store", "verify", "--recompute", "1")[1]
    wrong = "--model", str(tiny_models / "gpt2")
    assert "has other weights" in refused("store", "verify", "--recompute", "1", *wrong)[1]


def test_recompute_comes_after_the_checksums(cache):
    (cache.path / "examples.npz").write_bytes(b"x")
    printed, line = refused("store", "verify", "--recompute", "1")
    assert "examples.npz has 1 bytes, not " in printed
    assert line.startswith("error: 1 findings")


def test_verify_help_says_that_it_loads_the_model():
    assert "This loads the model" in call("store", "verify", "--help")


def test_only_caches_are_recomputed():
    made = make()
    assert "is no activation cache" in refused("store", "verify", made.id, "--recompute", "1")[1]
    assert call("store", "verify", made.id) == "1 artifacts are as they were written\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "bert"), "--model goes with --recompute SHARE"),
        (("--recompute", "0"), "not in the range"),
        (("--recompute", "2"), "not in the range"),
    ],
)
def test_options_that_make_no_sense(arguments, said):
    result = CliRunner().invoke(main, ("store", "verify", *arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_every_finding_is_a_line_that_says_what_to_do():
    good, bad = make(1), make(2)
    (bad.path / "data.txt").unlink()
    (bad.path / "note.txt").write_text("mine")
    printed, line = refused("store", "verify")
    assert printed.splitlines() == [
        f"{bad.name}/data.txt is missing. Remove it and run its job again: microtome cache rm {bad.id[:8]}",
        f"{bad.name}/note.txt is no file of this artifact. Move it out of the store",
    ]
    assert "2 findings" in line
    assert call("store", "verify", good.id) == "1 artifacts are as they were written\n"


CUT = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "deleted": lambda path: path.unlink(),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
}


@pytest.fixture
def tuned(bench, tiny_models):
    return bench.run(bench.finetune("ner", tiny_models / "bert", epochs=1))


@pytest.mark.parametrize("how", CUT)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_checkpoint_is_one_line_wherever_it_is_used(tuned, bench, tmp_path, how, file):
    CUT[how](tuned.path / "checkpoint" / file)
    (tmp_path / "texts.txt").write_text("the gene BRCA1\n")
    task = str(bench.tasks["ner"])
    for command in (
        ("predict", "--checkpoint", tuned.id, "--input", str(tmp_path / "texts.txt")),
        ("extract", "--checkpoint", tuned.id, "--task", task),
        ("finetune", "--model", tuned.id, "--task", task),
        ("export", "--checkpoint", tuned.id, "--out", str(tmp_path / "out")),
    ):
        line = refused(*command)[1]
        assert f"{tuned.name}: checkpoint/{file} " in line, command
        assert f"microtome cache rm {tuned.id[:8]}" in line
    assert not (tmp_path / "out").exists()
    assert Store().list() == [tuned]


def test_a_suite_that_lost_files_says_so_and_is_repaired_by_running_it_again(small_suite):
    suite = str(small_suite), "--set", "fractions=[0, 100]", "--set", "recipe.epochs=1"
    call("suite", "run", *suite, "--local")
    wanted = call("results", *suite, "--format", "csv")
    store = Store()
    finetunes = [a for a in store.list("finetune") if a.settings["fraction"]]
    [probe, *_], [cache, *_] = store.list("probe"), store.list("extract")
    lost = {
        probe.path / "rows.jsonl": "deleted",
        store.list("attention")[0].path / "rows.jsonl": "truncated",
        finetunes[0].path / "metric_terms.npz": "deleted",
        finetunes[1].path / "checkpoint" / "model.safetensors": "truncated",
        cache.path / "examples.npz": "deleted",
    }
    for path, how in lost.items():
        raw = path.read_bytes()
        CUT[how](path)
        if path.name in ("rows.jsonl", "metric_terms.npz"):
            results = ("results",) if path.name == "rows.jsonl" else ("results", "--derived")
            for command in (results, ("report", "--out", str(small_suite.parent / "page"))):
                line = refused(command[0], *suite, *command[1:])[1]
                assert f"{path.parent.parent.name}/{path.parent.name}: {path.name} " in line
        path.write_bytes(raw)
    for path, how in lost.items():
        CUT[how](path)
    printed, line = refused("store", "verify")
    assert len(printed.splitlines()) == len(lost)
    states = {
        row["id"]: row["done"]
        for row in json.loads(call("suite", "plan", *suite, "--format", "json"))["jobs"]
    }
    assert sum(not done for done in states.values()) == len(lost)
    assert f"{len(lost)} jobs to do" in call("suite", "run", *suite, "--local")
    assert call("results", *suite, "--format", "csv") == wanted
    assert "are as they were written" in call("store", "verify")
