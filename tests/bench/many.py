"""How long a store of many artifacts takes to be asked: python tests/bench/many.py [COUNT] [FOLDER]

Artifacts of a probe's size are written without the store's own care (no fsync), and then looked at as a
person would: each command in a process of its own, start included. What a command takes on an empty store
stands beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from microtome.store.artifacts.store import Request

KINDS = ("extract", "finetune", "probe", "attention")
MICROTOME = (sys.executable, "-c", "from microtome.jobs.cli import main; main()")


def write_artifacts(root: Path, count: int) -> list[Request]:
    """`count` artifacts over several kinds, each with a manifest and a file of rows."""
    requests = []
    for number in range(count):
        config = {"probe": {"layers": list(range(13)), "l2": [0.1, 1.0, 10.0]}, "value": number}
        slug = f"small-ner.bert.f{number % 101:03g}.s{number}.linear"
        labels = {"task": "small-ner", "model": "bert", "fraction": number % 101, "seed": number}
        request = Request(KINDS[number % len(KINDS)], 1, config, {"train": "a" * 64}, slug, labels)
        folder = root / request.kind / request.folder
        folder.mkdir(parents=True)
        row = json.dumps({"metric": "accuracy", "value": 0.5}) + "\n"
        (folder / "rows.jsonl").write_text(row * 20)
        manifest = {
            "id": request.id,
            "kind": request.kind,
            "version": request.version,
            "config": config,
            "inputs": dict(request.inputs),
            "labels": labels,
            "outputs": {"history": [{"epoch": e, "loss": 0.5} for e in range(10)]},
            "provenance": {"made": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
        requests.append(request)
    return requests


def seconds(root: Path, *command: str) -> float:
    """How long a command takes in a process of its own."""
    environment = {**os.environ, "MICROTOME_STORE": str(root), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return time.perf_counter() - start


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        full, empty = Path(folder) / "full", Path(folder) / "empty"
        empty.mkdir()
        wanted = write_artifacts(full, count)[count // 2]
        find = f"from store.artifacts import Store; Store().open({wanted.id!r})"
        print(f"{count} artifacts")
        for name, command in {
            "open by id": (sys.executable, "-c", find),
            "cache show": (*MICROTOME, "cache", "show", wanted.id[:8]),
            "cache ls": (*MICROTOME, "cache", "ls"),
            "suite plan demo": (*MICROTOME, "suite", "plan", "demo"),
        }.items():
            bare = "" if wanted.id[:8] in " ".join(command) else f", {seconds(empty, *command):.2f} s of none"
            print(f"{name:<16} {seconds(full, *command):.2f} s{bare}")


if __name__ == "__main__":
    main()
