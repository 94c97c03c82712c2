"""What changed since the bar before, as lines, as JSON and as one sentence for people (posture.md 11).

    A 0.500 -> 0.175 (normal -> patient), E 0.500 -> 0.825 (normal -> aggressive)
    because USDT.d BUY 1h ON (A -0.325, E +0.325).

The lines sum to the change of A and E within 1e-12.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from lotus.posture.attribution import Attribution, Learned, Term
from lotus.posture.drivers import Driver, Horizon
from lotus.posture.flags import Flag
from lotus.records import Mode

Key = tuple[Driver, Horizon, Flag]
Times = Mapping[Key, tuple[int, int]]

DECIMALS_MIN = 3
DECIMALS_MAX = 6


class Silence(StrEnum):
    """Why a driver and horizon cannot signal."""

    STALE = "stale"
    NO_SERIES = "no_series"
    NO_BUCKET = "no_bucket"
    NO_RECORD = "no_record"
    NO_STATE = "no_state"


@dataclass(frozen=True, slots=True)
class Inactive:
    """A driver and horizon whose flags do not count."""

    driver: Driver
    horizon: Horizon
    why: Silence


@dataclass(frozen=True, slots=True)
class Cause:
    """One line of a change.

    term   the flag that caused it; None for strength and clamp
    event  what happened to it
    """

    term: Term | None
    event: str
    d_a: float
    d_e: float


def causes(previous: Attribution, current: Attribution) -> tuple[Cause, ...]:
    """Why A and E moved between two evaluations of one position: by size, silenced ones last, then strength, clamp.

    source  posture.md 11.3
    """
    before = {term.place: term for term in previous.terms}
    after = {term.place: term for term in current.terms}
    lines = [line for place in before | after if (line := _flag_cause(before.get(place), after.get(place))) is not None]
    lines.sort(key=_order)
    if previous.learned != current.learned:
        event = _strength_event(previous.learned, current.learned)
        lines.append(
            Cause(
                None,
                event,
                current.learned.s_a - previous.learned.s_a,
                current.learned.s_e - previous.learned.s_e,
            )
        )
    if (previous.clamp_a, previous.clamp_e) != (current.clamp_a, current.clamp_e):
        lines.append(Cause(None, "clamp", current.clamp_a - previous.clamp_a, current.clamp_e - previous.clamp_e))
    return tuple(lines)


def sentence(previous: Attribution, current: Attribution) -> str:
    """One sentence: what A and E are now and what moved them since `previous`.

    returns  the change with its causes; `unchanged; active: ...`; or `neutral, no active flags`
    source   posture.md 11.4
    """
    lines = causes(previous, current)
    if lines:
        moved = (
            f"A {_moved(previous.a, current.a, previous.mode_a, current.mode_a)}, "
            f"E {_moved(previous.e, current.e, previous.mode_e, current.mode_e)}"
        )
        return f"{moved} because {'; '.join(_line(line) for line in lines)}."
    active = [_standing(term) for term in current.terms]
    if current.learned.s_a or current.learned.s_e:
        active.append(f"strength ({_effect(current.learned.s_a, current.learned.s_e)})")
    return f"unchanged; active: {'; '.join(active)}." if active else "neutral, no active flags"


def attribution_json(
    current: Attribution,
    previous: Attribution,
    times: Times | None = None,
    inactive: Iterable[Inactive] = (),
) -> str:
    """The complete attribution of posture.md 11 as one JSON text.

    times     of each active flag (start of the source bar, of the first bar of its run), ms UTC; null where absent
    inactive  drivers and horizons whose flags do not count, and why
    """
    config = current.config
    return json.dumps(
        {
            "exec_tf": current.timeframe.value,
            "base": {"A": config.base.a, "E": config.base.e},
            "K": {"A": config.k.a, "E": config.k.e},
            "terms": [term_fields(term, *(times or {}).get(_key(term), (None, None))) for term in current.terms],
            "strength": _strength_fields(current.learned),
            "emergency": {"risk_off": current.risk_off, "risk_on": current.risk_on},
            "inactive": [
                {"driver": item.driver.value, "horizon": item.horizon.value, "why": item.why.value} for item in inactive
            ]
            + [
                {"driver": flag.driver.value, "horizon": flag.horizon.value, "why": "policy ignores EMERGENCY"}
                for flag in current.ignored
            ],
            "raw": {"A": current.raw_a, "E": current.raw_e},
            "final": {"A": current.a, "E": current.e},
            "clamped": {"A": current.clamp_a, "E": current.clamp_e},
            "modes": {"A": current.mode_a.name.lower(), "E": current.mode_e.name.lower()},
            "change": {
                "prev": {"A": previous.a, "E": previous.e},
                "because": [
                    {"what": _what(line), "dA": line.d_a, "dE": line.d_e} for line in causes(previous, current)
                ],
            },
        }
    )


def term_fields(term: Term, source_bar: Any, since: Any) -> dict[str, Any]:
    """A term under the names of posture.md 11."""
    return {
        "driver": term.active.driver.value,
        "horizon": term.active.horizon.value,
        "flag": term.active.flag.name,
        "side": term.side.value,
        "role_weight": term.role_weight,
        "driver_weight": term.driver_weight,
        "tf_weight": term.tf_weight,
        "dA": term.d_a,
        "dE": term.d_e,
        "suppressed": term.suppressed,
        "source_bar": source_bar,
        "since": since,
    }


def _strength_fields(learned: Learned) -> dict[str, Any]:
    return {
        "s_entry": learned.strength.s_entry,
        "s_exit": learned.strength.s_exit,
        "S_A": learned.s_a,
        "S_E": learned.s_e,
        "limited_by_emergency": learned.limited,
    }


def _key(term: Term) -> Key:
    return term.active.driver, term.active.horizon, term.active.flag


def _flag_cause(before: Term | None, after: Term | None) -> Cause | None:
    event = _event(before, after)
    if not event:
        return None
    d_a = (after.counted_a if after else 0.0) - (before.counted_a if before else 0.0)
    d_e = (after.counted_e if after else 0.0) - (before.counted_e if before else 0.0)
    return Cause(after or before, event, d_a, d_e)


def _event(before: Term | None, after: Term | None) -> str:
    if before is None or after is None:
        there = before or after
        silent = " suppressed" if there and there.suppressed else ""
        return ("OFF" if after is None else "ON") + silent
    if before.suppressed != after.suppressed:
        return "SUPPRESSED" if after.suppressed else "RELEASED"
    return "WEIGHT" if (before.d_a, before.d_e) != (after.d_a, after.d_e) else ""


def _order(line: Cause) -> tuple[bool, float, tuple[int, int, int]]:
    assert line.term is not None, "only lines of flags are ordered"
    return line.event.endswith(" suppressed"), -abs(line.d_a), line.term.place


def _strength_event(before: Learned, after: Learned) -> str:
    moves = [
        f"{name} {_number(old)} -> {_number(new)}"
        for name, old, new in (
            ("s_entry", before.strength.s_entry, after.strength.s_entry),
            ("s_exit", before.strength.s_exit, after.strength.s_exit),
        )
        if old != new
    ]
    return " ".join(["strength", *moves, *(["limited by emergency"] if after.limited else [])])


def _what(line: Cause) -> str:
    if line.term is None:
        return line.event
    active = line.term.active
    return f"{active.driver.value} {active.flag.name} {active.horizon.value} {line.event}"


def _line(line: Cause) -> str:
    what = f"{line.term.label} {line.event}" if line.term else line.event
    return f"{what} ({_effect(line.d_a, line.d_e)})"


def _standing(term: Term) -> str:
    silent = " suppressed" if term.suppressed else ""
    return f"{term.label}{silent} ({_effect(term.counted_a, term.counted_e)})"


def _effect(d_a: float, d_e: float) -> str:
    return f"A {_signed(d_a)}, E {_signed(d_e)}"


def _moved(old: float, new: float, old_mode: Mode, new_mode: Mode) -> str:
    return f"{_number(old)} -> {_number(new)} ({old_mode.name.lower()} -> {new_mode.name.lower()})"


@lru_cache(maxsize=4096)
def _number(value: float) -> str:
    """At least 3 decimals, at most 6, never -0.000."""
    whole, _, decimals = f"{round(value, DECIMALS_MAX) + 0.0:.{DECIMALS_MAX}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(DECIMALS_MIN, '0')}"


def _signed(value: float) -> str:
    text = _number(value)
    return text if text.startswith("-") else f"+{text}"
