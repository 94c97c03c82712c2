"""Live writers that are killed, doubled and put to sleep, as functions with a seed: tests and `make chaos` call them.

Each says what was not as in the run that nothing happens to; a fault that hit nothing is void, and said to be.
"""

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psycopg

from connectors.failpoints import POINTS
from connectors.postgres import units
from connectors.postgres.connection import Connection
from connectors.postgres.copy_rows import HEADER
from connectors.postgres.units import LeaseLostError
from tests.connectors.killed_live import BATCHES, HELD, LOST, Start, forked, items_after, run, stored, wait_for_epochs
from tests.connectors.live_rows import holes, live, opened, written

WRITER_POINTS = [point for point in POINTS if point.startswith("writer.")]
SLEEPS = ("", "writer.inside_copy:9:STOP", "writer.before_commit:4:STOP")
SLEEPY_SECONDS = 0.002
TAKEOVER_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
_COPY = "copy bar from stdin (format binary)"


class Found(NamedTuple):
    """wrong: what is not as it must be; missed: faults that hit nothing."""

    wrong: list[str]
    missed: int = 0


def differences(connection: Connection) -> list[str]:
    """Where the run is not the run `whole`."""
    found, whole = written(connection), written(connection, "whole")
    wrong = [name for name in whole if found[name] != whole[name]]
    return wrong + ([f"{count} holes"] if (count := holes(connection)) else [])


def whole(dsn: str) -> None:
    """The run that nothing happens to."""
    live(dsn, BATCHES, run_id="whole")


def killed_at_points(
    dsn: str, connection: Connection, store: Path, points: Sequence[str], seed: int, start: Start = run
) -> Found:
    """C02: one run, killed at each point in turn, at a random pass, then finished."""
    whole(dsn)
    chance = random.Random(seed)
    missed = 0
    for point in points:
        passes = 1 if point == "writer.lease_taken" else chance.randint(1, 3)
        process = forked(start, dsn, store, f"{point}:{passes}")
        process.join(PATIENCE_SECONDS)
        missed += process.exitcode != -signal.SIGKILL
    return Found(_finished(dsn, connection, store, start), missed)


def killed_at_random(dsn: str, connection: Connection, store: Path, kills: int, seed: int, start: Start = run) -> Found:
    """C01: one run, killed again and again, then finished."""
    whole(dsn)
    chance = random.Random(seed)
    missed = 0
    for _ in range(kills):
        process = forked(start, dsn, store)
        wait_for_epochs(process, store, chance.randint(1, 6))
        time.sleep(chance.uniform(0.0, 0.01))
        process.kill()
        process.join()
        missed += process.exitcode != -signal.SIGKILL
    return Found(_finished(dsn, connection, store, start), missed)


def _finished(dsn: str, connection: Connection, store: Path, start: Start) -> list[str]:
    process = forked(start, dsn, store)
    process.join(PATIENCE_SECONDS)
    ended = [f"the last process ended with {process.exitcode}"] if process.exitcode else []
    return ended + differences(connection)


def doubled(dsn: str, connection: Connection, folder: Path, seed: int, *, same_store: bool) -> Found:
    """C32: with a store of its own the second one is refused; with the first one's store it is the successor."""
    whole(dsn)
    chance = random.Random(seed)
    stores = [folder / "first", folder / ("first" if same_store else "second")]
    for store in stores:
        store.mkdir(exist_ok=True)
    first = forked(run, dsn, stores[0], "", 0.1)
    wait_for_epochs(first, stores[0], chance.randint(3, 6))
    second = forked(run, dsn, stores[1])
    second.join(PATIENCE_SECONDS)
    wrong = []
    if not same_store:
        first.kill()
        first.join()
        if second.exitcode != HELD or stored(stores[0])[0] == 0:
            wrong.append(f"the second one ended with {second.exitcode}")
        first = forked(run, dsn, stores[0])
    first.join(PATIENCE_SECONDS)
    codes = (first.exitcode, second.exitcode)
    if codes != ((LOST, 0) if same_store else (0, HELD)):
        wrong.append(f"they ended with {codes}")
    return Found(wrong + differences(connection))


def slept_through_a_takeover(dsn: str, connection: Connection, store: Path, fail: str, start: Start = run) -> Found:
    """C33: stopped between transactions or inside one, taken over, woken up."""
    whole(dsn)
    zombie = forked(start, dsn, store, fail, SLEEPY_SECONDS)
    pid = zombie.pid or 0
    if not fail:
        wait_for_epochs(zombie, store, 3)
        os.kill(pid, signal.SIGSTOP)
    elif not _stopped(pid):
        zombie.kill()
        return Found([], missed=1)
    done, snapshot = stored(store)
    began = time.monotonic()
    successor = opened(dsn, resume=snapshot)
    took = time.monotonic() - began
    wrong = [f"the takeover took {took:.1f} s"] if took >= units.PATIENCE_SECONDS else []
    for batch in items_after(done)[:5]:
        successor.write(batch)
    os.kill(pid, signal.SIGCONT)
    for batch in items_after(done)[5:]:
        successor.write(batch)
    zombie.join(PATIENCE_SECONDS)
    if zombie.exitcode != LOST:
        wrong.append(f"the zombie ended with {zombie.exitcode}")
        zombie.kill()
    successor.close()
    return Found(wrong + differences(connection))


def taken_over_inside_a_copy(dsn: str) -> Found:
    """C18: the paused writer holds the lock of its units, and only ending its backend frees them."""
    paused = opened(dsn)
    paused._connection.execute("begin")
    units.check(paused._connection, paused.units)
    took = -1.0
    with suppress(psycopg.OperationalError), paused._connection.cursor().copy(_COPY) as copy:
        copy.write(HEADER)
        began = time.monotonic()
        successor = opened(dsn, takeover=True)
        took = time.monotonic() - began
        successor.write(BATCHES[0])
        successor.close()
    if not paused._connection.closed:
        return Found([], missed=1)
    wrong = [] if 0.0 <= took < TAKEOVER_SECONDS else [f"the takeover took {took:.1f} s"]
    try:
        paused.write(BATCHES[0])
        wrong.append("the paused writer wrote")
    except LeaseLostError as error:
        if "its lease token is 2, mine is 1" not in str(error):
            wrong.append(str(error))
    return Found(wrong)


def _stopped(pid: int, seconds: float = 30.0) -> bool:
    give_up = time.monotonic() + seconds
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        if time.monotonic() > give_up:
            return False
        time.sleep(0.001)
    return True
