"""A whole deployment on one machine: broker, Postgres, flows and a feed as child processes of this one.

    lotus up --+-- Kafka      (embedded, or --brokers)
               +-- Postgres   (embedded, or --dsn)
               +-- lotus flow ... once per flow and share, started again when one dies
               +-- lotus feed / lotus ingest

A child that refuses to start (exit codes 2 and 4, or fenced) is not started again; everything else is, with a pause
that doubles while it keeps dying.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.interrupt import Stopped

REFUSED, IN_THE_WAY, FENCED = 2, 4, 77
FINAL = frozenset({0, REFUSED, IN_THE_WAY, FENCED})
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, CALM_SECONDS = 0.2, 10.0, 30.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.1
TAIL_BYTES = 8192


@dataclass
class Child:
    """One supervised process."""

    name: str
    arguments: Sequence[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    started_at: float = 0.0
    due_at: float = 0.0
    pause: float = PAUSE_SECONDS
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def over(self) -> bool:
        """Whether it has ended and is not to be started again."""
        return self.exit_code in FINAL


@dataclass
class Supervisor:
    """Starts children, starts them again, stops them."""

    environment: Mapping[str, str]
    folder: Path
    children: list[Child] = field(default_factory=list)

    def add(self, name: str, arguments: Sequence[str]) -> None:
        """A child that runs `lotus ARGUMENTS`."""
        self.children.append(Child(name, arguments, self.folder / "logs" / f"{name}.log"))

    def tend(self) -> None:
        """Notice who has died and start who is due."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._buried(child, now)
            if child.process is None and not child.over and now >= child.due_at:
                self._start(child, now)

    def stop(self) -> None:
        """Ask all children to end, then wait for them together; who does not end in time is killed."""
        for child in self.children:
            if child.running:
                assert child.process is not None, "a running child has a process"
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            if child.process is not None:
                try:
                    child.exit_code = child.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.exit_code = child.process.wait()
                child.process = None

    def _start(self, child: Child, now: float) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        # who is started again stands in for the one that died: it may end what is left of it
        restarted = ["--takeover"] if child.starts and child.arguments[0] == "flow" else []
        with child.log.open("ab") as log:
            child.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "flows.cli", *child.arguments, *restarted],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=dict(self.environment),
                start_new_session=True,
            )
        child.starts += 1
        child.started_at, child.exit_code = now, None

    def _buried(self, child: Child, now: float) -> None:
        assert child.process is not None, "only who was started can die"
        child.exit_code = child.process.returncode
        child.process = None
        child.pause = (
            PAUSE_SECONDS if now - child.started_at > CALM_SECONDS else min(child.pause * 2, LONGEST_PAUSE_SECONDS)
        )
        child.due_at = now + child.pause


def tended(supervisor: Supervisor, stopped: Stopped, look: Callable[[Supervisor], None]) -> None:
    """Supervise until somebody stops it or every child is over; `look` is called now and then."""
    shown_at = 0.0
    while not stopped() and not all(child.over for child in supervisor.children):
        supervisor.tend()
        if time.monotonic() - shown_at > 1.0:
            shown_at = time.monotonic()
            look(supervisor)
        time.sleep(LOOK_SECONDS)


@contextmanager
def registered(folder: Path, told: Mapping[str, object]) -> Iterator[None]:
    """Leave word of a running deployment in its folder: `lotus down` finds it there. A dsn may hold a password."""
    path, written = folder / "up.json", folder / "up.json.part"
    written.touch(mode=0o600)
    written.write_text(json.dumps({"pid": os.getpid(), **told}, indent=2))
    written.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def bring_down(folder: Path, wait_seconds: float = 2 * STOP_SECONDS) -> bool:
    """End the deployment of a folder; False if none runs there, or if it has not ended in time."""
    path = folder / "up.json"
    if not path.exists():
        return False
    pid = int(json.loads(path.read_text())["pid"])
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        path.unlink(missing_ok=True)
        return False
    give_up = time.monotonic() + wait_seconds
    while path.exists() and time.monotonic() < give_up:
        time.sleep(LOOK_SECONDS)
    return not path.exists()


def tail_of(log: Path, lines: int = 3) -> str:
    """The last lines of a child's log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
