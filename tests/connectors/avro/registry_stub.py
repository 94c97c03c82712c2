"""A schema registry in this process, with Confluent's interface as far as Lotus uses it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from connectors.avro.gate import incompatible


class Shelf:
    """What the registry holds: equal schemas share an id, whatever their subject."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.subjects: dict[str, list[str]] = {}
        self.levels: dict[str, str] = {}
        self.authorization: str | None = None

    def answer(self, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        match method, path:
            case "POST", ["subjects", subject, "versions"]:
                return self._registered(subject, body["schema"])
            case "GET", ["subjects", subject, "versions"]:
                return 200, list(range(1, len(self.subjects[subject]) + 1))
            case "GET", ["subjects", subject, "versions", number]:
                text = self.subjects[subject][int(number) - 1]
                return 200, {"subject": subject, "version": int(number), "id": self.ids[text], "schema": text}
            case "PUT", ["config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _registered(self, subject: str, text: str) -> tuple[int, Any]:
        held = self.subjects.setdefault(subject, [])
        if text not in held:
            versions = {str(number): json.loads(version) for number, version in enumerate([*held, text])}
            if self.levels.get(subject) == "FULL_TRANSITIVE" and incompatible(versions):
                return 409, {"error_code": 409, "message": "Schema being registered is incompatible"}
            held.append(text)
        return 200, {"id": self.ids.setdefault(text, 1000 + len(self.ids))}


@contextmanager
def stub_registry() -> Iterator[tuple[str, Shelf]]:
    """Its address and its shelf."""
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # an answer in one piece, or the client waits for the second

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if shelf.authorization is not None and self.headers.get("Authorization") != shelf.authorization:
                status, told = 401, {"error_code": 401, "message": "Unauthorized"}
            elif self.path.startswith("/page"):
                status, told = 200, None
            else:
                status, told = shelf.answer(self.command, self.path.strip("/").split("/"), json.loads(body or b"{}"))
            text = b"<html>" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
