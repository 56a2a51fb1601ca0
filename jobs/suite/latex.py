"""The settings of a suite as a LaTeX table, for a methods section."""

from collections.abc import Mapping, Sequence

# What LaTeX reads as something else than the character itself.
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def settings_table(by_task: Mapping[str, Mapping[str, str]]) -> str:
    """A table for the package booktabs: a row per setting and a column per task, from task -> setting ->
    value."""
    tasks = list(by_task)
    names = dict.fromkeys(name for values in by_task.values() for name in values)
    lines = [
        r"\begin{tabular}{" + "l" * (1 + len(tasks)) + "}",
        r"\toprule",
        _line(["setting", *tasks]),
        r"\midrule",
        *(_line([name, *(by_task[task].get(name, "") for task in tasks)]) for name in names),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """The text so that LaTeX prints it as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
