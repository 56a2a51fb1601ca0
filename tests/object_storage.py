"""moto's server of S3, on the loopback, and an environment in which a process can use it."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

SECRET = "a-secret-that-nobody-may-see"


@contextlib.contextmanager
def serving_s3() -> Iterator[str]:
    """The address of the server, for as long as the block runs."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args: Any) -> None:
            pass

    moto, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def app(environ: Any, start_response: Any) -> Any:
        # moto looks at a condition and writes later; S3 does both at once.
        with one_at_a_time:
            return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(server: str) -> dict[str, str]:
    """The variables by which a process uses the server."""
    return {
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
    }


def make_bucket(server: str, name: str) -> None:
    """Make a bucket, with the keys of this process's environment."""
    import boto3

    boto3.client("s3", endpoint_url=server, region_name="us-east-1").create_bucket(Bucket=name)
