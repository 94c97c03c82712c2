"""Why: rows of a run put together again as terms that sum, bit for bit, to what was stored (replay.md 7).

Nothing is recomputed from bars: the terms come from the stored operands by the formulas that made the numbers, and
every sum is compared with the stored value.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from connectors.inputs import InputError, timeframe_of
from connectors.postgres import questions, read
from connectors.postgres.connection import Connection
from flows.session import Report
from lotus.columns import ABSENT, Columns, Kind
from lotus.config import Config
from lotus.lane import Lane
from lotus.records import Trend
from lotus.trend import scores
from lotus.trend.scores import Terms, total

POSTURE_NUMBERS = ("a", "e")
Source = Callable[[Config, Trend], Terms]
SCORES: Mapping[str, Source] = {
    "score_ts": lambda config, trend: scores.ts_terms(config.trend, trend, 0),
    "score_ox": lambda config, trend: scores.ox_terms(config.trend, trend, 0),
    "score_dx": lambda config, trend: scores.dx_terms(config.trend, trend, 0),
    "score_edx": lambda config, trend: scores.edx_terms(config.trend, trend, 0),
    "dx_threshold": lambda config, trend: scores.dx_threshold_terms(config.trend, trend, 0),
    "tsb": lambda config, trend: scores.tsb_terms(config.trend, trend, 0),
}
NUMBERS = (*POSTURE_NUMBERS, *SCORES)
INPUTS = (
    "price",
    "atr",
    "ema_20",
    "ema_60",
    "ema_144",
    "ema_250",
    "ema_333",
    "rsi_slope",
    "adx_slope",
    "nearest_level",
)
_CONFIG = TypeAdapter(Config)
Story = dict[str, Any]


class Asked(NamedTuple):
    """Which bar, and whether one number only; what is left out is the last decision's."""

    token: str | None
    timeframe: str | None
    at_ms: int | None
    number: str | None
    venue: str | None
    run_id: str | None


def tell(connection: Connection, asked: Asked) -> Story:
    """The story of a bar; raises InputError when there is no such bar."""
    if asked.number is not None and asked.number not in NUMBERS:
        raise InputError(f"'{asked.number}' cannot be explained: choose one of {', '.join(NUMBERS)}")
    run_id = asked.run_id or read.latest_run(connection)
    if run_id is None:
        raise InputError("there is no run in this database yet: make one with lotus run")
    lane, ts_ms = questions.find_bar(connection, run_id, asked.token, asked.venue, asked.timeframe, asked.at_ms)
    return story_of(connection, run_id, lane, ts_ms, asked.number)


def story_of(connection: Connection, run_id: str, lane: Lane, ts_ms: int, number: str | None = None) -> Story:
    """Everything that the run wrote about one bar of a lane."""
    run = read.run_row(connection, run_id)
    if run is None:
        raise InputError(f"there is no run {run_id} in this database")
    config = _CONFIG.validate_python(run["config"])
    rows = {noun: read.rows_at(connection, noun, run_id, lane, ts_ms) for noun in _TOLD}
    if not rows["trend"]:
        raise InputError(f"{lane.venue}:{lane.token} {lane.timeframe} has no record at {iso(ts_ms)} in run {run_id}")
    trend = record_of(Trend, rows["trend"][0])
    story: Story = {
        "run_id": run_id,
        **lane._asdict(),
        "bar": iso(ts_ms),
        "known_at": iso(ts_ms + timeframe_of(lane.timeframe).ms),
    }
    sums = {
        **{name: _sum(source(config, trend), float(getattr(trend, name)[0])) for name, source in SCORES.items()},
        **(_posture_sums(config, rows["posture"][0]) if rows["posture"] else {}),
    }
    inputs = {name: rows["trend"][0][name] for name in INPUTS}
    if number is not None:
        if not sums.get(number, {}).get("terms"):
            raise InputError(f"{number} was not evaluated on this bar (state {rows['trend'][0]['state']})")
        return {**story, "numbers": {number: sums[number]}, "inputs": {**inputs, "at": story["known_at"]}}
    return {
        **story,
        "state": rows["trend"][0]["state"],
        "decisions": [_with_json(row, "reasons") for row in rows["decision"]],
        "refusals": [_with_json(row, "operands") for row in rows["refusal"]],
        "fills": rows["fill"],
        "position": rows["position"],
        "sentence": rows["posture"][0]["sentence"] if rows["posture"] else None,
        "numbers": {name: entry for name, entry in sums.items() if entry["terms"]},
        "inputs": {**inputs, "at": story["known_at"]},
    }


