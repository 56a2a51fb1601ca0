"""Reading needs nothing that only Linux has; the child process is made to have none of it."""

import subprocess
import sys

import numpy as np
import pytest

WITHOUT = """
import os, sys
for module in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[module] = None
for name in ("preadv", "pread", "readv", "pwrite", "posix_fadvise", "O_DIRECT", "O_NOFOLLOW", "fchmod"):
    if hasattr(os, name):
        delattr(os, name)
"""
READ = """
import numpy as np
from microtome import Store, open_cache
with open_cache(sys.argv[1]) as cache:
    hidden = np.stack([cache.hidden(layer) for layer in range(3)])
    attention = [cache.attention(layer, 1) for layer in range(2)]
    window = cache.hidden(2, 1)
np.savez(sys.argv[2], hidden=hidden, attention=attention, window=window)
print(*[artifact.name for artifact in Store(sys.argv[3]).list("extract")])
"""
WRITE = """
from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import StoreError
try:
    with Store(sys.argv[1]).begin(Request("extract", 1, {}, {}, "new")):
        raise SystemExit("no error")
except StoreError as error:
    print(error)
"""


def run(code, *arguments):
    command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cache_is_read_without_what_other_systems_lack(small_cache, tmp_path):
    path = small_cache.artifact.path
    printed = run(READ, path, tmp_path / "read.npz", path.parent.parent)
    assert printed == small_cache.artifact.name
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(read["hidden"], small_cache.hidden)
        np.testing.assert_array_equal(read["attention"], small_cache.attention[1])
        np.testing.assert_array_equal(read["window"], small_cache.hidden[2, 4:7])


def test_writing_without_locks_is_refused_in_one_line(tmp_path):
    printed = run(WRITE, tmp_path / "store")
    assert "this system has no fcntl" in printed
    assert "use Linux, macOS or WSL" in printed
    assert "\n" not in printed


@pytest.mark.parametrize("name", ["preadv", "lseek"])
def test_bytes_are_read_in_pieces_where_they_have_to_be_copied(small_cache, monkeypatch, name):
    """The same bytes come of both ways to read, also if a read gives fewer than were asked for."""
    from microtome.store.cache.formats import part
    from microtome.store.cache.reader import open_cache

    if name == "lseek":
        monkeypatch.delattr(part.os, "preadv", raising=False)
        monkeypatch.setattr(part, "COPIED_BYTES", 7)
    np.testing.assert_array_equal(open_cache(small_cache.artifact.path).hidden(1), small_cache.hidden[1])
