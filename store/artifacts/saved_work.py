"""How far the artifact of a request has come, as any machine that sees the store can tell."""

from microtome.store.artifacts.catalogue import STAGING
from microtome.store.artifacts.store import Request, Store
from microtome.store.files.locks import SUFFIX
from microtome.store.identity import digest
from microtome.store.remote.remote import progress_key


def saved_work(store: Store, request: Request) -> str:
    """Changes whenever a job has saved more of what it makes; empty as long as nothing is saved.

    In a folder this is the names and sizes of the files of its staging folders, on object storage the
    index of what was sent. A file that is rewritten with the same size is not seen; training states and
    parts of caches have names of their own.
    """
    if store.remote is not None:
        index = store.remote.objects.get(progress_key(f"{request.kind}/{request.folder}"))
        return "" if index is None else index[1]
    area = store.root / STAGING
    files = {}
    for folder in sorted(area.glob(f"{request.kind}.{request.folder}.*")) if area.is_dir() else ():
        for path in folder.rglob("*") if folder.is_dir() else ():
            try:
                if path.suffix != SUFFIX and path.is_file():
                    files[path.relative_to(area).as_posix()] = path.stat().st_size
            except OSError:
                continue  # it has just been removed, or renamed
    return digest(files) if files else ""
