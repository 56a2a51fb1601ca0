"""A program that has used Zarr parts ends without a word, however busy the machine is."""

import subprocess
import sys

PROGRAM = """
import threading
from pathlib import Path
import numpy as np
from zarr.core import sync
from microtome.store.cache.formats import PART_FORMATS

path = Path({path!r})
PART_FORMATS["zarr"].write(path, {{"hidden": np.ones((1, 2, 3), np.float16)}}, {compression!r})
if {compression!r} != "none":
    PART_FORMATS["zarr"].open(path, ["hidden"]).read("hidden", 0, 0, 2)
# Zarr's thread gets no turn for longer than zarr waits for it.
sync.loop[0].call_soon_threadsafe(threading.Event().wait, 0.6)
print("done")
"""


def run(tmp_path, compression):
    program = PROGRAM.format(path=str(tmp_path / "part.zarr"), compression=compression)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_after_writing(tmp_path):
    done = run(tmp_path, "none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_after_reading(tmp_path):
    done = run(tmp_path, "lz4")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
