"""One writer per unit: a lease with a token that every transaction of the writer checks (exactly-once.md 2).

    unit      (environment, run, topic, partition); a replay has one for the whole run
    acquire   the holders' backends are gone -> highest token + 1 for all units, in one transaction
              one of them lives              -> refuse; or end that backend first: `takeover`, or it is our predecessor
    check     inside the writer's transaction, `for share`: another token -> LeaseLostError, nothing is written

A zombie's commit cannot slip in: its backend is ended before the token is raised, and its next transaction reads
the raised token.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg

from connectors.postgres.connection import Connection, UnreachableError, connect

PATIENCE_SECONDS = 2.0  # a killed writer's backend needs a moment to notice that its client is gone
_POLL_SECONDS = 0.02
_END_MS = 5000
_TAKEOVER_SECONDS = 1.0


class Target(NamedTuple):
    """A partition of a topic: what one writer has for itself, and where its messages go."""

    topic: str
    partition: int


WHOLE_RUN = Target("*", 0)  # the only unit of a replay


class LeaseHeldError(RuntimeError):
    """Another living writer has a unit."""


class LeaseLostError(RuntimeError):
    """Another writer took a unit over; this one must stop."""


@dataclass(frozen=True, slots=True)
class Units:
    """The right to write some units of one run.

    token            the same in all of them
    predecessors     transactional ids of earlier holders: the relay fences them before it sends anything
    earlier_writers  earlier holders by name: their outboxes may hold messages of these units that are not sent
    stored           units of which a recovery store has, or had, a state
    """

    environment: str
    run_id: str
    targets: tuple[Target, ...]
    token: int
    predecessors: tuple[str, ...] = ()
    earlier_writers: tuple[str, ...] = ()
    stored: frozenset[Target] = field(default=frozenset())

    def named(self, target: Target) -> str:
        """How people call a unit."""
        run = f"run {self.run_id} ({self.environment})"
        return run if target == WHOLE_RUN else f"{target.topic} [{target.partition}] of {run}"

    def columns(self) -> tuple[str, str, list[str], list[int]]:
        """Environment, run, topics, partitions: what the queries ask for."""
        topics = [target.topic for target in self.targets]
        return self.environment, self.run_id, topics, [target.partition for target in self.targets]


class _Holder(NamedTuple):
    """Who has a unit."""

    target: Target
    token: int
    writer: str
    pid: int | None
    alive: bool


def acquire(
    connection: Connection,
    environment: str,
    run_id: str,
    targets: Iterable[Target] = (WHOLE_RUN,),
    *,
    writer: str = "",
    transactional_id: str | None = None,
    takeover: bool = False,
    replaces: Mapping[Target, int] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Units:
    """Become the writer of the units, on this connection: of all of them or of none.

    takeover  end every living holder
    replaces  tokens that our own recovery store was written under: a holder with such a token is the process before
              this one, and is ended at once however alive its backend looks
    raises    LeaseHeldError if a living stranger has one of them
    """
    wanted = Units(environment, run_id, tuple(sorted(set(targets))), 0)
    known = replaces or {}
    _enter(connection, wanted)
    give_up = time.monotonic() + patience_seconds
    while True:
        holders = _holders(connection, wanted)
        living = [holder for holder in holders if holder.alive]
        strangers = [] if takeover else [one for one in living if known.get(one.target) != one.token]
        if not living:
            units = _raise_token(connection, wanted, holders, writer, transactional_id)
            if units is not None:
                return units
        elif not strangers:
            for pid in {holder.pid for holder in living}:
                connection.execute("select pg_terminate_backend(%s, %s)", [pid, _END_MS])
        elif time.monotonic() >= give_up:
            raise _held(wanted, strangers[0])
        else:
            time.sleep(_POLL_SECONDS)


def check(connection: Connection, units: Units) -> None:
    """Inside a transaction: hold all units until its end.

    raises  LeaseLostError if a token is not ours any more
    """
    row = connection.execute(
        """
        select count(*) from (
            select from writer_unit join unnest(%s::text[], %s::int4[]) as wanted (topic, partition)
                using (topic, partition)
            where environment = %s and run_id = %s and token = %s
            for share of writer_unit
        ) held
        """,
        [*units.columns()[2:], units.environment, units.run_id, units.token],
    ).fetchone()
    if row != (len(units.targets),):
        raise lost(connection, units)


def lost(connection: Connection, units: Units) -> LeaseLostError:
    """The error of a writer one of whose tokens is not the current one."""
    tokens = _tokens(connection, units)
    target = next((one for one in units.targets if tokens.get(one) != units.token), units.targets[0])
    return LeaseLostError(
        f"{units.named(target)} was taken over: its lease token is {tokens.get(target)}, mine is {units.token}; "
        "nothing was written, this process must stop"
    )


@contextmanager
def fenced(dsn: str, connection: Connection, units: Units) -> Iterator[None]:
    """A takeover ends this writer's backend: then say so instead of "connection closed"."""
    try:
        yield
    except psycopg.OperationalError as error:
        if connection.closed:
            refuse_lost(dsn, units, error)
        raise


def refuse_lost(dsn: str, units: Units, error: Exception) -> None:
    """Raise LeaseLostError from an error that a takeover may have caused; return if the units are still ours.

    It asks on a connection of its own, for a while: a moment passes between the end of a backend and the new token.
    """
    give_up = time.monotonic() + _TAKEOVER_SECONDS
    try:
        with connect(dsn) as connection:
            while time.monotonic() < give_up:
                tokens = _tokens(connection, units)
                if any(tokens.get(target) != units.token for target in units.targets):
                    raise lost(connection, units) from error
                time.sleep(_POLL_SECONDS)
    except UnreachableError:
        return


