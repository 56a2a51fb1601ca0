import pytest
from obstore.store import MemoryStore

from microtome.store.remote.objects import Objects


@pytest.fixture(params=["memory", "file", "s3"])
def objects(request, tmp_path):
    """The objects of each kind of remote, none yet."""
    if request.param == "memory":
        return Objects("memory://", MemoryStore())
    if request.param == "file":
        return Objects(f"file://{tmp_path}/remote")
    return Objects(request.getfixturevalue("s3"))
