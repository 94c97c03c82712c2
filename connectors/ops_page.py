"""The page of a process: GET /metrics for Prometheus, GET /healthz for its container; nothing on it changes state.

Every route asks for the bearer token where one is set: the page tells a stranger nothing, not even its routes.
"""

import hmac
import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connectors.health import Health
from connectors.ops_address import ADDRESS_VARIABLE, OpsAddress, OpsAddressError

REQUEST_SECONDS = 5.0  # a client that sends slower is dropped
REQUESTS_AT_ONCE = 16  # more are hung up on
JSON = "application/json; charset=utf-8"


class OpsPage:
    """Serves one process's metrics from a thread of its own.

    raises  OpsAddressError if the address cannot be bound
    """

    def __init__(self, registry: CollectorRegistry, health: Health, address: OpsAddress) -> None:
        """Bind the address; `start` begins to answer."""
        try:
            self._server = _Server(registry, health, address)
        except OSError as error:
            raise OpsAddressError(
                f"{ADDRESS_VARIABLE}: cannot listen at {address.host}:{address.port}: {error.strerror or error}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops-page", daemon=True)

    @property
    def address(self) -> OpsAddress:
        """Where it really listens: the port that was given, or the free one that was found."""
        given = self._server.given
        return OpsAddress(given.host, self._server.server_port, given.token)

    def start(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Answer."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow reader does not hold up the end of the process

    def __init__(self, registry: CollectorRegistry, health: Health, given: OpsAddress) -> None:
        self.registry, self.health, self.given = registry, health, given
        self.address_family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
        self._room = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        super().__init__((given.host, given.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread per request, but never many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lotus", ""

    def do_GET(self) -> None:
        """Answer a route."""
        self.close_connection = True
        route = self.path.partition("?")[0]
        if not self._may():
            self._answer(HTTPStatus.UNAUTHORIZED, JSON, _body("a bearer token is required"))
        elif route == "/metrics":
            encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encoder(self.server.registry))
        elif route == "/healthz":
            healthy, reasons = self.server.health.verdict()
            status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, JSON, json.dumps({"healthy": healthy, "reasons": reasons}).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, JSON, _body("routes: /metrics, /healthz"))

    def _may(self) -> bool:
        token = self.server.given.token
        if token is None:
            return True
        scheme, _, shown = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape is no event."""


def _body(text: str) -> bytes:
    return json.dumps({"error": text}).encode()
