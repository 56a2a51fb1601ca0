"""Google's and Microsoft's storage without a key: one line, within seconds. Nothing leaves the loopback."""

import contextlib
import os
import re
import socket
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from microtome.store.errors import StoreError
from microtome.store.remote import keys
from microtome.store.remote.failures import RefusedError
from microtome.store.remote.objects import Objects

PROVIDERS = ("AWS_", "AZURE_", "GCE_", "GOOGLE_", "IDENTITY_", "MSI_")
AT_MOST = 20.0  # seconds until it is said; the patience with a network is minutes


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    """No provider's variables, no folder with logins, and nobody to be asked for the machine's role."""
    for name in [name for name in os.environ if name.startswith(PROVIDERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(keys, "PATIENCE", timedelta(seconds=1))
    role_asked_at(monkeypatch, "127.0.0.1:9")


def role_asked_at(monkeypatch, place):
    """Let the services of a machine's role be at HOST:PORT of the loopback."""
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"):
        monkeypatch.setenv(name, place)
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", f"http://{place}/metadata/identity/oauth2/token")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{place}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # boto3's own look for it


@contextlib.contextmanager
def silent_server():
    """Somebody who takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def said(address, monkeypatch):
    """The one line that the first request is refused with, and that it came soon."""
    start = time.monotonic()
    with pytest.raises(RefusedError) as refused:
        Objects(address).list("a")
    assert time.monotonic() - start < AT_MOST
    assert "\n" not in str(refused.value)
    return str(refused.value)


WITHOUT_KEY = {
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or ",
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ",
}


@pytest.mark.parametrize("scheme", WITHOUT_KEY)
def test_without_a_key_it_is_said_at_once_what_to_set(no_keys, monkeypatch, scheme):
    if scheme == "az":
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    line = said(f"{scheme}://bucket/study", monkeypatch)
    assert line.startswith(f"no key for {scheme}://bucket/study was found; {WITHOUT_KEY[scheme]}")


@pytest.mark.parametrize("scheme", WITHOUT_KEY)
def test_a_service_that_never_answers_is_not_waited_for(no_keys, monkeypatch, scheme):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    with silent_server() as place:
        role_asked_at(monkeypatch, place)
        assert said(f"{scheme}://bucket/study", monkeypatch).startswith(f"no key for {scheme}://bucket/study")


def test_an_account_is_needed_for_azure(no_keys, monkeypatch):
    assert "set AZURE_STORAGE_ACCOUNT_NAME" in said("az://container/study", monkeypatch)


@pytest.mark.parametrize("address", ["gs://bucket", "gs://bucket/a/b/", "az://container/study"])
def test_an_address_is_taken_as_it_is_written(no_keys, address):
    assert Objects(address).address == address.rstrip("/")


@contextlib.contextmanager
def serving(respond):
    """The address of a server that gives respond(path) -> (status, body), and the paths of its requests."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            status, body = respond(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "InvalidAuthenticationInfo", "does not take this key"),
        (403, "AuthenticationFailed", "does not take this key"),
        (403, "AuthorizationPermissionMismatch", "no rights to"),
        (404, "ContainerNotFound", "there is no bucket at az://container/study"),
    ],
)
def test_what_azure_refuses_is_one_line(no_keys, monkeypatch, status, code, message):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    body = f"<Error><Code>{code}</Code></Error>".encode()
    with serving(lambda path: (status, body)) as (place, _):
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"http://{place}")
        with pytest.raises(StoreError, match=message) as refused:
            Objects("az://container/study", patience=timedelta(seconds=1)).put("a", b"1")
    assert "\n" not in str(refused.value)
    assert not re.search("c2VjcmV0|somebody", str(refused.value))


def test_the_role_of_a_machine_of_google_is_used(no_keys, monkeypatch):
    token = b'{"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}'
    listing = b"<ListBucketResult><Name>bucket</Name></ListBucketResult>"

    def respond(path):
        if "computeMetadata" in path:
            return 200, token
        return (404, b"") if "store.json" in path else (200, listing)

    with serving(respond) as (place, paths):
        role_asked_at(monkeypatch, place)
        monkeypatch.setenv("GOOGLE_BASE_URL", f"http://{place}")
        monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
        assert Objects("gs://bucket/study", patience=timedelta(seconds=1)).list("a") == []
    assert any("computeMetadata" in path for path in paths)
