"""Nodes of a Ray cluster on the loopback, as their owner starts them."""

import socket
import sys
from pathlib import Path

RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE = 80_000_000  # bytes, about the least that Ray takes
STARTED = "Ray runtime started"  # what a node says once it takes jobs


def head_command(port: int) -> list[str]:
    """The command of a head that runs no jobs."""
    return _command("--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false")


def node_command(port: int, cpus: int = 1) -> list[str]:
    """The command of a node that joins the cluster whose head listens on a port of the loopback."""
    return _command("--address", f"127.0.0.1:{port}", "--num-cpus", str(cpus))


def _command(*options: str) -> list[str]:
    settings = "--block", "--disable-usage-stats", "--object-store-memory", str(OBJECT_STORE)
    return [RAY, "start", *options, *settings]


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])
