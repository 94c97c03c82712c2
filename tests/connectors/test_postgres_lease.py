"""One writer per run: a second one is refused, a zombie writes nothing."""

import psycopg
import pytest

from connectors.postgres import lease, read
from connectors.postgres.connection import Connection, connect
from connectors.postgres.lease import LeaseHeldError, LeaseLostError
from connectors.postgres.writer import ReplayWriter
from tests.connectors.sample_rows import stream_items

ITEMS = list(stream_items(20, 10))


def test_a_second_writer_is_refused_and_the_first_goes_on(database: str, connection: Connection) -> None:
    first = ReplayWriter(database, "run")
    first.write(ITEMS[:4])
    first.flush()
    with pytest.raises(LeaseHeldError, match=r"run run .replay. is being written by another process .* --takeover"):
        lease.acquire(connection, "replay", "run", patience_seconds=0.1)
    first.write(ITEMS[4:])
    first.finish()
    first.close()


def test_other_runs_and_environments_have_leases_of_their_own(database: str) -> None:
    writers = [
        ReplayWriter(database, run_id, environment=environment)
        for run_id, environment in (("a", "replay"), ("b", "replay"), ("a", "paper"))
    ]
    assert [writer.lease.token for writer in writers] == [1, 1, 1]
    for writer in writers:
        writer.close()


def test_a_dead_writer_is_replaced_at_once(database: str) -> None:
    first = ReplayWriter(database, "run")
    first._connection.close()  # what a kill does: the lease is not given back
    second = ReplayWriter(database, "run")
    assert second.lease.token == first.lease.token + 1
    second.close()


def test_a_backend_with_the_same_number_is_not_the_same_backend(database: str, connection: Connection) -> None:
    ReplayWriter(database, "run").close()
    connection.execute("update lease set backend_pid = pg_backend_pid(), backend_start = now() - interval '1 hour'")
    second = ReplayWriter(database, "run")
    assert second.lease.token == 2
    second.close()


def test_a_zombie_writes_nothing_after_a_takeover(database: str, connection: Connection) -> None:
    """The zombie has rows waiting when it is taken over, and another transaction's rows after it."""
    zombie = ReplayWriter(database, "run")
    zombie.write(ITEMS[:4])
    successor = ReplayWriter(database, "run", takeover=True)
    with pytest.raises(LeaseLostError, match="its lease token is 2, mine is 1"):
        zombie.flush()
    zombie.close()
    assert sum(read.counts(connection, "run").values()) == 0
    successor.write(ITEMS)
    successor.finish()
    successor.close()
    assert read.counts(connection, "run")["bar"] == 80


def test_a_takeover_ends_a_writer_that_holds_its_locks(database: str, connection: Connection) -> None:
    """Paused inside a transaction: the row lock is held, and only ending the backend frees it."""
    zombie = connect(database)
    held = lease.acquire(zombie, "replay", "run")
    zombie.execute("begin")
    lease.check(zombie, held)
    taken = lease.acquire(connection, "replay", "run", takeover=True)
    assert taken.token == held.token + 1
    with pytest.raises(psycopg.OperationalError):
        zombie.execute("commit")
    zombie.close()


def test_the_token_is_read_inside_the_transaction(database: str, connection: Connection) -> None:
    """A backend that survived the takeover, somehow, is still fenced by the token."""
    writer = ReplayWriter(database, "run")
    connection.execute("update lease set token = token + 1")
    writer.write(ITEMS[:1])
    with pytest.raises(LeaseLostError):
        writer.flush()
    writer.close()
    assert sum(read.counts(connection, "run").values()) == 0
    connection.execute("delete from lease")
    with connection.transaction(), pytest.raises(LeaseLostError, match="token is None"):
        lease.check(connection, writer.lease)


def test_a_closed_writer_gives_the_run_back(database: str, connection: Connection) -> None:
    ReplayWriter(database, "run").close()
    row = connection.execute("select token, backend_pid from lease").fetchone()
    assert row == (1, None)
