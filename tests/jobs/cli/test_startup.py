"""What a command imports: its own module and nothing large that it does not need."""

import json
import subprocess
import sys

import click
from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.cli.lazy_group import LazyGroup

LARGE = (
    "scipy",
    "sklearn",
    "seqeval",
    "pandas",
    "torch",
    "transformers",
    "datasets",
    "ray",
    "pyarrow",
    "matplotlib",
    "zarr",
    "h5py",
)
RUN = """
import json, sys
from click.testing import CliRunner
from microtome.jobs.cli import main
for line in json.load(sys.stdin):
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, (line, result.output)
    loaded = sorted(set(sys.modules) & set({modules!r}))
    assert not loaded, (line, loaded)
"""
AT_ONCE = [
    "--help",
    "--version",
    "suite --help",
    "suite ls",
    "suite kinds",
    "task ls",
    "task show jnlpba",
    "model ls",
    "model show --help",
    "cache ls",
    "suite run --help",
    "suite plan --help",
    "finetune --help",
    "adapt --help",
    "extract --help",
    "predict --help",
    "generate --help",
    "probe --help",
    "attention --help",
    "similarity --help",
    "report --help",
    "export --help",
    "push --help",
    "store verify --help",
    "cache gc --help",
    "suite status demo",
]


def run_without(modules, commands):
    """Run commands in a process of their own, which must not import these modules."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(modules=tuple(modules))],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_command_that_reads_settings_or_manifests_loads_no_large_library():
    run_without(LARGE, AT_ONCE)


def groups():
    """Every group by what is typed for it."""
    nested = {name: main.commands[name] for name in main.commands}
    return {"": main} | {name: group for name, group in nested.items() if isinstance(group, click.Group)}


def test_the_line_of_each_command_in_the_help_of_its_group_is_its_own():
    for group in groups().values():
        assert isinstance(group, LazyGroup)
        for name in group.commands:
            command = group.commands[name]
            assert command.name == name
            assert group.commands.about(name) == command.get_short_help_str(limit=1000)


def test_help_of_a_group_shows_every_command_and_imports_none():
    entries = [entry for group in groups().values() for entry in group.commands.data.values()]
    modules = {entry.where.partition(":")[0] for entry in entries} - {"microtome.jobs.cli.commands"}
    run_without(
        {*modules, *LARGE, "numpy", "pydantic"}, ["--help", *(f"{name} --help" for name in groups() if name)]
    )
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    assert set(main.commands) <= {line.split()[0] for line in lines if line.strip()}


def test_an_unknown_command_is_refused_in_one_line(watched):
    assert "'prob'" in watched.refused("prob")
    assert "'lst'" in watched.refused("cache", "lst")


def test_what_is_left_when_a_command_ends_is_not_collected():
    program = """
from microtome.jobs.cli import main
class Ring:
    def __del__(self): print("collected")
ring = Ring()
ring.itself = ring
main(["suite", "ls"], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert "collected" not in done.stdout
