"""Messages of the input log as an ingester writes them, for tests without a broker."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from connectors.avro.codec import codec_of
from connectors.avro.contract import contracts
from connectors.avro.framing import SingleObject
from connectors.kafka.inlet import Part
from connectors.messages import MESSAGES
from lotus.columns import ABSENT, Columns, Kind
from lotus.intake import Link
from lotus.lane import Lane
from lotus.records import OrderKind
from schemas.partition import partition_of

FRAMING = SingleObject()
BEGIN_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
SOURCE = "ingest"


def framed(noun: str, body: bytes) -> bytes:
    """A body behind the prefix of its noun's newest schema."""
    return FRAMING.prefix(contracts()[MESSAGES[noun].schema]) + body


def values_of(noun: str, lane: tuple[str, str, str], rows: Columns) -> list[bytes]:
    """The values of all rows of a lane."""
    bodies = codec_of(noun).encode(lane, rows)
    return [framed(noun, bodies[row]) for row in range(len(bodies))]


def record(noun: str, token: str = "", venue: str = "", timeframe: str = "", **cells: Any) -> bytes:
    """One message; cells by name."""
    columns = {}
    for name, column in MESSAGES[noun].rows.layout().items():
        cell = np.empty(1, column.kind.dtype)
        cell[0] = cells[name] if name in cells else _nothing(column.kind)
        columns[name] = cell
    return values_of(noun, (token, venue, timeframe), MESSAGES[noun].rows(**columns))[0]


def _nothing(kind: Kind) -> Any:
    return {Kind.ENUM: ABSENT, Kind.TEXT: "", Kind.JSON: "{}", Kind.FLAG: False}.get(kind, 0)


def tick(token: str, ts: int, *, price: int = 10**8, size: int = 10**8, seq: int = 1, trade_id: int = 1) -> bytes:
    """A trade on the venue `hl`."""
    return record("tick", token, "hl", ts=ts, price_e8=price, size_e8=size, side=0, seq=seq, trade_id=trade_id)


def beat(ts: int, source: str = SOURCE) -> bytes:
    """A heartbeat."""
    return record("heartbeat", ts=ts, source=source)


def link(ts: int, state: Link, source: str = SOURCE) -> bytes:
    """A connection record."""
    return record("connection", ts=ts, source=source, state=state, tokens="BTC,ETH")


def sample(asset: str, ts: int, level: float) -> bytes:
    """A dominance sample."""
    return record("sample", asset, ts=ts, level=level, source="test")


def execution(lane: Lane, ts: int, fill_id: str) -> bytes:
    """A report of a venue."""
    one = Decimal("1.5")
    return record(
        "execution", lane.token, lane.venue, lane.timeframe, ts=ts, kind=OrderKind.S1_ENTRY, order_ts=ts - 60_000,
        fill_id=fill_id, usd=one, qty=one, price=one, fee=one, done=True,
    )  # fmt: skip


def in_partitions(total: int, sequence: Sequence[tuple[str | None, bytes]]) -> dict[int, list[bytes]]:
    """Messages by partition: a token's in its own, those of no token (None) in every one."""
    logs: dict[int, list[bytes]] = {partition: [] for partition in range(total)}
    for token, value in sequence:
        homes = range(total) if token is None else (partition_of(token, total),)
        for home in homes:
            logs[home].append(value)
    return logs


def whole(logs: dict[int, list[bytes]]) -> list[Part]:
    """All messages of all partitions as one batch."""
    return [Part(partition, list(range(len(values))), values) for partition, values in logs.items()]
