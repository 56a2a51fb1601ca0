"""Logs of jobs. Those of a store on object storage lie there too, so that whoever sees the store can read
them."""

import contextlib
import functools

from microtome.store.artifacts.store import Request, Store
from microtome.store.errors import StoreError
from microtome.store.files.permissions import open_log


def log_reference(store: Store, request: Request) -> str:
    """Where the log of the job that makes this artifact is read, from any machine that sees the store."""
    if store.remote is None:
        return str(store.log_path(request))
    return f"{store.remote.address}/{_key(request)}"


def fetch_log(store: Store, request: Request) -> None:
    """Have the log as far as machines have sent it; what is only here stays if there is none."""
    if store.remote is None:
        return
    with contextlib.suppress(StoreError, OSError):
        there, path = store.remote.objects.get(_key(request)), store.log_path(request)
        if there is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        opener = functools.partial(open_log, private=request.private)
        with open(path, "wb", opener=opener) as stream:
            stream.write(there[0])


def send_log(store: Store, request: Request) -> None:
    """Send the log that is here; without a network it stays here alone."""
    if store.remote is None:
        return
    with contextlib.suppress(StoreError, OSError):
        store.remote.objects.put(_key(request), store.log_path(request).read_bytes())


def _key(request: Request) -> str:
    return f"logs/{request.kind}.{request.folder}.log"
