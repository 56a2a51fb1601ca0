"""Addresses on object storage, as people write them, and where their local work lies."""

import hashlib
import re
from pathlib import Path

from microtome.store.errors import InputError, unknown
from microtome.store.files.names import folder_name
from microtome.store.files.paths import place_from

SCHEMES = ("s3", "gs", "az", "file")
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
SCRATCH_VARIABLE = "MICROTOME_SCRATCH"


def is_address(written: object) -> bool:
    """Whether something that names a store is an address and not a folder."""
    return isinstance(written, str) and ADDRESS.fullmatch(written) is not None


def checked_address(written: str) -> str:
    """An address without a slash at its end; InputError if no store can be there."""
    match = ADDRESS.fullmatch(written)
    if match is None:
        raise InputError(f"'{written}' is no address; write s3://BUCKET/PREFIX")
    scheme, rest = match.groups()
    if scheme not in SCHEMES:
        raise unknown("kind of address", f"{scheme}://", [f"{known}://" for known in SCHEMES])
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise InputError(
            f"a {scheme}:// address holds a bucket and a prefix only; keys are taken from where the "
            "provider's own tools find them, such as AWS_ACCESS_KEY_ID"
        )
    if not rest.strip("/"):
        raise InputError(f"{scheme}:// names no bucket; write {scheme}://BUCKET/PREFIX")
    return written.rstrip("/")


def scratch_root(address: str) -> Path:
    """The local folder where a store at `address` is worked in, below `MICROTOME_SCRATCH`; each address has
    one of its own."""
    area = place_from(SCRATCH_VARIABLE) or Path.home() / ".cache" / "microtome"
    name = folder_name(address.partition("://")[2])
    return area / f"{name[-60:].lstrip('.-')}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
