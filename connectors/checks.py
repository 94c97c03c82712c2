"""Which rows of a file are taken: every rejected row has one reason (docs/bad-input.md).

Checks run over whole columns. The first reason that applies to a row wins; rows without a reason are accepted.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lotus.columns import F64, I64, Flags, Objects
from lotus.records import DeadLetters

EARLIEST_MS = 1_230_768_000_000  # 2009-01-01: no coin was traded before it
LATEST_MS = 4_102_444_800_000  # 2100-01-01
UNITS = {"seconds": 1_000.0, "microseconds": 1e-3, "nanoseconds": 1e-6}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Rows of one file: which are accepted, and why the others are not.

    reason  object[n], None for an accepted row
    """

    reason: Objects

    @classmethod
    def of(cls, rows: int, checks: tuple[tuple[str, Flags], ...]) -> "Verdict":
        """The first check whose flag is set names the reason."""
        reason = np.full(rows, None, dtype=np.object_)
        for name, bad in reversed(checks):
            reason[bad] = name
        return cls(reason)

    @property
    def accepted(self) -> Flags:
        """Rows without a reason."""
        return np.asarray(self.reason == None, dtype=np.bool_)  # noqa: E711 - elementwise comparison with None

    def dead(self, source: str, columns: dict[str, NDArray[np.generic]]) -> DeadLetters:
        """The rejected rows as dead letters; position is the row number in the file, from 0."""
        rows = np.flatnonzero(~self.accepted).astype(np.int64)
        texts = [
            json.dumps({name: _plain(values[row]) for name, values in columns.items()}, sort_keys=True) for row in rows
        ]
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


def repeated(token_codes: I64, ts: I64, considered: Flags, tie: I64 | None = None) -> Flags:
    """Rows whose (token, ts[, tie]) stands earlier in the file; only `considered` rows take part."""
    rows = np.flatnonzero(considered)
    keys = [ts[rows], token_codes[rows]] if tie is None else [tie[rows], ts[rows], token_codes[rows]]
    order = np.lexsort([rows, *keys])
    again = np.zeros(len(rows), dtype=np.bool_)
    if len(rows) > 1:
        same = np.ones(len(rows) - 1, dtype=np.bool_)
        for key in keys:
            ordered = key[order]
            same &= ordered[1:] == ordered[:-1]
        again[order[1:]] = same
    result = np.zeros(len(ts), dtype=np.bool_)
    result[rows[again]] = True
    return result


def price_faults(open_: F64, high: F64, low: F64, close: F64, volume: F64) -> tuple[tuple[str, Flags], ...]:
    """The value checks of a bar, in order: finite, positive, uncrossed, volume."""
    with np.errstate(invalid="ignore"):
        prices = (open_, high, low, close)
        infinite = ~np.logical_and.reduce([np.isfinite(price) for price in prices])
        not_positive = np.logical_or.reduce([price <= 0 for price in prices])
        crossed = (high < low) | (open_ > high) | (open_ < low) | (close > high) | (close < low)
        return (
            ("price_not_finite", infinite),
            ("price_not_positive", not_positive),
            ("prices_crossed", crossed),
            ("volume_not_finite", ~np.isfinite(volume)),
            ("volume_negative", volume < 0),
        )


def _objects(values: list[str]) -> Objects:
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
