import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from microtome.jobs.run.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(3 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    one, two = np.ones(1 << 20, np.uint8), np.ones(1 << 20, np.uint8)
    del one, two
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_arrays_are_not_touched_anew():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    }
    assert faults["kept"] < faults["returned"] / 4
