"""Why: everything that a run wrote about one bar, put together as a story (replay.md 7, 8).

Numbers come with terms that sum to what is stored, sizes with the factors that multiply to it, gates with operands and
margin, inputs with the bar they come from. Whatever does not come out exactly says so.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from connectors.inputs import InputError, timeframe_of
from connectors.postgres import questions, read
from connectors.postgres.connection import Connection
from flows.flags import FLAG_OF, flags_of
from flows.sizes import size_of
from flows.sums import SCORES, posture_sums, score_sums
from lotus.columns import ABSENT, Columns, Kind
from lotus.config import Config
from lotus.lane import Lane
from lotus.records import Trend

SIZE, LEVEL = "size", "nearest_level"
NUMBERS = ("a", "e", *SCORES, SIZE, LEVEL)
INPUTS = ("price", "atr", "ema_20", "ema_60", "ema_144", "ema_250", "ema_333", "rsi_slope", "adx_slope", "vo_z")
EXIT_FLAGS = ("exit_position", "emergency_exit")
_NOUNS = ("trend", "posture", "decision", "refusal", "fill", "position")
_CONFIG = TypeAdapter(Config)
Story = dict[str, Any]
Row = Mapping[str, Any]


class Asked(NamedTuple):
    """Which bar, and whether one number only; what is left out is the last decision's."""

    token: str | None = None
    timeframe: str | None = None
    at_ms: int | None = None
    number: str | None = None
    venue: str | None = None
    run_id: str | None = None


def tell(connection: Connection, asked: Asked) -> Story:
    """The story of a bar; raises InputError when there is no such bar."""
    if asked.number is not None and asked.number not in NUMBERS:
        raise InputError(f"'{asked.number}' cannot be explained: choose one of {', '.join(NUMBERS)}")
    if asked.at_ms is not None and (asked.token is None or asked.timeframe is None):
        raise InputError("a time alone names no bar: name token and timeframe before it")
    run_id = asked.run_id or read.latest_run(connection)
    if run_id is None:
        raise InputError("there is no run in this database yet: make one with lotus run")
    if read.run_row(connection, run_id) is None:
        raise InputError(f"there is no run {run_id} in this database")
    lane, ts_ms = questions.find_bar(connection, run_id, asked.token, asked.venue, asked.timeframe, asked.at_ms)
    story = story_of(connection, run_id, lane, ts_ms)
    return story if asked.number is None else _narrowed(story, asked.number)


def story_of(connection: Connection, run_id: str, lane: Lane, ts_ms: int) -> Story:
    """Everything that the run wrote about one bar of a lane; raises InputError when that is nothing."""
    rows = {noun: read.rows_at(connection, noun, run_id, lane, ts_ms) for noun in _NOUNS}
    if not rows["trend"]:
        raise InputError(f"{lane.venue}:{lane.token} {lane.timeframe} has no record at {iso(ts_ms)} in run {run_id}")
    run = read.run_row(connection, run_id)
    assert run is not None, "a run with rows has a row of its own"
    config, trend = _config(json.dumps(run["config"], sort_keys=True)), rows["trend"][0]
    numbers = score_sums(config, record_of(Trend, trend))
    if rows["posture"]:
        posture = rows["posture"][0]
        numbers |= posture_sums(config, posture, _parsed(posture["terms"]))
    flags = flags_of(trend)
    return {
        "run_id": run_id,
        **lane._asdict(),
        "bar": iso(ts_ms),
        "known_at": iso(ts_ms + timeframe_of(lane.timeframe).ms),
        "state": trend["state"],
        "exact": all(told["exact"] for told in numbers.values()),
        "decisions": [_decision(row) for row in rows["decision"]],
        "refusals": [_refusal(row, flags) for row in rows["refusal"]],
        "fills": rows["fill"],
        "position": rows["position"],
        "posture": _posture(rows["posture"]),
        "flags": flags,
        "numbers": {name: _dated(told) for name, told in numbers.items()},
        "inputs": _inputs(connection, run_id, lane, ts_ms, trend),
    }


