"""A hub on the loopback, for huggingface_hub's own client: repositories, and what can go wrong with them.

It speaks as much of the hub as a download takes: model info, the tree of a revision, and the files; and, in
`hub_uploads.py`, as much as a push takes.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.jobs.hub_uploads import LARGE, Uploads

AGREED = "hf_agreed"  # the token of an account that has agreed to the terms of all gated repositories
INFO = re.compile(r"/api/(models|datasets)/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
TREE = re.compile(r"/api/(models|datasets)/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
FILE = re.compile(r"/(datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD path" contains `where`.

    An HTTP status; or of a file "truncated", "stalled", or "wrong" (other bytes, as many of them).
    """

    where: str
    what: int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Repo:
    """A repository: the folder that is published, its commit, and what `main` and other revisions are."""

    folder: Path
    commit: str = "c" * 40
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False  # its files are for who has a token and has agreed, as AGREED has
    private: bool = False
    card: dict[str, str] = field(default_factory=dict)  # the metadata of its page
    announced: dict[str, tuple[int, str]] = field(default_factory=dict)  # files without bytes: size, sha256

    def commits(self) -> dict[str, str]:
        """revision -> commit."""
        known = {"main": self.commit, **self.revisions}
        return {**{commit: commit for commit in known.values()}, **known}


class HubEmulator:
    """Repositories by name; `requests` are those that came, `faults` those that are to go wrong. Of what is
    pushed: `tokens` that may "write" or "read", large `objects` by their sha256, the summaries of `commits`;
    repositories that are made lie in the folder `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tokens: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.repos: dict[str, Repo] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.closing = threading.Event()
        self.address = ""

    def publish(self, name: str, folder: Path, **settings) -> Repo:
        """Add a repository."""
        self.repos[name] = Repo(folder, **settings)
        return self.repos[name]

    def downloads(self) -> list[str]:
        """The files whose bytes were asked for."""
        matches = (FILE.fullmatch(r.removeprefix("GET ")) for r in self.requests if r.startswith("GET "))
        return [match["path"] for match in matches if match]

    def fault(self, request: str) -> Fault | None:
        """What goes wrong with a request, if anything."""
        for fault in self.faults:
            if fault.times and fault.where in request:
                fault.times -= 1
                return fault
        return None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests on a free port of the loopback."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()


class _Handler(Uploads, BaseHTTPRequestHandler):
    hub: HubEmulator
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        fault = self.hub.fault(request)
        if fault is not None and isinstance(fault.what, int):
            return self.send_body(fault.what, b"{}", fault.headers)
        for pattern, respond in ((TREE, self.tree), (INFO, self.info)):
            match = pattern.fullmatch(path)
            if match and self.allowed(match["repo"], match["revision"]):
                return respond(self.hub.repos[match["repo"]], match["revision"] or "main")
            if match:
                return None
        match = FILE.fullmatch(path)
        if match and self.allowed(match["repo"], match["revision"], files=True):
            self.file(self.hub.repos[match["repo"]], match, fault)
        elif not match:
            self.refuse(404, "EntryNotFound")
        return None

    do_HEAD = do_GET

    def allowed(self, name: str, revision: str | None, files: bool = False) -> bool:
        repo = self.hub.repos.get(name)
        if repo is None:
            self.refuse(401, "RepoNotFound")
        elif revision is not None and revision not in repo.commits():
            self.refuse(404, "RevisionNotFound")
        elif repo.gated and files and self.headers.get("Authorization") != f"Bearer {AGREED}":
            self.refuse(403, "GatedRepo")
        else:
            return True
        return False

    def info(self, repo: Repo, revision: str) -> None:
        siblings = [
            {"rfilename": name, "size": size, "blobId": git, "lfs": _lfs(size, sha, "sha256")}
            for name, size, git, sha in _listed(repo)
        ]
        name = next(name for name, value in self.hub.repos.items() if value is repo)
        card = {"cardData": repo.card} if repo.card else {}
        about = {"id": name, "sha": repo.commits()[revision], "private": repo.private}
        self.send_json({**about, "siblings": siblings, **card})

    def tree(self, repo: Repo, revision: str) -> None:
        self.send_json(
            [
                {"type": "file", "path": name, "size": size, "oid": git, "lfs": _lfs(size, sha, "oid")}
                for name, size, git, sha in _listed(repo)
            ]
        )

    def file(self, repo: Repo, match: re.Match[str], fault: Fault | None) -> None:
        path = repo.folder / match["path"]
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        headers = {
            "X-Repo-Commit": repo.commits()[match["revision"]],
            "ETag": f'"{_etag(content)}"',
            "Accept-Ranges": "bytes",
        }
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if fault is not None and fault.what == "wrong":
            body = bytes(byte ^ 1 for byte in body)
        self.send_body(status, body, headers, cut=fault.what if fault is not None else None)
        return None

    def refuse(self, status: int, code: str) -> None:
        self.send_body(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def send_json(self, value) -> None:
        self.send_body(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_body(
        self, status: int, body: bytes, headers: dict[str, str], cut: int | str | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut not in ("truncated", "stalled"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if cut == "stalled":
            self.hub.closing.wait(timeout=30)
        self.close_connection = True


def _listed(repo: Repo) -> Iterator[tuple[str, int, str, str | None]]:
    """Name, size, git's digest, and the sha256 of a large file, of every file of a repository."""
    for path in sorted(path for path in repo.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        sha = hashlib.sha256(content).hexdigest() if len(content) > LARGE else None
        yield path.relative_to(repo.folder).as_posix(), len(content), _git(content), sha
    for name, (size, sha) in repo.announced.items():
        yield name, size, "0" * 40, sha


def _lfs(size: int, sha: str | None, key: str) -> dict[str, object] | None:
    return {key: sha, "size": size, "pointerSize": 130} if sha else None


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) > LARGE else _git(content)
