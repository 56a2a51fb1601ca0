"""Objects below an address: listed, read by ranges, and written whole, also only if nothing is there yet or
nothing has changed."""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from microtome.store.remote.addresses import checked_address
from microtome.store.remote.failures import in_our_words
from microtome.store.remote.keys import credentials_of_boto3, refuse_without_key

PATIENCE = timedelta(minutes=3)  # for a network that is gone: tried again, with growing pauses
RETRIES = 20
CHUNK = 16 << 20  # bytes of a piece of a large file on its way up
BLOCK = 4 << 20  # bytes that are handed on as they arrive
TIMEOUT = timedelta(minutes=10)  # of one request, with all its bytes
PARALLEL = 8  # requests at a time


@dataclass(frozen=True)
class Listed:
    """An object that is there."""

    key: str
    bytes: int


class Objects:
    """The objects below an address. Keys are relative to it.

    RemoteError in one line for whatever the provider refuses. What helps to be tried again is tried again
    for `patience`. `store` is one of obstore's; left out, it is made from the address.
    """

    def __init__(self, address: str, store: Any = None, *, patience: timedelta | None = None) -> None:
        self.address = checked_address(address) if store is None else address
        self._patience = PATIENCE if patience is None else patience
        if store is not None:
            self._store = store

    @functools.cached_property
    def _store(self) -> Any:
        """Of obstore; opened when it is first needed. RefusedError, within seconds, if there is no key."""
        return _opened(self.address, self._patience)

    def __reduce__(self) -> tuple[Any, ...]:
        return Objects, (self.address,)

    def list(self, prefix: str) -> list[Listed]:
        """Every object whose key begins with the folder `prefix`, by key."""
        import obstore

        with in_our_words(self.address):
            batches = list(obstore.list(self._store, prefix))
        entries = [Listed(entry["path"], entry["size"]) for batch in batches for entry in batch]
        return sorted(entries, key=lambda entry: entry.key)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if it is not there."""
        import obstore

        try:
            with in_our_words(self.address):
                return int(obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None

    def get(self, key: str) -> tuple[bytes, str] | None:
        """An object and its version tag; None if it is not there."""
        import obstore

        try:
            with in_our_words(self.address):
                response = obstore.get(self._store, key)
                return bytes(response.bytes()), str(response.meta["e_tag"])
        except FileNotFoundError:
            return None

    def stream(self, key: str, start: int, length: int) -> Iterator[memoryview]:
        """Some bytes of an object, block by block as they arrive; FileNotFoundError if it is not there."""
        import obstore

        if length == 0:
            return
        with in_our_words(self.address):
            response = obstore.get(self._store, key, options={"range": (start, start + length)})
            for block in response.stream(min_chunk_size=BLOCK):
                yield memoryview(block)

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, whatever is there; a large file goes up in pieces, and appears whole or not."""
        import obstore

        with in_our_words(self.address):
            obstore.put(self._store, key, content, chunk_size=CHUNK, max_concurrency=PARALLEL)

    def put_new(self, key: str, content: bytes) -> str | None:
        """Write an object if none is there; its version tag, or None if one is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with in_our_words(self.address):
                return str(obstore.put(self._store, key, content, mode="create")["e_tag"])
        except (AlreadyExistsError, PreconditionError):
            # The response to a write of our own may have been lost, and the write repeated.
            current = self.get(key)
            return current[1] if current is not None and current[0] == content else None

    def put_unchanged(self, key: str, content: bytes, tag: str) -> str | None:
        """Write an object if the one there still has the version `tag`; its new tag, or None if not."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._one_at_a_time() as compares, in_our_words(self.address):
                if not compares:
                    return str(obstore.put(self._store, key, content, mode={"e_tag": tag})["e_tag"])
                current = self.get(key)
                if current is None or current[1] != tag:
                    return None
                return str(obstore.put(self._store, key, content)["e_tag"])
        except FileNotFoundError:
            return None
        except (AlreadyExistsError, PreconditionError):
            current = self.get(key)
            return current[1] if current is not None and current[0] == content else None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are none of them."""
        import obstore

        for key in keys:
            with contextlib.suppress(FileNotFoundError), in_our_words(self.address):
                obstore.delete(self._store, key)

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[bool]:
        """Under a lock, and True, where the store is a folder: a disk cannot write on a condition."""
        folder = self._folder
        if folder is None:
            yield False
            return
        with FileLock(folder / ".conditional.lock"):
            yield True

    @functools.cached_property
    def _folder(self) -> Path | None:
        prefix = getattr(self._store, "prefix", None)
        return Path(prefix) if type(self._store).__name__ == "LocalStore" and prefix else None


def _opened(address: str, patience: timedelta) -> Any:
    from obstore.store import from_url

    if address.startswith("file://"):
        with in_our_words(address):
            return from_url(address, mkdir=True)
    provider = credentials_of_boto3(address)

    def opened(timeout: timedelta, patience: timedelta, retries: int) -> Any:
        options = {} if provider is None else {"credential_provider": provider}
        return from_url(address, **options, **_client(timeout, patience, retries))

    with in_our_words(address):
        if provider is None and not (address.startswith("s3://") and "AWS_ACCESS_KEY_ID" in os.environ):
            refuse_without_key(address, opened)
        return opened(TIMEOUT, patience, RETRIES)


def _client(timeout: timedelta, patience: timedelta, retries: int) -> dict[str, Any]:
    backoff = {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=15),
        "base": 2,
    }
    return {
        # Given any option of the client, obstore no longer takes this one from the environment.
        "client_options": {"timeout": timeout, "allow_http": _http_is_allowed()},
        "retry_config": {"max_retries": retries, "retry_timeout": patience, "backoff": backoff},
    }


def _http_is_allowed() -> bool:
    names = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes") for name in names)
