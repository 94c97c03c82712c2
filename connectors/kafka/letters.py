"""Messages of the input log that are refused: kept with partition, offset, reason and what is known of them.

A reason is a code out of a closed list (docs/bad-input.md); what the reader tripped over stands in the row.
"""

import json
from collections import Counter
from enum import StrEnum
from typing import Any

import numpy as np

from lotus.columns import Columns, Kind, Objects
from lotus.records import DeadLetters

TEXT_CHARACTERS = 200  # of a text that is kept
VALUE_BYTES = 64  # of a value that is kept


class Refusal(StrEnum):
    """Why a message is refused on reading."""

    TOMBSTONE = "tombstone"
    SCHEMA_UNKNOWN = "schema_unknown"
    NOUN_UNKNOWN = "noun_unknown"
    UNDECODABLE = "undecodable"
    SERIES_UNKNOWN = "series_unknown"
    ASSET_UNKNOWN = "asset_unknown"
    TOKEN_UNKNOWN = "token_unknown"  # noqa: S105 - the name of an instrument
    LANE_UNKNOWN = "lane_unknown"
    SOURCE_UNKNOWN = "source_unknown"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    TIME_NOT_ON_GRID = "time_not_on_grid"
    SEQ_NEGATIVE = "seq_negative"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    FUTURE = "future"
    TOO_LATE = "too_late"
    DUPLICATE = "duplicate"


class Letters:
    """The refused messages of one batch, by partition."""

    def __init__(self, topic: str) -> None:
        """`topic` is the first part of each letter's source."""
        self._topic = topic
        self._found: dict[int, list[tuple[int, str, str]]] = {}
        self.reasons: Counter[str] = Counter()

    def __len__(self) -> int:
        """Messages refused."""
        return self.reasons.total()

    def add(self, partition: int, offset: int, reason: str, known: dict[str, Any]) -> None:
        """Refuse one message; `known` is what is known of it."""
        text = json.dumps({name: _told(value) for name, value in known.items()}, ensure_ascii=True)
        self._found.setdefault(partition, []).append((offset, str(reason), text))
        self.reasons[str(reason)] += 1

    def by_partition(self) -> tuple[tuple[int, DeadLetters], ...]:
        """The letters of each partition in the order of the log."""
        return tuple((partition, self._letters(partition, rows)) for partition, rows in sorted(self._found.items()))

    def _letters(self, partition: int, rows: list[tuple[int, str, str]]) -> DeadLetters:
        rows = sorted(rows)
        return DeadLetters(
            source=_objects([f"{self._topic}/{partition}"] * len(rows)),
            position=np.array([offset for offset, _, _ in rows], np.int64),
            reason=_objects([reason for _, reason, _ in rows]),
            row=_objects([text for _, _, text in rows]),
        )


def as_bytes(value: bytes | None) -> dict[str, Any]:
    """What is known of a value that could not be read."""
    if value is None:
        return {}
    return {"bytes": len(value), "hex": value[:VALUE_BYTES].hex()}


def as_row(noun: str, lane: tuple[str, str, str], rows: Columns, row: int) -> dict[str, Any]:
    """What is known of a record that was read."""
    token, venue, timeframe = lane
    known: dict[str, Any] = {"noun": noun, "token": token, "venue": venue, "timeframe": timeframe}
    known = {name: value for name, value in known.items() if value}
    for name, column in rows.layout().items():
        value = getattr(rows, name)[row]
        known[name] = str(value) if column.kind in (Kind.MONEY, Kind.FLOAT) else value
    return known


def _told(value: Any) -> Any:
    """A value as JSON: texts cut, without the NUL that Postgres refuses."""
    if isinstance(value, np.generic):
        value = value.item()
    return value[:TEXT_CHARACTERS].replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _objects(values: list[str]) -> Objects:
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result
