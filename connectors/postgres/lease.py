"""One writer per run: a lease with a token that every transaction of the writer checks (exactly-once.md 2).

    acquire   the holder's backend is gone -> token + 1, mine
              it lives                     -> refuse, or with `takeover` end that backend first, then token + 1
    check     inside the writer's transaction, `for share`: another token -> LeaseLostError, nothing is written

A zombie's commit cannot slip in: its backend is ended before the token is raised, and its next transaction reads
the raised token.
"""

import time
from dataclasses import dataclass
from typing import LiteralString

from connectors.postgres.connection import Connection

PATIENCE_SECONDS = 2.0  # a killed writer's backend needs a moment to notice that its client is gone
_POLL_SECONDS = 0.02
_ROW = "select token from lease where environment = %s and run_id = %s"
_SHARED_ROW = _ROW + " for share"
_END_MS = 5000


class LeaseHeldError(RuntimeError):
    """Another living writer has the run."""


class LeaseLostError(RuntimeError):
    """Another writer took the run over; this one must stop."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one run."""

    environment: str
    run_id: str
    token: int


def acquire(
    connection: Connection,
    environment: str,
    run_id: str,
    *,
    takeover: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Lease:
    """Become the writer of a run, on this connection.

    raises  LeaseHeldError if a living writer has it and `takeover` was not asked for
    """
    connection.execute(
        "insert into lease (environment, run_id, token) values (%s, %s, 0) on conflict do nothing",
        [environment, run_id],
    )
    give_up = time.monotonic() + patience_seconds
    while True:
        token, pid, alive = _holder(connection, environment, run_id)
        if not alive:
            lease = _raise_token(connection, Lease(environment, run_id, token))
            if lease is not None:
                return lease
        elif takeover:
            connection.execute("select pg_terminate_backend(%s, %s)", [pid, _END_MS])
        elif time.monotonic() >= give_up:
            raise LeaseHeldError(
                f"run {run_id} ({environment}) is being written by another process (Postgres backend {pid}): "
                "wait for it, or take the run over with --takeover"
            )
        else:
            time.sleep(_POLL_SECONDS)


def check(connection: Connection, lease: Lease) -> None:
    """Inside a transaction: hold the lease until its end.

    raises  LeaseLostError if the token is not ours any more
    """
    token = _token(connection, lease, _SHARED_ROW)
    if token != lease.token:
        raise lost(lease, token)


def current_token(connection: Connection, lease: Lease) -> int | None:
    """The token that holds now; None if the lease row is gone."""
    return _token(connection, lease, _ROW)


def lost(lease: Lease, token: int | None) -> LeaseLostError:
    """The error of a writer whose token is not the current one."""
    return LeaseLostError(
        f"run {lease.run_id} ({lease.environment}) was taken over: its lease token is {token}, mine is "
        f"{lease.token}; nothing was written, this process must stop"
    )


def release(connection: Connection, lease: Lease) -> None:
    """Give the run back, so that the next writer need not wait for this backend to end."""
    connection.execute(
        """
        update lease set backend_pid = null, backend_start = null
        where environment = %s and run_id = %s and token = %s
        """,
        [lease.environment, lease.run_id, lease.token],
    )


def _token(connection: Connection, lease: Lease, query: LiteralString) -> int | None:
    row = connection.execute(query, [lease.environment, lease.run_id]).fetchone()
    if row is None:
        return None
    assert isinstance(row[0], int)
    return row[0]


def _holder(connection: Connection, environment: str, run_id: str) -> tuple[int, int | None, bool]:
    """Token, backend, and whether that backend lives and is not ours."""
    row = connection.execute(
        """
        select token, backend_pid, exists (
            select from pg_stat_activity
            where pid = backend_pid and pid <> pg_backend_pid()
            -- of another role's backend the start is not shown: then it counts as living
            and coalesce(pg_stat_activity.backend_start, lease.backend_start) = lease.backend_start
        )
        from lease where environment = %s and run_id = %s
        """,
        [environment, run_id],
    ).fetchone()
    assert row is not None, "the lease row was inserted before"
    token, pid, alive = row
    assert isinstance(token, int)
    assert isinstance(pid, int | None)
    return token, pid, bool(alive)


def _raise_token(connection: Connection, seen: Lease) -> Lease | None:
    """Token + 1, unless somebody was faster."""
    row = connection.execute(
        """
        update lease set token = token + 1, backend_pid = pg_backend_pid(), backend_start = (
            select backend_start from pg_stat_activity where pid = pg_backend_pid()
        )
        where environment = %s and run_id = %s and token = %s
        returning token
        """,
        [seen.environment, seen.run_id, seen.token],
    ).fetchone()
    if row is None:
        return None
    assert isinstance(row[0], int)
    return Lease(seen.environment, seen.run_id, row[0])
