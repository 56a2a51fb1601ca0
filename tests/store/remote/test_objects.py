"""One contract for every kind of object storage: conditional writes, ranges, and failures in one line."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from microtome.store.errors import InputError, StoreError
from microtome.store.remote.objects import Objects


def test_what_is_written_is_listed_and_read(objects):
    objects.put("a/b/one", b"12345")
    objects.put("a/two", b"67")
    objects.put("ab/three", b"8")
    assert [(e.key, e.bytes) for e in objects.list("a")] == [("a/b/one", 5), ("a/two", 2)]
    assert objects.get("a/two")[0] == b"67"
    assert b"".join(objects.stream("a/b/one", 1, 3)) == b"234"
    assert objects.size("a/b/one") == 5


def test_what_is_not_there_is_none(objects):
    objects.delete(["a"])
    assert objects.get("a") is None
    assert objects.size("a") is None
    assert objects.list("a") == []
    assert objects.put_unchanged("a", b"1", '"0"') is None


def test_only_the_first_creates(objects):
    tag = objects.put_new("a", b"first")
    assert tag is not None
    assert objects.put_new("a", b"second") is None
    assert objects.get("a") == (b"first", tag)


def test_a_repeated_write_of_ones_own_counts(objects):
    """The answer to the first may have been lost on the way."""
    tag = objects.put_new("a", b"mine")
    assert objects.put_new("a", b"mine") == tag


def test_a_write_on_a_version_succeeds_only_while_it_is_the_newest(objects):
    first = objects.put_new("a", b"1")
    second = objects.put_unchanged("a", b"2", first)
    assert second not in (None, first)
    assert objects.put_unchanged("a", b"3", first) is None
    assert objects.get("a") == (b"2", second)


def test_of_sixteen_that_create_one_does(objects):
    with ThreadPoolExecutor(16) as pool:
        tags = list(pool.map(lambda n: objects.put_new("a", b"%d" % n), range(16)))
    assert sum(tag is not None for tag in tags) == 1


def test_of_sixteen_that_replace_one_version_one_does(objects):
    tag = objects.put_new("a", b"start")
    with ThreadPoolExecutor(16) as pool:
        tags = list(pool.map(lambda n: objects.put_unchanged("a", b"%d" % n, tag), range(16)))
    assert sum(tag is not None for tag in tags) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s4://bucket/a", "unknown kind of address 's4://'; did you mean 's3://'?"),
        ("s3://", "names no bucket"),
        ("s3://key:secret@bucket/a", "holds a bucket and a prefix only"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address, message):
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        Objects(address)
    assert "secret" not in str(refused.value)


def test_no_bucket_is_one_line(s3):
    objects = Objects("s3://no-such-bucket/a")
    for act in (lambda: objects.list("a"), lambda: objects.put("a", b""), lambda: objects.get("a")):
        with pytest.raises(StoreError, match=r"^there is no bucket at s3://no-such-bucket/a; [^\n]*$"):
            act()


def refusing(monkeypatch, answer):
    """Objects of a server that always answers so."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        asked = 0

        def answer(self):
            Handler.asked += 1
            status, body = answer
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = answer

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    return server, Handler


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "InvalidAccessKeyId", "does not take this key"),
        (403, "SignatureDoesNotMatch", "does not take this key"),
        (403, "AccessDenied", "no rights to"),
        (403, "QuotaExceeded", "is full"),
        (507, "XMinioStorageFull", "is full"),
    ],
)
def test_a_refusal_is_one_line_without_secrets(s3, monkeypatch, status, code, message):
    server, _ = refusing(monkeypatch, (status, f"<Error><Code>{code}</Code></Error>".encode()))
    objects = Objects(s3, patience=timedelta(seconds=1))
    try:
        with pytest.raises(StoreError, match=message) as refused:
            objects.put("a", b"1")
    finally:
        server.shutdown()
        server.server_close()
    assert "\n" not in str(refused.value)
    assert "a-secret" not in str(refused.value)
    assert "a-key" not in str(refused.value)


def test_no_network_is_tried_again_and_then_one_line(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"^cannot reach s3://[^\n]* \(tried [2-9] times\)[^\n]*$"):
        Objects(s3, patience=timedelta(seconds=1)).put("a", b"1")


def test_a_server_that_fails_for_a_moment_is_asked_again(s3, monkeypatch):
    server, handler = refusing(monkeypatch, (503, b"<Error><Code>SlowDown</Code></Error>"))
    try:
        with pytest.raises(StoreError, match="cannot reach"):
            Objects(s3, patience=timedelta(seconds=1)).put("a", b"1")
    finally:
        server.shutdown()
        server.server_close()
    assert handler.asked > 1
