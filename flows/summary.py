"""What a run did: rows, decisions, refusals, money; and which of its decisions tell most."""

from typing import Any

from connectors.postgres import questions, read
from connectors.postgres.connection import Connection
from connectors.postgres.streams import Count
from flows.explain import Story, iso, story_of
from flows.session import Report
from lotus.timeframe import Timeframe

SUMS = ("fills", "buys", "sells", "held", "profit")


def bare_summary(report: Report) -> Story:
    """What the process itself knows."""
    letters = report.counts.get("dead_letter", Count())
    return {
        "run_id": report.run_id,
        "complete": report.complete,
        "slices": report.slices,
        "first_slice": report.first_slice,
        "done_slices": report.done_slices,
        "rows_in": report.tally.rows_in,
        **_split(report.tally.rows_in, letters.inserted + letters.verified),
        "bars": report.bars,
        "seconds": round(report.seconds, 2),
        "cpu_seconds": round(report.cpu_seconds, 2),
        "bars_per_cpu_second": round(report.bars / report.cpu_seconds),
        "inserted": {noun: count.inserted for noun, count in report.counts.items() if count.inserted},
        "verified": {noun: count.verified for noun, count in report.counts.items() if count.verified},
    }


def summary(connection: Connection, report: Report) -> Story:
    """What a run did, from its tables."""
    run_id = report.run_id
    lanes = questions.money(connection, run_id)
    rows = read.counts(connection, run_id)
    return {
        **bare_summary(report),
        **_split(report.tally.rows_in, rows["dead_letter"]),
        "rows": rows,
        "decisions": read.kind_counts(connection, run_id, "decision"),
        "refusals": questions.gate_counts(connection, run_id),
        "episodes": read.kind_counts(connection, run_id, "episode"),
        "dead_letters": read.kind_counts(connection, run_id, "dead_letter"),
        "money": [{**lane, "last_bar": iso(lane["last_ms"])} for lane in lanes],
        "money_by_timeframe": by_timeframe(lanes),
    }


def _split(rows_in: int, dead: int) -> Story:
    """Rows are refused on reading or by a kernel; both kinds are dead letters."""
    return {"accepted": rows_in - dead, "dead": dead}


def by_timeframe(lanes: list[dict[str, Any]]) -> list[Story]:
    """Money of all lanes of each timeframe, and in total, USD."""
    order = [timeframe for timeframe in Timeframe if any(lane["timeframe"] == timeframe for lane in lanes)]
    groups = [(str(timeframe), [lane for lane in lanes if lane["timeframe"] == timeframe]) for timeframe in order]
    return [
        {"timeframe": name, "lanes": len(group), **{part: sum(lane[part] for lane in group) for part in SUMS}}
        for name, group in [*groups, ("total", lanes)]
    ]


def examples(connection: Connection, run_id: str) -> list[Story]:
    """Three decisions (an entry, money recycled, an exit) and a refusal; each story holds nothing else."""
    stories = []
    for lane, ts_ms in questions.telling_decisions(connection, run_id):
        stories.append({**story_of(connection, run_id, lane, ts_ms), "refusals": []})
    refused = questions.telling_refusal(connection, run_id)
    if refused is not None:
        lane, ts_ms, kind = refused
        story = story_of(connection, run_id, lane, ts_ms)
        stories.append(
            {**story, "decisions": [], "refusals": [one for one in story["refusals"] if one["kind"] == kind]}
        )
    return stories
