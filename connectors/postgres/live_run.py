"""The row of a live run: made by the first of its processes, found again by all others.

What it fixes for the life of the run: configuration, code, market, partitions, the start of its first minute.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from connectors.postgres.connection import Connection
from connectors.postgres.run import Run, begin


def join(connection: Connection, row: Run, first_minute_ms: Callable[[], int]) -> int:
    """Enter the run, or join it; returns the start of its first minute, ms UTC.

    first_minute_ms  asked once in the life of a run: waits for the first message of the input log
    raises           AnotherRunError if the id belongs to a run of another configuration, code or market
    """
    found = connection.execute("select span_from from run where run_id = %s", [row.run_id]).fetchone()
    start_ms = first_minute_ms() if found is None else _ms(found[0])
    begin(connection, _from(row, start_ms))
    kept = connection.execute("select span_from from run where run_id = %s", [row.run_id]).fetchone()
    assert kept is not None, "the run was entered before"
    return _ms(kept[0])


def _from(row: Run, start_ms: int) -> Run:
    return Run(
        row.run_id,
        row.created_by,
        row.code_revision,
        row.config_hash,
        row.config,
        row.inputs,
        start_ms,
        None,
        row.environment,
    )


def _ms(moment: Any) -> int:
    ms: int = round(moment.timestamp() * 1000)
    return ms


def market_of(connection: Connection, run_id: str) -> Mapping[str, Any] | None:
    """What the run was entered with; None if there is no such run."""
    row = connection.execute("select inputs::text from run where run_id = %s", [run_id]).fetchone()
    return None if row is None else dict(json.loads(str(row[0])))
