"""Which rows of a file are taken: every rejected row has one reason (docs/bad-input.md).

Checks run over whole columns. The first reason that applies to a row wins; rows without a reason are accepted. Rows
that are not selected (other tokens, another span) are not looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from lotus.columns import F64, I64, Flags, Objects
from lotus.records import DeadLetters

EARLIEST_MS = 1_230_768_000_000  # 2009-01-01: no coin was traded before it
LATEST_MS = 4_102_444_800_000  # 2100-01-01
MOST_MONEY = Decimal(10) ** 15  # quote or base: more is a slip of the unit
UNITS = {"seconds": 1_000.0, "microseconds": 1e-3, "nanoseconds": 1e-6}
Checks = tuple[tuple[str, Flags], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Rows of one file: which are looked at, and why some of those are rejected.

    selected  bool[n]
    reason    object[n], None for a row that is accepted or not selected
    """

    selected: Flags
    reason: Objects

    @classmethod
    def of(cls, selected: Flags, checks: Checks) -> "Verdict":
        """The first check whose flag is set names the reason."""
        reason = np.full(len(selected), None, dtype=np.object_)
        for name, bad in reversed(checks):
            reason[bad & selected] = name
        return cls(selected, reason)

    def also(self, name: str, bad: Flags) -> "Verdict":
        """Reject further rows of those that were accepted so far."""
        reason = self.reason.copy()
        reason[bad & self.accepted] = name
        return Verdict(self.selected, reason)

    @property
    def accepted(self) -> Flags:
        """Selected rows without a reason."""
        return np.asarray(self.selected & (self.reason == None), dtype=np.bool_)  # noqa: E711 - elementwise

    def dead(self, source: str, table: pa.Table) -> DeadLetters:
        """The rejected rows as they came; position is the row number in the file, from 0."""
        rows = np.flatnonzero(self.selected & ~self.accepted).astype(np.int64)
        texts = [_json(content) for content in table.take(pa.array(rows)).to_pylist()]
        return DeadLetters(
            source=_objects([source] * len(rows)),
            position=rows,
            reason=self.reason[rows],
            row=_objects(texts),
        )


def unit_of(ts: I64) -> str | None:
    """The unit that times seem to be in when it is not milliseconds, else None."""
    if not len(ts):
        return None
    middle = float(np.median(ts))
    for unit, factor in UNITS.items():
        if EARLIEST_MS <= middle * factor <= LATEST_MS:
            return unit
    return None


def outside_of_time(ts: I64) -> Flags:
    """Times before 2009 or after 2100."""
    return np.asarray((ts < EARLIEST_MS) | (ts > LATEST_MS), dtype=np.bool_)


def inside(ts: I64, length_ms: int, start_ms: int | None, end_ms: int | None) -> Flags:
    """Times in `[start_ms, end_ms)` whose bucket of `length_ms` also ends by `end_ms`; times that make no sense too."""
    found = np.ones(len(ts), dtype=np.bool_)
    if start_ms is not None:
        found &= ts >= start_ms
    if end_ms is not None:
        found &= (ts < end_ms) & (ts + length_ms <= end_ms)
    return found | outside_of_time(ts)


def repeated(codes: I64, key: I64, considered: Flags) -> Flags:
    """Rows whose (code, key) stands earlier in the file; only `considered` rows take part."""
    rows = np.flatnonzero(considered)
    order = rows[np.lexsort([rows, key[rows], codes[rows]])]
    same = (codes[order][1:] == codes[order][:-1]) & (key[order][1:] == key[order][:-1])
    result = np.zeros(len(key), dtype=np.bool_)
    result[order[1:][same]] = True
    return result


def value_faults(values: Mapping[str, F64], *, positive: tuple[tuple[str, tuple[str, ...]], ...]) -> Checks:
    """Columns that must be finite and above 0, grouped under the word that their reasons begin with."""
    checks: list[tuple[str, Flags]] = []
    for word, names in positive:
        columns = [values[name] for name in names]
        with np.errstate(invalid="ignore"):
            checks.append((f"{word}_not_finite", ~np.logical_and.reduce([np.isfinite(one) for one in columns])))
            checks.append((f"{word}_not_positive", np.logical_or.reduce([one <= 0 for one in columns])))
    return tuple(checks)


def bar_faults(values: Mapping[str, F64]) -> Checks:
    """The value checks of a bar, in order: finite, positive, uncrossed, volume."""
    open_, high, low, close, volume = (values[name] for name in ("open", "high", "low", "close", "volume"))
    with np.errstate(invalid="ignore"):
        crossed = (high < low) | (open_ > high) | (open_ < low) | (close > high) | (close < low)
        return (
            *value_faults(values, positive=(("price", ("open", "high", "low", "close")),)),
            ("prices_crossed", crossed),
            ("volume_not_finite", ~np.isfinite(volume)),
            ("volume_negative", volume < 0),
        )


def _objects(values: list[str]) -> Objects:
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result


def _json(content: Mapping[str, object]) -> str:
    """A row as JSON, which has no word for NaN and infinity: they are written as text."""
    plain = {
        name: str(value) if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in content.items()
    }
    return json.dumps(plain, sort_keys=True, default=str)
