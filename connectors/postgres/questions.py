"""What people ask a finished run: which bar is meant, what was refused and why, what it earned, what is telling."""

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from connectors.inputs import InputError, timeframe_of
from connectors.postgres.connection import Connection
from lotus.lane import Lane
from lotus.records import OrderKind
from lotus.timeframe import TIMEFRAMES

CONSIDERED = 100  # decisions of each part
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _named(*kinds: OrderKind) -> tuple[str, ...]:
    """Kinds as the tables have them."""
    return tuple(kind.name.lower() for kind in kinds)


ENTRIES = _named(OrderKind.S1_ENTRY, OrderKind.S2_FLAT)
BUYS = (*ENTRIES, *_named(OrderKind.RECLAIM, OrderKind.S2_POOL, OrderKind.DX_BUY))
RECYCLED = _named(OrderKind.TRIM, OrderKind.S2_POOL, OrderKind.DX_BUY)
EXITS = _named(OrderKind.STRUCTURAL_EXIT, OrderKind.EMERGENCY_EXIT)


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
    return Lane(str(row[0]), str(row[1]), timeframe_of(str(row[2]))), int(str(row[3]))


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


def time_of_bar(connection: Connection, run_id: str, lane: Lane, bar_index: int, until_ms: int) -> int | None:
    """Open time of the bar with this number in its series, at or before another bar; None: it was before the run."""
    row = connection.execute(
        """
        select (extract(epoch from ts) * 1000)::int8 from trend
        where run_id = %s and token = %s and venue = %s and timeframe = %s and ts <= %s and bar_index = %s
        order by ts desc limit 1
        """,
        [run_id, lane.token, lane.venue, str(lane.timeframe), _EPOCH + timedelta(milliseconds=until_ms), bar_index],
    ).fetchone()
    return None if row is None else int(str(row[0]))


def money(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Per traded lane with a fill: USD bought, sold, held at the last close, profit; stale: its series ended early."""
    return _rows(
        connection,
        """
        with traded as (
            select token, venue, timeframe, count(*) as fills,
                   coalesce(sum(usd) filter (where kind = any(%(buys)s)), 0) as buys,
                   coalesce(sum(usd) filter (where kind <> all(%(buys)s)), 0) as sells,
                   sum(case when kind = any(%(buys)s) then qty else -qty end) as qty
            from fill where run_id = %(run)s group by token, venue, timeframe
        ), newest as (
            select timeframe, max(ts) as ts from bar where run_id = %(run)s group by timeframe
        ), ends as (
            select traded.*, bar.close, bar.ts, newest.ts as newest_ts
            from traded join newest using (timeframe) cross join lateral (
                select close, ts from bar b
                where b.run_id = %(run)s and b.token = traded.token and b.venue = traded.venue
                  and b.timeframe = traded.timeframe
                order by ts desc limit 1
            ) bar
        )
        select token, venue, timeframe, fills, buys::float8 as buys, sells::float8 as sells,
               qty::float8 * close as held, sells::float8 + qty::float8 * close - buys::float8 as profit,
               qty > 0 and ts < newest_ts as stale, (extract(epoch from ts) * 1000)::int8 as last_ms
        from ends order by token, venue, timeframe
        """,
        {"run": run_id, "buys": list(BUYS)},
    )


def telling_decisions(connection: Connection, run_id: str) -> list[tuple[Lane, int]]:
    """Bars of an entry, of money recycled (a trim, or a buy from its pool) and of an exit, as far as there are any.

    Of each the one that says most: A and E within their bounds, many terms, a coarse timeframe, another token.
    """
    rows = connection.execute(
        """
        with parted as (
            select *, case when kind = any(%(entries)s) then 0 when kind = any(%(recycled)s) then 1 else 2 end as part
            from decision where run_id = %(run)s and kind = any(%(entries)s || %(recycled)s || %(exits)s)
        ), ranked as (
            select *, row_number() over (
                partition by part order by a > 0 and a < 1 desc, array_position(%(frames)s, timeframe), ts, token
            ) as place from parted
        )
        select token, venue, timeframe, (extract(epoch from ts) * 1000)::int8, part
        from ranked r cross join lateral (
            select json_array_length(terms) as terms from posture p
            where (p.run_id, p.token, p.venue, p.timeframe, p.ts) = (r.run_id, r.token, r.venue, r.timeframe, r.ts)
            limit 1
        ) posture
        where place <= %(considered)s
        order by part, a > 0 and a < 1 desc, least(terms, 4) desc, place
        """,
        {
            "run": run_id,
            "entries": list(ENTRIES),
            "recycled": list(RECYCLED),
            "exits": list(EXITS),
            "frames": [str(timeframe) for timeframe in reversed(TIMEFRAMES)],
            "considered": CONSIDERED,
        },
    ).fetchall()
    chosen: dict[int, tuple[Lane, int]] = {}
    for token, venue, timeframe, ts_ms, part in rows:
        fresh = token not in {lane.token for lane, _ in chosen.values()}
        if part not in chosen and (fresh or all(row[0] == token for row in rows if row[4] == part)):
            chosen[int(str(part))] = Lane(str(token), str(venue), timeframe_of(str(timeframe))), int(str(ts_ms))
    return [chosen[part] for part in sorted(chosen)]


def telling_refusal(connection: Connection, run_id: str) -> tuple[Lane, int, str] | None:
    """Bar and kind of a refusal that failed by a margin, if there is one, while something was held to decide about."""
    row = connection.execute(
        """
        select token, venue, timeframe, (extract(epoch from ts) * 1000)::int8, kind from refusal
        where run_id = %(run)s
        order by margin is null, gate = 'quantity', array_position(%(frames)s, timeframe), ts, token limit 1
        """,
        {"run": run_id, "frames": [str(timeframe) for timeframe in reversed(TIMEFRAMES)]},
    ).fetchone()
    if row is None:
        return None
    return Lane(str(row[0]), str(row[1]), timeframe_of(str(row[2]))), int(str(row[3])), str(row[4])


def _rows(connection: Connection, query: Any, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()
