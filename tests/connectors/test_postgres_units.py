"""One writer per unit: a second one is refused, a zombie writes nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import psycopg
import pytest

from connectors.postgres import read, units
from connectors.postgres.connection import Connection, connect
from connectors.postgres.migrate import migrate
from connectors.postgres.units import LeaseHeldError, LeaseLostError, Target
from connectors.postgres.writer import ReplayWriter
from schemas.loader import migrations
from tests.connectors.sample_rows import stream_items

ITEMS = list(stream_items(20, 10))


def test_a_second_writer_is_refused_and_the_first_goes_on(database: str, connection: Connection) -> None:
    first = ReplayWriter(database, "run")
    first.write(ITEMS[:4])
    first.flush()
    with pytest.raises(LeaseHeldError, match=r"run run .replay. is being written by another process .* --takeover"):
        units.acquire(connection, "replay", "run", patience_seconds=0.1)
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
    connection.execute(
        "update writer_unit set backend_pid = pg_backend_pid(), backend_start = now() - interval '1 hour'"
    )
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
    held = units.acquire(zombie, "replay", "run")
    zombie.execute("begin")
    units.check(zombie, held)
    taken = units.acquire(connection, "replay", "run", takeover=True)
    assert taken.token == held.token + 1
    with pytest.raises(psycopg.OperationalError):
        zombie.execute("commit")
    zombie.close()


def test_the_token_is_read_inside_the_transaction(database: str, connection: Connection) -> None:
    """A backend that survived the takeover, somehow, is still fenced by the token."""
    writer = ReplayWriter(database, "run")
    connection.execute("update writer_unit set token = token + 1")
    writer.write(ITEMS[:1])
    with pytest.raises(LeaseLostError):
        writer.flush()
    writer.close()
    assert sum(read.counts(connection, "run").values()) == 0
    connection.execute("delete from writer_unit")
    with connection.transaction(), pytest.raises(LeaseLostError, match="token is None"):
        units.check(connection, writer.lease)


def test_a_closed_writer_gives_the_run_back(database: str, connection: Connection) -> None:
    ReplayWriter(database, "run").close()
    row = connection.execute("select token, backend_pid from writer_unit").fetchone()
    assert row == (1, None)


A, B, C = (Target("md.bars.v1", partition) for partition in range(3))


def rows_of(connection: Connection, columns: LiteralString) -> list[tuple[object, ...]]:
    return connection.execute(f"select {columns} from writer_unit order by topic, partition").fetchall()


def test_units_are_taken_all_or_none(database: str, connection: Connection) -> None:
    """A writer of partitions 0 and 1 excludes one of 1 and 2, which then leaves 2 to others."""
    with connect(database) as other:
        units.acquire(connection, "live", "run", [A, B], writer="0/2")
        told = r"md.bars.v1 \[1\] of run run .live. is being written by another process, writer 0/2 .*--takeover"
        with pytest.raises(LeaseHeldError, match=told):
            units.acquire(other, "live", "run", [B, C], writer="1/2", patience_seconds=0.1)
        held = units.acquire(other, "live", "run", [C], writer="1/2")
        with other.transaction():
            units.check(other, held)


def test_one_token_above_all_before_it(database: str, connection: Connection) -> None:
    """Units with different histories, taken together: whoever held any of them is fenced."""
    with connect(database) as first:
        for _ in range(3):
            units.release(first, units.acquire(first, "live", "run", [A]))
        before = units.acquire(first, "live", "run", [B])
    held = units.acquire(connection, "live", "run", [B, A])
    assert (held.token, before.token) == (4, 1)
    assert rows_of(connection, "token") == [(4,), (4,)]


@pytest.mark.parametrize("target", [A, B, C])
def test_a_token_raised_in_any_unit_is_noticed(connection: Connection, target: Target) -> None:
    held = units.acquire(connection, "live", "run", [A, B, C])
    connection.execute("update writer_unit set token = 9 where partition = %s", [target.partition])
    told = rf"md.bars.v1 \[{target.partition}\] of run run .live. was taken over: its lease token is 9, mine is 1"
    with connection.transaction(), pytest.raises(LeaseLostError, match=told):
        units.check(connection, held)


def test_the_process_before_this_one_is_ended_at_once_a_stranger_is_not(database: str, connection: Connection) -> None:
    """Who presents the token of its store is the successor; the store of somebody else has another token."""
    with connect(database) as zombie:
        held = units.acquire(zombie, "live", "run", [A, B])
        with pytest.raises(LeaseHeldError):
            units.acquire(connection, "live", "run", [A, B], replaces={A: held.token}, patience_seconds=0.1)
        began = time.monotonic()
        units.acquire(connection, "live", "run", [A, B], replaces={A: held.token, B: held.token})
        assert time.monotonic() - began < 1.0
        with pytest.raises(psycopg.OperationalError):
            zombie.execute("select 1")


def test_predecessors_are_remembered_until_they_are_fenced(database: str, connection: Connection) -> None:
    """A process that died before its relay fenced anybody leaves that to the next one."""
    for partition, share in ((A, "0/2"), (B, "1/2")):
        with connect(database) as other:
            units.acquire(other, "live", "run", [partition], writer=share, transactional_id=f"id-{share}")
    with connect(database) as other:
        units.acquire(other, "live", "run", [A, B], writer="0/1", transactional_id="id-0/1")
    held = units.acquire(connection, "live", "run", [A, B], writer="0/1", transactional_id="id-0/1")
    assert held.predecessors == ("id-0/2", "id-1/2")
    assert held.earlier_writers == ("0/2", "1/2")
    units.settled(connection, held)
    again = units.acquire(connection, "live", "run", [A, B], writer="0/1", transactional_id="id-0/1")
    assert (again.predecessors, again.earlier_writers) == ((), ())


def test_of_many_who_want_overlapping_units_one_gets_them(database: str) -> None:
    """Rows are locked in one order, so nobody waits for each other."""
    gate = threading.Barrier(6)

    def want(number: int) -> int:
        with connect(database) as connection:
            gate.wait()
            try:
                units.acquire(connection, "live", "run", [A, B, C] if number % 2 else [C, A, B], patience_seconds=0.2)
            except LeaseHeldError:
                return 0
            time.sleep(1.0)
            return 1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(want, range(6))) == 1


def test_a_lease_of_before_goes_on_as_a_unit(empty_database: str) -> None:
    before, after = migrations()[:2], migrations()[:3]
    with connect(empty_database) as connection:
        migrate(connection, before)
        connection.execute("insert into lease (environment, run_id, token) values ('replay', 'run', 7)")
        migrate(connection, after)
        assert units.acquire(connection, "replay", "run").token == 8
