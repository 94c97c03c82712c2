"""What people ask a finished run: which bar is meant, what was refused and why, what it earned, what is telling."""

from typing import Any

from psycopg.rows import dict_row

from connectors.inputs import InputError, timeframe_of
from connectors.postgres.connection import Connection
from lotus.lane import Lane
from lotus.records import OrderKind

SELLS = (OrderKind.STRUCTURAL_EXIT, OrderKind.EMERGENCY_EXIT, OrderKind.TRIM)


def find_bar(
    connection: Connection,
    run_id: str,
    token: str | None,
    venue: str | None,
    timeframe: str | None,
    at_ms: int | None,
) -> tuple[Lane, int]:
    """The bar that is meant: the named one, else the last decision that fits what is named.

    raises  InputError when nothing fits, or several venues do
    """
    if at_ms is not None and token is not None and timeframe is not None:
        rows = connection.execute(
            """
            select distinct venue from trend
            where run_id = %(run)s and token = %(token)s and timeframe = %(timeframe)s
              and ts = to_timestamp(%(at)s / 1000.0) and (%(venue)s::text is null or venue = %(venue)s)
            order by venue
            """,
            {"run": run_id, "token": token, "timeframe": timeframe, "at": at_ms, "venue": venue},
        ).fetchall()
        if len(rows) > 1:
            raise InputError(f"{token} is on {', '.join(str(row[0]) for row in rows)}: say --venue")
        if not rows:
            raise InputError(f"no record of {token} {timeframe} at that time in run {run_id}: name a bar's open time")
        return Lane(token, str(rows[0][0]), timeframe_of(timeframe)), at_ms
    row = connection.execute(
        """
        select token, venue, timeframe, (extract(epoch from ts) * 1000)::int8 from decision
        where run_id = %(run)s and (%(token)s::text is null or token = %(token)s)
          and (%(venue)s::text is null or venue = %(venue)s)
          and (%(timeframe)s::text is null or timeframe = %(timeframe)s)
        order by ts desc, token, venue, timeframe limit 1
        """,
        {"run": run_id, "token": token, "venue": venue, "timeframe": timeframe},
    ).fetchone()
    if row is None:
        raise InputError(f"run {run_id} has no decision that fits: name token, timeframe and time of a bar")
    return _bar(row)


def gate_counts(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Refusals by kind and gate, most frequent first."""
    return _rows(
        connection,
        """
        select kind, gate, count(*) as count from refusal where run_id = %(run)s
        group by kind, gate order by count(*) desc, kind, gate
        """,
        {"run": run_id},
    )


def money(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Per traded lane with a fill: USD bought, sold, held at the last close, profit; stale: its series ended early."""
    return _rows(
        connection,
        """
        with traded as (
            select token, venue, timeframe,
                   coalesce(sum(usd) filter (where kind <> all(%(sells)s)), 0) as buys,
                   coalesce(sum(usd) filter (where kind = any(%(sells)s)), 0) as sells,
                   sum(case when kind = any(%(sells)s) then -qty else qty end) as qty
            from fill where run_id = %(run)s group by token, venue, timeframe
        ), ends as (
            select traded.*, bar.close, bar.ts,
                   (select max(ts) from bar b where b.run_id = %(run)s and b.timeframe = traded.timeframe) as newest
            from traded cross join lateral (
                select close, ts from bar b
                where b.run_id = %(run)s and b.token = traded.token and b.venue = traded.venue
                  and b.timeframe = traded.timeframe
                order by ts desc limit 1
            ) bar
        )
        select token, venue, timeframe, buys::float8 as buys, sells::float8 as sells,
               qty::float8 * close as held, sells::float8 + qty::float8 * close - buys::float8 as profit,
               qty > 0 and ts < newest as stale
        from ends order by token, venue, timeframe
        """,
        {"run": run_id, "sells": [kind.name.lower() for kind in SELLS]},
    )


def telling_decisions(connection: Connection, run_id: str, count: int) -> list[tuple[Lane, int]]:
    """Bars of decisions of different kinds, those with the most posture terms first."""
    rows = connection.execute(
        """
        select token, venue, timeframe, (extract(epoch from ts) * 1000)::int8 from (
            select d.*, row_number() over (
                partition by d.kind order by json_array_length(p.terms) desc, d.ts, d.token, d.venue, d.timeframe
            ) as place, json_array_length(p.terms) as terms
            from decision d join posture p using (run_id, token, venue, timeframe, ts)
            where d.run_id = %(run)s
        ) ranked where place = 1 order by terms desc, kind limit %(count)s
        """,
        {"run": run_id, "count": count},
    ).fetchall()
    return [_bar(row) for row in rows]


def _bar(row: tuple[Any, ...]) -> tuple[Lane, int]:
    """token, venue, timeframe and open time as the bar that they name."""
    token, venue, timeframe, ts_ms = row
    return Lane(token, venue, timeframe_of(timeframe)), int(ts_ms)


def _rows(connection: Connection, query: Any, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()
