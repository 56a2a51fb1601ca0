"""What `import microtome` offers, what it loads, and the page that shows it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import microtome
from microtome.jobs.cli.main import main

FACE = Path(__file__).parent.parent / "src" / "microtome"
PAGE = FACE / "README.md"
README = FACE.parent.parent / "README.md"


def printed(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def test_importing_loads_nothing_but_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); import microtome; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - {'microtome'}; "
        "print(sorted(new - sys.stdlib_module_names), [m for m in sys.modules if m.startswith('microtome.')])"
    )
    assert printed(code) == "[] []"


@pytest.mark.parametrize("name", ["open_cache", "Store", "probe", "results", "predict", "caches"])
def test_no_name_loads_torch_before_a_model_is_asked(name):
    code = f"import sys, microtome; microtome.{name}; print({{'torch', 'ray'}} & set(sys.modules))"
    assert printed(code) == "set()"


def test_editors_see_what_is_imported_when_it_is_used():
    """The imports for type checkers, the table of modules and __all__ say the same."""
    tree = ast.parse((FACE / "__init__.py").read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == microtome._MODULES
    assert microtome.__all__ == sorted([*imported, "__version__"])
    assert set(microtome.__all__) <= set(dir(microtome))
    for name in microtome.__all__:
        value = getattr(microtome, name)
        assert name == "__version__" or value.__module__ == imported[name], name
        assert value.__doc__, name


def test_a_name_that_is_not_there_is_an_attribute_error_with_the_names_that_are():
    with pytest.raises(AttributeError, match="microtome has no 'prob'; it has .*probe, results"):
        _ = microtome.prob
    assert not hasattr(microtome, "torch")
    last = subprocess.run([sys.executable, "-c", "import microtome; microtome.prob"], capture_output=True)
    assert last.stderr.decode().strip().endswith("Did you mean: 'probe'?")


def blocks(page=PAGE, language="python"):
    """(line in the page, code) of every block of a language."""
    text = page.read_text("utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start(1)), match[1]


def run(page):
    """The names that the blocks of Python of a page leave behind, run in their order."""
    names = {}
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), names)
    return names


def test_the_page_runs_as_it_stands(demo_store, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = run(PAGE)
    assert len(names["gains"]) == 4
    assert set(names["derived"].quantity) >= {"gain", "difference"}
    assert set(names["probed"].layer.dropna()) == {0, 3}
    assert set(names["changed"].metric) >= {"jensen_shannon", "entropy"}
    assert set(names["alike"].stage) == {"before", "after", "across"}
    assert names["tensor"].shape == names["states"].shape
    said = capsys.readouterr().out
    assert "<ActivationCache bert.f100.s1.demo-ner.test.hidden-" in said
    assert "unknown key in the settings 'layer'; did you mean 'layers'?" in said
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_of_the_readme_runs_as_it_stands(demo_store, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = run(README)
    assert len(names["final"]) >= 2
    assert names["cache"].hidden(2).shape[0] == names["cache"].offsets[-1]
    assert set(names["known"].layer.dropna()) == {1, 2, 3}
    assert "linear_cka" in set(names["alike"].metric)
    assert "other_layer" in capsys.readouterr().out


def test_the_task_of_the_readme_is_one(tiny_models, tmp_path):
    [(_, text)] = blocks(README, "yaml")
    (tmp_path / "severity.yaml").write_text(text)
    for split in ("train", "dev", "test"):
        rows = [f"{split}{n}\treport {split} {n}\t{('mild', 'severe')[n % 2]}" for n in range(8)]
        (tmp_path / f"{split}.tsv").write_text("\n".join(["id\treport\tseverity", *rows]))
    task, model = str(tmp_path / "severity.yaml"), str(tiny_models / "bert")
    checked = CliRunner().invoke(main, ["task", "check", task])
    assert (checked.exit_code, "severe" in checked.output) == (0, True), checked.output
    trained = CliRunner().invoke(
        main, ["finetune", "--task", task, "--model", model, "--epochs", "1", "--max-length", "32"]
    )
    assert (trained.exit_code, "accuracy" in trained.output) == (0, True), trained.output
    checkpoint = trained.output.strip().splitlines()[-1].removeprefix("id ")
    extracted = CliRunner().invoke(
        main, ["extract", "--checkpoint", checkpoint, "--task", task, "--split", "test", "--max-length", "32"]
    )
    assert extracted.exit_code == 0, extracted.output


def test_the_page_shows_every_name():
    code = "\n".join(code for _, code in blocks())
    shown = set(re.findall(r"\bmt\.(\w+)", code)) | set(re.findall(r"`mt\.(\w+)`", PAGE.read_text("utf-8")))
    assert {*microtome.__all__} - shown == {"__version__"}