def settled(connection: Connection, units: Units) -> None:
    """The relay has fenced the predecessors and sent what earlier writers left: forget them."""
    _update(connection, units, "predecessors = '{}', earlier_writers = '{}'")


def stored(connection: Connection, units: Units) -> None:
    """A recovery store holds a state of the units: from now on a start without one is refused."""
    _update(connection, units, "stored = true")


def release(connection: Connection, units: Units) -> None:
    """Give the units back, so that the next writer need not wait for this backend to end."""
    _update(connection, units, "backend_pid = null, backend_start = null")


def living_writers(connection: Connection, environment: str, run_id: str) -> frozenset[str]:
    """Who holds a unit of a run, with a backend that lives."""
    rows = connection.execute(
        """
        select distinct writer from writer_unit join pg_stat_activity on pid = backend_pid
        where environment = %s and run_id = %s
          and coalesce(pg_stat_activity.backend_start, writer_unit.backend_start) = writer_unit.backend_start
        """,
        [environment, run_id],
    ).fetchall()
    return frozenset(str(row[0]) for row in rows)


def _held(units: Units, holder: _Holder) -> LeaseHeldError:
    named = units.named(holder.target)
    who = "another process" if not holder.writer else f"another process, writer {holder.writer}"
    return LeaseHeldError(
        f"{named} is being written by {who} (Postgres backend {holder.pid}): "
        f"wait for it, or take {'the run' if holder.target == WHOLE_RUN else 'it'} over with --takeover"
    )


def _enter(connection: Connection, units: Units) -> None:
    """Rows for units that never had a writer."""
    environment, run_id, topics, partitions = units.columns()
    connection.execute(
        """
        insert into writer_unit (environment, run_id, topic, partition, token, writer)
        select %s, %s, topic, partition, 0, '' from unnest(%s::text[], %s::int4[]) as wanted (topic, partition)
        order by topic, partition
        on conflict do nothing
        """,
        [environment, run_id, topics, partitions],
    )


def _holders(connection: Connection, units: Units) -> list[_Holder]:
    """Who has the units, and whether their backends live and are not ours."""
    rows = connection.execute(
        """
        select topic, partition, token, writer, backend_pid, exists (
            select from pg_stat_activity
            where pid = backend_pid and pid <> pg_backend_pid()
            -- of another role's backend the start is not shown: then it counts as living
            and coalesce(pg_stat_activity.backend_start, writer_unit.backend_start) = writer_unit.backend_start
        )
        from writer_unit
        where environment = %s and run_id = %s
          and (topic, partition) in (select * from unnest(%s::text[], %s::int4[]))
        order by topic, partition
        """,
        units.columns(),
    ).fetchall()
    return [_Holder(Target(str(t), int(str(p))), *rest) for t, p, *rest in rows]  # type: ignore[arg-type]


def _raise_token(
    connection: Connection, wanted: Units, seen: list[_Holder], writer: str, transactional_id: str | None
) -> Units | None:
    """The highest token + 1 in all units, unless somebody was faster."""
    with connection.transaction():
        tokens = _tokens(connection, wanted, lock=True)
        if tokens != {holder.target: holder.token for holder in seen}:
            return None
        token = max(tokens.values()) + 1
        rows = connection.execute(
            """
            update writer_unit set
                token = %(token)s, writer = %(writer)s, transactional_id = %(id)s, backend_pid = pg_backend_pid(),
                backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid()),
                predecessors = array(
                    select distinct one from unnest(predecessors || transactional_id) one
                    where one is distinct from %(id)s and one is not null
                ),
                earlier_writers = array(
                    select distinct one from unnest(earlier_writers || writer) one where one not in (%(writer)s, '')
                )
            where environment = %(environment)s and run_id = %(run)s
              and (topic, partition) in (select * from unnest(%(topics)s::text[], %(partitions)s::int4[]))
            returning topic, partition, stored, predecessors, earlier_writers
            """,
            {
                **dict(zip(("environment", "run", "topics", "partitions"), wanted.columns(), strict=True)),
                **{"token": token, "writer": writer, "id": transactional_id},
            },
        ).fetchall()
    return Units(
        wanted.environment,
        wanted.run_id,
        wanted.targets,
        token,
        tuple(sorted({str(one) for row in rows for one in row[3]})),  # type: ignore[attr-defined]
        tuple(sorted({str(one) for row in rows for one in row[4]})),  # type: ignore[attr-defined]
        frozenset(Target(str(row[0]), int(str(row[1]))) for row in rows if row[2]),
    )


def _tokens(connection: Connection, units: Units, *, lock: bool = False) -> dict[Target, int]:
    """The tokens that hold now; a unit whose row is gone has none. Locks are taken in the order of the units."""
    query = """
        select topic, partition, token from writer_unit
        where environment = %s and run_id = %s
          and (topic, partition) in (select * from unnest(%s::text[], %s::int4[]))
        order by topic, partition
    """
    rows = connection.execute((query + " for update" if lock else query).encode(), units.columns()).fetchall()
    return {Target(str(topic), int(str(partition))): int(str(token)) for topic, partition, token in rows}


def _update(connection: Connection, units: Units, change: str) -> None:
    """Change the rows that are still ours."""
    connection.execute(
        f"""
        update writer_unit set {change}
        where environment = %s and run_id = %s
          and (topic, partition) in (select * from unnest(%s::text[], %s::int4[])) and token = %s
        """.encode(),  # noqa: S608 (the change is one of ours)
        [*units.columns(), units.token],
    )
