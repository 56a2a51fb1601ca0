"""Settings as a LaTeX table."""

from click.testing import CliRunner

from microtome.jobs.cli import main
from microtome.jobs.suite.latex import escaped, settings_table


def test_a_row_per_setting_and_a_column_per_task():
    lines = settings_table({"a": {"epochs": "3"}, "b_c": {"epochs": "5"}}).splitlines()
    assert lines[0] == r"\begin{tabular}{lll}"
    assert lines[2] == r"setting & a & b\_c \\"
    assert lines[4] == r"epochs & 3 & 5 \\"


def test_nothing_in_a_value_is_a_command():
    assert escaped(r"50 % of \x{y} & #1~^") == (
        r"50 \% of \textbackslash{}x\{y\} \& \#1\textasciitilde{}\textasciicircum{}"
    )


def test_suite_show_writes_it_and_refuses_differences():
    shown = CliRunner().invoke(
        main, ["suite", "show", "demo", "--format", "latex", "--set", "recipe.epochs=2"]
    )
    assert shown.exit_code == 0, shown.output
    assert r"epochs & 2 & 2 \\" in shown.output.splitlines()
    refused = CliRunner().invoke(main, ["suite", "show", "demo", "--format", "latex", "--against", "blue"])
    assert refused.exit_code == 2
    assert "leave out --against" in refused.output
