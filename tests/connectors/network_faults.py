"""The way to Postgres fails, as functions with a seed: tests and `make chaos` call them; `whole` is the quiet run."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connectors.postgres import read
from connectors.postgres.connection import Connection
from connectors.postgres.units import LeaseLostError
from tests.connectors.live_kills import TAKEOVER_SECONDS, Found, differences
from tests.connectors.live_rows import RUN, batches, live, opened
from tests.proxy import FaultProxy

BATCHES = batches(6)
LATEST_BYTE = 40_000


@contextmanager
def proxied(dsn: str) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy before the database, and the dsn that goes through it."""
    parts = conninfo_to_dict(dsn)
    with FaultProxy(Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}") as proxy:
        yield proxy, make_conninfo(dsn, host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable")


def commit_in_doubt(dsn: str, connection: Connection, at: int, *, delivers: bool) -> Found:
    """C14: COMMIT of a batch was sent and nobody answered; it came through, or it did not."""
    live(dsn, BATCHES, run_id="whole")
    with proxied(dsn) as (proxy, through):
        writer = opened(through)
        snapshot = writer.snapshot()
        for batch in BATCHES[:at]:
            writer.write(batch)
            snapshot = writer.snapshot()
        proxy.cut_at(b"COMMIT", delivers=delivers)
        wrong = []
        try:
            writer.write(BATCHES[at])
            wrong.append("nobody was told that the answer to COMMIT never came")
        except psycopg.OperationalError:
            pass
        if proxy.cuts != 1:
            return Found([], missed=1)
        proxy.heal()
        resumed = opened(through, resume=snapshot)
        resumed.write(BATCHES[at])
        kinds = ("verified", "inserted")
        verified, inserted = (sum(getattr(count, kind) for count in resumed.counts.values()) for kind in kinds)
        if (verified > 0, inserted > 0) != (delivers, not delivers):
            wrong.append(f"misjudged: {verified} rows verified, {inserted} inserted, delivered is {delivers}")
        for batch in BATCHES[at + 1 :]:
            resumed.write(batch)
        resumed.close()
    return Found(wrong + differences(connection))


def reset_anywhere(dsn: str, connection: Connection, resets: int, seed: int) -> Found:
    """C13: connections are reset after a random byte of what the writer sends; no part of a batch stays."""
    live(dsn, BATCHES, run_id="whole")
    chance = random.Random(seed)
    bars = {sum(len(item.rows) for batch in BATCHES[:n] for item in batch if item.noun == "bar") for n in range(7)}
    snapshot, done, wrong = None, 0, []
    with proxied(dsn) as (proxy, through):
        for _ in range(resets):
            proxy.heal()
            writer = opened(through, resume=snapshot)
            first = writer.snapshot()
            proxy.reset_after(chance.randint(1, LATEST_BYTE))
            try:
                writer.write(BATCHES[done])
                snapshot, done = writer.snapshot(), done + 1
                writer._connection.close()
            except psycopg.OperationalError:
                snapshot = first
            if (found := read.counts(connection, RUN)["bar"]) not in bars:
                wrong.append(f"{found} bars: a part of a batch")
            if done == len(BATCHES):
                break
        landed = proxy.cuts
    last = opened(dsn, resume=snapshot)
    for batch in BATCHES[done:]:
        last.write(batch)
    last.close()
    return Found(wrong + differences(connection), missed=resets - landed)


def black_hole(dsn: str, connection: Connection) -> Found:
    """C20: nothing comes back; the zombie hangs in its transaction until its backend is ended and the way heals."""
    live(dsn, BATCHES, run_id="whole")
    ended: list[BaseException] = []
    with proxied(dsn) as (proxy, through):
        writer = opened(through)
        writer.write(BATCHES[0])
        snapshot = writer.snapshot()
        proxy.black_hole()

        def hang() -> None:
            try:
                writer.write(BATCHES[1])
            except (psycopg.OperationalError, LeaseLostError) as error:
                ended.append(error)

        zombie = threading.Thread(target=hang)
        zombie.start()
        zombie.join(0.3)
        missed = int(not zombie.is_alive())
        began = time.monotonic()
        successor = opened(dsn, resume=snapshot)
        took = time.monotonic() - began
        for batch in BATCHES[1:]:
            successor.write(batch)
        proxy.heal()
        zombie.join(10)
        successor.close()
    wrong = [] if took < TAKEOVER_SECONDS else [f"the takeover took {took:.1f} s"]
    if [type(error) for error in ended] != [LeaseLostError]:
        wrong.append(f"the zombie ended with {ended}")
    return Found(wrong + differences(connection), missed)
