"""The SLURM script, run by a stand-in for SLURM on the loopback."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "slurm.sh"
SBATCH = """#!/bin/bash
# Runs the script once, as SLURM does on the first node of the allocation.
export SLURM_JOB_ID=4711 SLURM_JOB_NODELIST='node[1-2]' SLURM_JOB_NUM_NODES=$NODES SLURM_SUBMIT_DIR=$PWD
export SLURM_CPUS_PER_TASK=8 SLURM_GPUS_ON_NODE=1
exec bash "$1"
"""
SCONTROL = "#!/bin/bash\nprintf 'node1\\nnode2\\n'\n"
# Starts the command once for each node.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do echo "srun $1" >> "$NOTES"; shift; done
SLURM_PROCID=0 "$@" || exit
[[ $NODES == 1 ]] || SLURM_PROCID=1 "$@"
"""
# Notes how Ray was called, and whether its token is the user's alone; the first node runs the command.
RAY = """#!/bin/bash
echo "ray $*" >> "$NOTES"
echo "token $RAY_AUTH_MODE $(stat -c %a "$RAY_AUTH_TOKEN_PATH") $(wc -c < "$RAY_AUTH_TOKEN_PATH")" >> "$NOTES"
while [[ $1 != -- ]]; do shift; done; shift
[[ $SLURM_PROCID != 0 ]] || "$@"
"""
MICROTOME = """#!/bin/bash
echo "microtome $* with $MICROTOME_STORE, $MICROTOME_SCRATCH" >> "$NOTES"
exit "${FAILS:-0}"
"""


@pytest.fixture
def slurm(tmp_path):
    """submit(**environment) -> exit status and what was noted."""
    for name, text in {
        "sbatch": SBATCH,
        "scontrol": SCONTROL,
        "srun": SRUN,
        "ray": RAY,
        "microtome": MICROTOME,
    }.items():
        folder = tmp_path / (".venv/bin" if name in ("ray", "microtome") else "bin")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def submit(**environment):
        notes = tmp_path / "notes"
        notes.unlink(missing_ok=True)
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sbatch", str(SCRIPT)],
            cwd=tmp_path,
            env={
                "PATH": path,
                "NOTES": str(notes),
                "MICROTOME_STORE": "/project/store",
                "NODES": "2",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, notes.read_text().splitlines(), done.stderr

    return submit


def test_ray_starts_on_every_node_with_a_token_and_the_first_runs_the_suite(slurm, tmp_path):
    status, notes, errors = slurm(SUITE="blue", SLURM_TMPDIR="/local")
    assert (status, errors) == (0, "")
    started = [line for line in notes if line.startswith("ray ")]
    assert len(started) == 2
    assert started[0].startswith(
        "ray symmetric-run --address node1:6379 --min-nodes 2 --num-cpus 8 --num-gpus 1 -- microtome"
    )
    assert [line for line in notes if line.startswith("token")] == ["token token 600 64"] * 2
    assert [line for line in notes if line.startswith("microtome")] == [
        "microtome suite run blue --stage training --stage generation --stage extraction --address auto "
        "with /project/store, /local/microtome-4711"
    ]
    assert list(tmp_path.glob(".ray-token*")) == []  # nothing of it is left


def test_a_study_that_fails_fails_the_job(slurm, tmp_path):
    status, notes, _ = slurm(FAILS="1")
    assert status == 1
    assert any(line.startswith("microtome suite run paper ") for line in notes)
    assert list(tmp_path.glob(".ray-token*")) == []


def test_on_one_node_the_suite_has_a_ray_of_its_own(slurm, tmp_path):
    """One that ends with it and ends no other: jobs of one user may share a node."""
    status, notes, errors = slurm(NODES="1", SLURM_TMPDIR="/local")
    assert (status, errors) == (0, "")
    assert notes == [
        "microtome suite run paper --stage training --stage generation --stage extraction "
        "with /project/store, /local/microtome-4711"
    ]
    assert slurm(NODES="1", FAILS="3")[0] == 3


def test_sbatch_reads_what_the_script_asks_for():
    lines = SCRIPT.read_text().splitlines()
    asked = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if "#SBATCH" in line)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time"} <= set(asked)
    assert asked["ntasks-per-node"] == "1"  # one Ray on each node
    assert "requeue" in asked
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(n < first_command for n, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
