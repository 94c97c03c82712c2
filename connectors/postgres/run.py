"""The row of a run: made when it starts, complete when it ends. Wall-clock times are kept aside in run_clock."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.postgres.connection import Connection
from connectors.postgres.marks import prune

RUNNING = "running"
COMPLETE = "complete"


class AnotherRunError(RuntimeError):
    """A run of this id exists and is not the same run."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is (replay.md 1).

    config, inputs  anything that JSON can hold; inputs with their content digests
    span_*_ms       ms UTC, None: as far as the inputs go
    """

    run_id: str
    created_by: str
    code_revision: str
    config_hash: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    span_from_ms: int | None = None
    span_to_ms: int | None = None
    environment: str = "replay"


def begin(connection: Connection, run: Run) -> str:
    """Enter the run, or find it again; returns the status it had: `running` or `complete`.

    raises  AnotherRunError if the id belongs to a run of another environment, code, configuration, input or span
    """
    own = (
        run.environment,
        run.code_revision,
        run.config_hash,
        _written(run.config),
        _written(run.inputs),
        _time(run.span_from_ms),
        _time(run.span_to_ms),
    )
    with connection.transaction():
        connection.execute(
            """
            insert into run (run_id, created_by, status, environment, code_revision, config_hash, config, inputs,
                             span_from, span_to)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
            """,
            [run.run_id, run.created_by, RUNNING, *own],
        )
        row = connection.execute(
            """
            select status, environment, code_revision, config_hash, config::text, inputs::text, span_from, span_to
            from run where run_id = %s
            """,
            [run.run_id],
        ).fetchone()
        assert row is not None, "the run was inserted before"
        _refuse_another(run.run_id, own, row[1:])
        connection.execute(
            """
            insert into run_clock (run_id, starts, started_at) values (%s, 1, clock_timestamp())
            on conflict (run_id) do update set starts = run_clock.starts + 1
            """,
            [run.run_id],
        )
    return str(row[0])


def complete(connection: Connection, run_id: str) -> None:
    """Mark a finished run; its recovery store is of no use afterwards, its mark journal is cut to the ends."""
    with connection.transaction():
        connection.execute("update run set status = %s where run_id = %s", [COMPLETE, run_id])
        connection.execute("update run_clock set finished_at = clock_timestamp() where run_id = %s", [run_id])
        prune(connection, run_id)


def _refuse_another(run_id: str, own: tuple[object, ...], found: tuple[object, ...]) -> None:
    names = ("environment", "code revision", "configuration", "configuration", "inputs", "span", "span")
    for name, mine, theirs in zip(names, own, found, strict=True):
        if mine != theirs:
            raise AnotherRunError(
                f"run {run_id} exists with another {name} ({theirs}, not {mine}): give this run another --run-id, "
                "a deployment another live.run"
            )


def _written(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
