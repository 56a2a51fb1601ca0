"""Commands called in a folder of their own, and watched: what they print, and what they leave."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from microtome.jobs.cli import main

ROW = '{{"id": "{0}", "a": "x y {0}", "b": "y", "y": "no"}}\n'


class Watched:
    """Runs commands in `folder`."""

    def __init__(self, folder):
        self.folder = folder

    def tree(self):
        """Everything below the folder, with sizes and times."""
        found = {path: path.lstat() for path in self.folder.rglob("*")}
        return {path: (about.st_size, about.st_mtime_ns) for path, about in found.items()}

    def run(self, *arguments):
        """What a command printed. Whatever it was given, there is no traceback; where it is refused, there is
        one line, and nothing is left."""
        before = self.tree()
        result = CliRunner().invoke(main, arguments)
        ended = result.exception is None or isinstance(result.exception, SystemExit)
        assert ended, (arguments, repr(result.exception))
        assert result.exit_code in (0, 2), (arguments, result.output)
        if result.exit_code == 2:
            assert self.tree() == before, arguments
            lines = result.stderr.splitlines()
            assert len(lines) == 1, (arguments, result.stderr)
            assert lines[0].startswith("error: "), (arguments, lines)
            assert lines[0].isprintable(), (arguments, lines)
        return result

    def refused(self, *arguments):
        """The one line of a command that must be refused."""
        result = self.run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        return result.stderr

    def harmless(self, *arguments):
        """A command that may work, but leaves nothing."""
        before = self.tree()
        result = self.run(*arguments)
        assert self.tree() == before, arguments
        return result

    def spoiled(self):
        """Paths at which is no file that could be read."""
        (self.folder / "folder.yaml").mkdir()
        (self.folder / "file").write_text("")
        (self.folder / "loop.yaml").symlink_to("loop.yaml")
        (self.folder / "dangling.yaml").symlink_to("nowhere")
        names = ("missing.yaml", "folder.yaml", "loop.yaml", "dangling.yaml", " .yaml", "\udcff.yaml")
        long = ("x" * 300 + ".yaml", "x/" * 3000 + "x.yaml")
        return (*names, *long, "file/x.yaml", "loop.yaml/x.yaml")


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A working directory with a suite of every section, a task of the user's own, and what they read."""
    monkeypatch.chdir(tmp_path)
    here = Path(__file__).parent
    (tmp_path / "suite.yaml").write_bytes((here / "whole_suite.yaml").read_bytes())
    (tmp_path / "own.yaml").write_bytes((here / "whole_task.yaml").read_bytes())
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").write_text("".join(ROW.format(n) for n in range(6)))
    (tmp_path / "rows" / "b.jsonl").write_text("".join(ROW.format(n) for n in range(6, 9)))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Fever and cough.\n")
    return Watched(tmp_path)