_TOLD = ("trend", "posture", "decision", "refusal", "fill", "position")


def summary(connection: Connection, report: Report) -> Story:
    """What a run did, from its tables."""
    run_id = report.run_id
    return {
        **bare_summary(report),
        "rows": read.counts(connection, run_id),
        "decisions": read.kind_counts(connection, run_id, "decision"),
        "refusals": questions.gate_counts(connection, run_id),
        "episodes": read.kind_counts(connection, run_id, "episode"),
        "dead_letters": read.kind_counts(connection, run_id, "dead_letter"),
        "money": questions.money(connection, run_id),
    }


def bare_summary(report: Report) -> Story:
    """What a run did, as far as the process itself knows."""
    return {
        "run_id": report.run_id,
        "rows_in": report.tally.rows_in,
        "accepted": report.tally.accepted,
        "dead": report.tally.dead,
        "seconds": round(report.seconds, 2),
        "cpu_seconds": round(report.cpu_seconds, 2),
        "inserted": {noun: count.inserted for noun, count in report.counts.items() if count.inserted},
        "verified": {noun: count.verified for noun, count in report.counts.items() if count.verified},
    }


def examples(connection: Connection, run_id: str, count: int) -> list[Story]:
    """A few decisions of different kinds, the most telling first: those with the most posture terms."""
    found = questions.telling_decisions(connection, run_id, count)
    return [story_of(connection, run_id, lane, ts_ms) for lane, ts_ms in found]


def record_of(kind: type[Trend], row: Mapping[str, Any]) -> Trend:
    """A row of a table as a record with one row; what is not in the table is absent."""
    return kind(**{name: _value(kind, name, row.get(name)) for name in kind.layout()})


def iso(ts_ms: int) -> str:
    """A time for people."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _value(kind: type[Columns], name: str, value: Any) -> "np.ndarray[Any, Any]":
    column = kind.layout()[name]
    if value is None:
        value = {Kind.FLOAT: np.nan, Kind.FLAG: False}.get(column.kind, ABSENT)
    elif column.enum is not None:
        value = column.enum[str(value).upper()]
    return np.array([value], dtype=column.kind.dtype)


def _sum(terms: Terms, stored: float) -> Story:
    added = total(terms)
    return {
        "terms": [{"name": term.name, "value": term.value} for term in terms],
        "sum": added,
        "stored": None if np.isnan(stored) else stored,
        "exact": bool(terms) and added == stored,
    }


def _posture_sums(config: Config, row: Mapping[str, Any]) -> dict[str, Story]:
    """A and E from base and terms, added in the order in which they were (posture.md 11)."""
    terms = _parsed(row["terms"])
    sums = {}
    for name, effect, base in (("a", "dA", config.posture.base.a), ("e", "dE", config.posture.base.e)):
        counted = [{"name": "base", "value": base}]
        for term in terms:
            if term.get("term") == "stale":
                continue
            label = term.get("term") or f"{term['driver']} {term['flag']} {term['horizon']}"
            value = 0.0 if term.get("suppressed") else term[effect]
            times = {key: iso(term[key]) for key in ("source_bar", "since") if term.get(key) is not None}
            counted.append({"name": label, "value": value, "suppressed": term.get("suppressed", False), **times})
        added = _added(entry["value"] for entry in counted)
        sums[name] = {"terms": counted, "sum": added, "stored": row[name], "exact": added == row[name]}
    return sums


def _added(values: Iterable[float]) -> float:
    result = 0.0
    for value in values:
        result += value
    return result


def _with_json(row: Mapping[str, Any], column: str) -> Story:
    return {**row, column: _parsed(row[column])}


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