def record_of(kind: type[Trend], row: Row) -> Trend:
    """A row of a table as a record with one row; what is not in the table is absent."""
    return kind(**{name: _value(kind, name, row.get(name)) for name in kind.layout()})


def iso(ts_ms: int) -> str:
    """A time for people."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _narrowed(story: Story, number: str) -> Story:
    """One number of a story."""
    kept = {name: story[name] for name in ("run_id", "token", "venue", "timeframe", "bar", "known_at", "state")}
    if number == SIZE:
        if not story["decisions"]:
            raise InputError("nothing was decided on this bar: there is no size to explain")
        return {**kept, "sizes": {told["kind"]: told["size"] for told in story["decisions"]}}
    if number == LEVEL:
        if story["inputs"]["levels"] is None:
            raise InputError(f"no level was known on this bar (state {story['state']})")
        return {**kept, "levels": story["inputs"]["levels"]}
    if number not in story["numbers"]:
        raise InputError(f"{number} was not evaluated on this bar (state {story['state']})")
    told = story["numbers"][number]
    return {**kept, "exact": told["exact"], "numbers": {number: told}, "inputs": story["inputs"]}


def _decision(row: Row) -> Story:
    reasons = _parsed(row["reasons"])
    gates = [{**gate, "ok": _passed(gate)} for gate in reasons["gates"]]
    plain = {name: value for name, value in row.items() if name != "reasons"}
    kept = {name: reasons[name] for name in ("pool", "cancels")}
    return {**plain, "flag": FLAG_OF[row["kind"]], "size": size_of(row, reasons), "gates": gates, **kept}


def _passed(gate: Row) -> bool:
    """A decision passed all its gates; of an exit the two flags are listed, and one of them is enough."""
    return bool(gate["operands"][gate["gate"]]) if gate["gate"] in EXIT_FLAGS else True


def _refusal(row: Row, flags: list[Story]) -> Story:
    """The gate that stopped it, what was missing, and how its flag came about."""
    name = FLAG_OF[row["kind"]]
    flag = next((told for told in flags if told["flag"] == name), None)
    operands = _parsed(row["operands"])
    if row["gate"] == "operator_halt":
        operands["since"] = iso(operands.pop("since_ms"))
    return {**row, "operands": operands, "flag": flag}


def _posture(rows: list[Story]) -> Story | None:
    names = ("a", "mode_a", "e", "mode_e", "sentence")
    return {name: rows[0][name] for name in names} if rows else None


def _inputs(connection: Connection, run_id: str, lane: Lane, ts_ms: int, trend: Row) -> Story:
    """What the bar's numbers were made of, and when it was known."""
    levels = None
    if trend["nearest_level"] is not None:
        version = trend["levels_version"]
        as_of = questions.time_of_bar(connection, run_id, lane, version, ts_ms)
        levels = {
            "nearest_level": trend["nearest_level"],
            "distance": abs(trend["nearest_level"] - trend["price"]),
            "levels_version": version,
            "as_of_bar": "before the run" if as_of is None else iso(as_of),
        }
    known = iso(ts_ms + timeframe_of(lane.timeframe).ms)
    values = {name: trend[name] for name in INPUTS if trend[name] is not None}
    return {"bar": iso(ts_ms), "known_at": known, "bar_index": trend["bar_index"], **values, "levels": levels}


def _dated(told: Story) -> Story:
    times = ("since", "bar", "known_at")
    terms = [
        {name: iso(value) if name in times and value is not None else value for name, value in term.items()}
        for term in told["terms"]
    ]
    return {**told, "terms": terms}


@lru_cache(maxsize=8)
def _config(text: str) -> Config:
    return _CONFIG.validate_json(text)


def _value(kind: type[Columns], name: str, value: Any) -> "np.ndarray[Any, Any]":
    column = kind.layout()[name]
    if value is None:
        value = {Kind.FLOAT: np.nan, Kind.FLAG: False}.get(column.kind, ABSENT)
    elif column.enum is not None:
        value = column.enum[str(value).upper()]
    return np.array([value], dtype=column.kind.dtype)


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
