"""What the hub on the loopback takes: repositories are made, large files go up by their sha256, and a commit
puts files in place, all of them or none."""

import base64
import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

PREUPLOAD = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)")
COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)")
BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
OBJECT = re.compile(r"/lfs/(?P<sha>[0-9a-f]{64})")
LARGE = 10_000  # bytes, from which a file is stored by its sha256


class Uploads:
    """Requests that write, of a handler of the emulator. `hub.tokens` says who may: "write" or "read"."""

    def do_POST(self) -> None:
        self.take_request()

    do_PUT = do_POST

    def take_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        body = self.body()
        fault = self.hub.fault(request)
        if fault is not None:
            return self.send_body(int(fault.what), b"{}", fault.headers)
        match = OBJECT.fullmatch(path)
        if match:  # an address that was signed for this one file, which needs no token
            return self.store_object(match["sha"], body)
        if path == "/api/validate-yaml":
            return self.send_json({})
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.hub.tokens:
            return self.send_body(401, b'{"error": "Invalid username or password."}', {})
        if self.hub.tokens[token] != "write":
            return self.send_body(403, b'{"error": "no write access"}', {})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        for pattern, respond in ((PREUPLOAD, self.preupload), (BATCH, self.batch), (COMMIT, self.commit)):
            match = pattern.fullmatch(path)
            if match and match["repo"] in self.hub.repos:
                return respond(match["repo"], body)
        return self.refuse(404, "RepoNotFound")

    def body(self) -> bytes:
        """What was sent, whole or in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def create(self, settings: dict[str, str]) -> None:
        name = f"{settings['organization']}/{settings['name']}"
        url = {"url": f"{self.hub.address}/{name}"}
        if name in self.hub.repos:
            return self.send_body(409, json.dumps(url).encode(), {"Content-Type": "application/json"})
        folder = self.hub.place / name.replace("/", "--")
        folder.mkdir(parents=True)
        self.hub.publish(name, folder, private=settings.get("visibility") == "private")
        self.send_json(url)

    def preupload(self, repo: str, body: bytes) -> None:
        files = json.loads(body)["files"]
        modes = {file["path"]: "lfs" if file["size"] > LARGE else "regular" for file in files}
        self.send_json(
            {
                "files": [
                    {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": self.oid_of(repo, path)}
                    for path, mode in modes.items()
                ]
            }
        )

    def oid_of(self, repo: str, path: str) -> str | None:
        """What the hub has under a path: the sha256 of a large file, else git's digest."""
        file = self.hub.repos[repo].folder / path
        if not file.is_file():
            return None
        content = file.read_bytes()
        if len(content) > LARGE:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def batch(self, repo: str, body: bytes) -> None:
        wanted = json.loads(body)["objects"]
        objects = []
        for each in wanted:
            stored = each["oid"] in self.hub.objects
            upload = {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}
            objects.append({**each, **({} if stored else {"actions": upload})})
        self.send_json({"transfer": "basic", "objects": objects})

    def store_object(self, sha: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != sha:
            return self.send_body(400, b"{}", {})
        self.hub.objects[sha] = body
        self.send_body(200, b"", {})

    def commit(self, repo: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        files = {line["value"]["path"]: self.content_of(line) for line in lines if line["key"] != "header"}
        if None in files.values():
            return self.send_body(400, b'{"error": "an object is not there"}', {})
        for name, content in files.items():
            path = Path(self.hub.repos[repo].folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.hub.commits.append(lines[0]["value"]["summary"])
        commit = hashlib.sha1(body).hexdigest()
        self.hub.repos[repo].commit = commit
        self.send_json({"commitUrl": f"{self.hub.address}/{repo}/commit/{commit}", "commitOid": commit})

    def content_of(self, line: dict) -> bytes | None:
        value = line["value"]
        return (
            base64.b64decode(value["content"])
            if line["key"] == "file"
            else self.hub.objects.get(value["oid"])
        )
