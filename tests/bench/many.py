"""How long large stores, corpora and models take to be asked about: python -m tests.bench.many [COUNT] [SIZE]

A store of COUNT artifacts (20,000), a corpus of SIZE GB (1) and a model of half as much again are written
without the store's own care (no fsync), and then asked about as a person would: each command in a process of
its own, start included. What a command takes on an empty store stands beside it.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtome.store.artifacts.store import Request
from microtome.store.files.checksums import checksum, checksum_of

KINDS = ("extract", "finetune", "probe", "attention")
MICROTOME = (sys.executable, "-c", "from microtome.jobs.cli.main import main; main()")
LINE = "A line of a corpus of some length, so that reading it is what reading a corpus takes, number {}.\n"
SUITE = """
name: large
description: a large model, adapted on a large corpus
models:
  large: {}
  adapted: {adapt: {base: large, objective: mlm, corpus: {format: text, path: corpus.txt, separator: line}}}
tasks: [demo-nli]
fractions: [100]
"""


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
        rows = folder / "rows.jsonl"
        rows.write_text((json.dumps({"metric": "accuracy", "value": 0.5}) + "\n") * 20)
        manifest = {
            "id": request.id,
            "kind": request.kind,
            "version": request.version,
            "config": config,
            "settings": config,
            "inputs": dict(request.inputs),
            "labels": labels,
            "outputs": {"history": [{"epoch": e, "loss": 0.5} for e in range(10)]},
            "provenance": {"made": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
            "files": {rows.name: {"bytes": rows.stat().st_size, "checksum": checksum(rows)}},
        }
        plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"), allow_nan=False)
        manifest["checksum"] = checksum_of(plain.encode())
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, allow_nan=False))
        requests.append(request)
    return requests


def write_sources(folder: Path, size: float) -> None:
    """A suite, its corpus of `size` GB and its model of half as much again."""
    (folder / "large.yaml").write_text(SUITE)
    with (folder / "corpus.txt").open("w") as stream:
        for number in range(int(size * 1e9 / len(LINE.format(10**6)))):
            stream.write(LINE.format(number))
    model = folder / "models" / "large"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "bert"}')
    with (model / "model.safetensors").open("wb") as weights:
        weights.truncate(int(size * 1.5e9))


def seconds(root: Path, *command: str, **more: Any) -> str:
    """How long a command takes in a process of its own, and how long processors worked for it."""
    environment: Mapping[str, str] = {**os.environ, "MICROTOME_STORE": str(root), "HF_HUB_OFFLINE": "1"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        env={**environment, **more.pop("variables", {})},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{time.perf_counter() - start:.2f} s ({processors:.2f} s of processors)"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    size = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        full, empty = folder / "full", folder / "empty"
        empty.mkdir()
        wanted = write_artifacts(full, count)[count // 2]
        write_sources(folder, size)
        find = f"from microtome.store.artifacts.store import Store; Store().open({wanted.id!r})"
        print(f"{count} artifacts")
        for name, command in {
            "open by id": (sys.executable, "-c", find),
            "cache show": (*MICROTOME, "cache", "show", wanted.id[:8]),
            "cache ls": (*MICROTOME, "cache", "ls"),
            "suite status demo": (*MICROTOME, "suite", "status", "demo"),
        }.items():
            bare = "" if wanted.id[:8] in " ".join(command) else f", of none {seconds(empty, *command)}"
            print(f"{name:<18} {seconds(full, *command)}{bare}")
        print(f"a corpus of {size:g} GB, a model of {1.5 * size:g} GB")
        print(f"{'--help':<18} {seconds(empty, *MICROTOME, '--help')}, which every command takes")
        time.sleep(2)  # what has just been written may change again unseen, and is not remembered
        at = {"cwd": folder, "variables": {"MICROTOME_MODELS": str(folder / "models")}}
        for turn in ("first", "second", "third"):
            taken = seconds(full, *MICROTOME, "suite", "status", "large.yaml", **at)
            print(f"suite status, the {turn} time: {taken}", flush=True)


if __name__ == "__main__":
    main()
