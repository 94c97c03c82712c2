"""A small TCP proxy with faults, in this process: what a network does to a client of Postgres or Kafka.

    with FaultProxy(("127.0.0.1", 9092)) as proxy:      # or the path of a unix socket
        client.connect(proxy.port)
        proxy.black_hole()                              # nothing passes any more, connections stay open
        proxy.heal()

Faults hold for all connections, open ones and new ones, until `heal`.
"""

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

Address = tuple[str, int] | Path

_CHUNK = 16 * 1024
_TICK_SECONDS = 0.02


@dataclass(frozen=True)
class Fault:
    """What is done to bytes on their way.

    delay_seconds     each piece waits so long
    bytes_per_second  no more than that passes, each way; 0: as fast as it goes
    black_hole        nothing passes, and nobody is told
    reset_at          count of bytes from clients at which the connection is reset, both ends; -1: never
    cut_at            once the client has sent this, both ends are cut off; b"": never
    cut_delivers      whether the server still gets what was cut at. It never gets an answer through
    """

    delay_seconds: float = 0.0
    bytes_per_second: int = 0
    black_hole: bool = False
    reset_at: int = -1
    cut_at: bytes = b""
    cut_delivers: bool = True


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to the address."""

    def __init__(self, address: Address) -> None:
        """Nothing happens before it is entered."""
        self._address = address
        self._fault = Fault()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self.client_bytes = 0  # from clients, passed on, over all connections
        self.cuts = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        """Start."""
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def heal(self) -> None:
        """Let everything pass; connections that were cut stay cut."""
        self._fault = Fault()

    def delay(self, seconds: float) -> None:
        """Every piece waits so long, each way."""
        self._fault = replace(self._fault, delay_seconds=seconds)

    def throttle(self, bytes_per_second: int) -> None:
        """Not more than that, each way."""
        self._fault = replace(self._fault, bytes_per_second=bytes_per_second)

    def black_hole(self) -> None:
        """Nothing passes any more, and no connection ends."""
        self._fault = replace(self._fault, black_hole=True)

    def reset_after(self, client_bytes: int) -> None:
        """Reset the connection that sends the last of so many more bytes from clients."""
        self._fault = replace(self._fault, reset_at=self.client_bytes + client_bytes)

    def cut_at(self, text: bytes, *, delivers: bool) -> None:
        """Reset the client once it has sent the text; the server gets the text or not, its answer goes nowhere."""
        self._fault = replace(self._fault, cut_at=text, cut_delivers=delivers)

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], _TICK_SECONDS)[0]:
                client, _ = self._listener.accept()
                self.connections += 1
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, _connected(self._address) as server, suppress(OSError):
            while not self._ended.is_set():
                ready = select.select([client, server], [], [], _TICK_SECONDS)[0]
                if self._fault.black_hole:
                    time.sleep(_TICK_SECONDS)
                    continue
                if server in ready and not self._pass(server, client, _CHUNK):
                    return
                if client in ready:
                    left = self._fault.reset_at - self.client_bytes if self._fault.reset_at >= 0 else _CHUNK
                    if left <= 0:
                        self._cut(client, server)
                        return
                    count = self._pass(client, server, min(left, _CHUNK))
                    self.client_bytes += count
                    if not count:
                        return

    def _pass(self, source: socket.socket, target: socket.socket, limit: int) -> int:
        """One piece; returns its bytes, 0 at the end."""
        piece = source.recv(limit)
        fault = self._fault
        seconds = fault.delay_seconds + (len(piece) / fault.bytes_per_second if fault.bytes_per_second else 0.0)
        if seconds:
            self._ended.wait(seconds)
        if fault.cut_at and fault.cut_at in piece:
            if fault.cut_delivers:
                target.sendall(piece)
                target.recv(1)  # it answers: what it was told to do is done
            self._cut(source, target)
            return 0
        target.sendall(piece)
        return len(piece)

    def _cut(self, client: socket.socket, server: socket.socket) -> None:
        _reset(client)
        _reset(server)
        self.cuts += 1


def _connected(address: Address) -> socket.socket:
    if isinstance(address, Path):
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(address))
        return server
    return socket.create_connection(address)


def _reset(end: socket.socket) -> None:
    """Close with a reset instead of a farewell."""
    if end.family != socket.AF_UNIX:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
