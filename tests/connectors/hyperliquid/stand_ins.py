"""What stands in for the input log, the websocket and the REST interface in the tests."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from lotus.columns import I64, Columns
from lotus.intake import Link

PATIENCE_S = 10.0


@dataclass
class LogOfLists:
    """An input log that keeps everything as (noun, key, value) in order."""

    records: list[tuple[str, Any, Any]] = field(default_factory=list)
    flushes: int = 0

    def write(self, noun: str, lane: tuple[str, str, str], rows: Columns) -> None:
        self.records.append((noun, lane, rows))

    def beat(self, ts: int) -> None:
        self.records.append(("heartbeat", None, ts))

    def connection(self, ts: int, state: Link, tokens: tuple[str, ...]) -> None:
        self.records.append(("connection", tokens, (ts, state)))

    def flush(self) -> None:
        self.flushes += 1

    def of(self, noun: str) -> list[tuple[Any, Any]]:
        return [(key, value) for kind, key, value in list(self.records) if kind == noun]

    def links(self) -> list[Link]:
        return [state for _, (_, state) in self.of("connection")]

    def trade_ids(self) -> list[int]:
        return [int(one) for _, rows in self.of("tick") for one in rows.trade_id]


class Counting:
    """Numbers of arrival from 1 on."""

    def __init__(self) -> None:
        self.last = 0

    def take(self, count: int) -> I64:
        first, self.last = self.last + 1, self.last + count
        return np.arange(first, self.last + 1, dtype=np.int64)


def until(met: Callable[[], object], what: str) -> None:
    """Wait until something is so; fails with what it is when it never is."""
    give_up = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.005)


class Client:
    """The server's end of one connection of a script."""

    def __init__(self, connection: ServerConnection, number: int, coins: tuple[str, ...]) -> None:
        self._connection = connection
        self.number = number
        self.coins = coins
        self.received: list[dict[str, Any]] = []
        self.answers_pings = True

    def send(self, *texts: str) -> None:
        for text in texts:
            self._connection.send(text)

    def take(self) -> dict[str, Any]:
        """The next request; pings are answered."""
        while True:
            request: dict[str, Any] = json.loads(self._connection.recv())
            self.received.append(request)
            if request["method"] != "ping":
                return request
            if self.answers_pings:
                self.send('{"channel":"pong"}')

    def answer(self, count: int) -> list[str]:
        """Answer so many subscriptions; a coin that nobody lists ends the connection, as the venue does it."""
        found = []
        for _ in range(count):
            request = self.take()
            found.append(request["subscription"]["coin"])
            if found[-1] not in self.coins:
                self.close()
            self.send(json.dumps({"channel": "subscriptionResponse", "data": request}))
        return found

    def stay(self) -> None:
        """Answer pings until the other end goes."""
        while True:
            self.take()

    def close(self) -> None:
        """Gone without a word: the TCP connection breaks."""
        self._connection.socket.close()
        raise ConnectionResetError("the script breaks the connection")


Script = Callable[[Client], None]


class Exchange:
    """A websocket server that plays a script on every connection; connections are numbered from 1."""

    def __init__(self, script: Script, coins: tuple[str, ...]) -> None:
        self._script = script
        self._coins = coins
        self._lock = threading.Lock()
        self.clients: list[Client] = []
        self.open_now = 0
        self.most_open = 0
        self._server = serve(self._play, "127.0.0.1", 0, close_timeout=0.2, ping_interval=None)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _play(self, connection: ServerConnection) -> None:
        with self._lock:
            client = Client(connection, len(self.clients) + 1, self._coins)
            self.clients.append(client)
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        try:
            self._script(client)
        except (ConnectionClosed, OSError):
            return
        finally:
            with self._lock:
                self.open_now -= 1

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


@contextmanager
def exchange(script: Script, coins: tuple[str, ...] = ("BTC", "ETH")) -> Iterator[Exchange]:
    """An exchange for the length of a test."""
    server = Exchange(script, coins)
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Reply:
    """One answer of the REST stand-in."""

    body: Any
    status: int = 200
    date: str | None = None


class RestServer:
    """An HTTP server whose answers are a function of method, path and body."""

    def __init__(self, reply: Callable[[str, Any], Reply]) -> None:
        self.requests: list[tuple[str, Any]] = []
        rest = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_GET(self) -> None:
                self._reply(None)

            def _reply(self, body: Any) -> None:
                rest.requests.append((self.path, body))
                found = reply(self.path, body)
                text = found.body.encode() if isinstance(found.body, str) else json.dumps(found.body).encode()
                self.send_response_only(found.status)
                self.send_header("Date", found.date or self.date_time_string())
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *_: Any) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def rest_server(reply: Callable[[str, Any], Reply]) -> Iterator[RestServer]:
    """A REST interface for the length of a test."""
    server = RestServer(reply)
    try:
        yield server
    finally:
        server.stop()
