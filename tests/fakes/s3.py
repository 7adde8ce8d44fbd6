"""An S3 server on loopback that can be slow, overloaded or gone."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "eyes"


class S3Server:
    """A server; `address` is that of an S3 endpoint.

    Attributes:
        delay_s: Time before each answer.
        num_refusals: How many of the next requests are answered with 503.
        num_requests: Requests for the contents of objects so far.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.delay_s = 0.0
        self.num_refusals = 0
        self.num_requests = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = make_server("127.0.0.1", self._port, self._answer, threaded=True)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on; what is stored stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def upload(self, directory: Path, prefix: str) -> str:
        """Store the files of a directory and return their address."""
        client = boto3.client("s3", endpoint_url=self.address)
        client.create_bucket(Bucket=BUCKET)
        for path in directory.iterdir():
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
        client.close()
        return f"s3://{BUCKET}/{prefix}"

    def remove(self, key: str) -> None:
        """Delete an object."""
        client = boto3.client("s3", endpoint_url=self.address)
        client.delete_object(Bucket=BUCKET, Key=key)
        client.close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        is_content = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith(".tar")
        self.num_requests += is_content
        time.sleep(self.delay_s)
        if self.num_refusals > 0:
            self.num_refusals -= 1
            start("503 Slow Down", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        return self._app(environ, start)


def use_server(server: S3Server, environment: Any = os.environ) -> None:
    """Let clients of this process, or of an environment, go to the server."""
    environment.update(ENVIRONMENT | {"AWS_ENDPOINT_URL": server.address})
