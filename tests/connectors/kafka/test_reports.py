"""Samples, executions, patches and commands: complete up to the last closed minute, whatever the cuts."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.inlet import Mark, Part
from connectors.kafka.input_log import InputConfig, InputReader
from lotus import dominance
from lotus.dominance import DominanceConfig
from lotus.feed import Slice
from lotus.intake import Action, Link
from lotus.kernel import Series
from lotus.lane import Lane
from lotus.records import OrderKind
from lotus.timeframe import Timeframe
from tests.connectors.kafka.log_rows import BEGIN_MS, SOURCE, beat, execution, link, record, sample

MINUTE = 60_000
SECOND = 1_000
LANES = (Lane("BTC", "hl", Timeframe.M1), Lane("ETH", "hl", Timeframe.M1))
SERIES = (Series("hl", "BTC"), Series("hl", "ETH"))


def reader(sample_lag_ms: int = 0) -> InputReader:
    return InputReader(
        InputConfig(
            "md.ticks.v1", 1, (SOURCE,), series=SERIES, assets=("dom:BTC", "dom:USDT"), lanes=LANES,
            sample_lag_ms=sample_lag_ms,
        )
    )  # fmt: skip


def at(seconds: float) -> int:
    return BEGIN_MS + int(seconds * SECOND)


def read(inlet: InputReader, *values: bytes) -> Slice:
    first = next((mark.offset for mark in inlet.marks().values()), 0)
    return inlet.read([Part(0, range(first, first + len(values)), values)])


# ------------------------------------------------------------------------------------------------------ executions


def test_executions_wait_until_no_other_of_their_time_can_come() -> None:
    inlet = reader()
    piece = read(inlet, beat(at(61)), execution(LANES[0], at(61), "a"), execution(LANES[0], at(61), "b"))
    assert [(lane, len(chunk)) for lane, chunk in piece.executions] == [(LANES[0], 0), (LANES[1], 0)]
    assert read(inlet, beat(at(64)), execution(LANES[0], at(61), "c")).executions == ()
    (_, chunk), (_, other) = read(inlet, beat(at(125))).executions
    assert chunk.rows.fill_id.tolist() == ["a", "b", "c"]
    assert (chunk.watermark_ms, other.watermark_ms, len(other)) == (at(120), at(120), 0)


def test_executions_come_in_the_order_of_their_times() -> None:
    reports = [execution(LANES[0], at(second), str(second)) for second in (90, 62, 119, 62, 125)]
    (_, chunk), *_ = read(reader(), beat(at(61)), *reports[:4], beat(at(121)), reports[4], beat(at(130))).executions
    assert chunk.rows.fill_id.tolist() == ["62", "62", "90", "119"]


def test_a_report_that_is_late_or_early_is_known_when_it_is_read() -> None:
    inlet = reader()
    piece = read(
        inlet,
        execution(LANES[0], at(1), "before any clock"),
        beat(at(125)),
        execution(LANES[0], at(30), "late"),
        execution(LANES[0], at(500), "early"),
        beat(at(245)),
    )
    (_, chunk), *_ = piece.executions
    found = dict(zip(chunk.rows.fill_id.tolist(), chunk.rows.ts.tolist(), strict=True))
    assert found == {"before any clock": at(1), "late": at(120) + 1, "early": at(130)}


@pytest.mark.parametrize("name", ["usd", "qty", "price", "fee"])
@pytest.mark.parametrize("value", ["-1", "1E+15", "1E+90"])
def test_a_report_with_money_that_cannot_be_is_refused(name: str, value: str) -> None:
    amounts = dict.fromkeys(("usd", "qty", "price", "fee"), Decimal(1)) | {name: Decimal(value)}
    times = {"ts": at(61), "order_ts": at(0)}
    report = record("execution", "BTC", "hl", "1m", kind=OrderKind.TRIM, fill_id="a", done=True, **times, **amounts)
    piece = read(reader(), beat(at(61)), report, beat(at(130)))
    ((_, letters),) = piece.refused
    assert letters.reason.tolist() == ["amount_out_of_range"]
    assert sum(len(chunk) for _, chunk in piece.executions) == 0


# --------------------------------------------------------------------------------------------------------- samples


def test_samples_go_with_the_last_closed_minute_to_every_asset() -> None:
    inlet = reader()
    piece = read(inlet, beat(at(65)), sample("dom:BTC", at(64), 50.0))
    assert [(asset, len(chunk), chunk.watermark_ms) for asset, chunk in piece.samples] == [
        ("dom:BTC", 1, at(60)),
        ("dom:USDT", 0, at(60)),
    ]
    assert read(inlet, beat(at(66))).samples == ()
    ((asset, chunk),) = read(inlet, sample("dom:USDT", at(66), 5.0)).samples
    assert (asset, chunk.rows.level.tolist()) == ("dom:USDT", [5.0])


def test_a_declared_lag_lets_samples_come_later() -> None:
    values = [beat(at(3_665)), sample("dom:BTC", at(1_000), 50.0)]
    assert read(reader(), *values).refused[0][1].reason.tolist() == ["too_late"]
    late = read(reader(sample_lag_ms=3_600_000), *values)
    assert late.refused == ()
    assert late.samples[0][1].watermark_ms == at(60)
    with pytest.raises(ValueError, match="within an hour"):
        reader(sample_lag_ms=3_600_001)


# ------------------------------------------------------------------------------------------- patches and commands


def candle(token: str, ts: int) -> bytes:
    cells: dict[str, Any] = {"open_e8": 5, "high_e8": 9, "low_e8": 3, "close_e8": 5, "size_e8": 1}
    return record("candle", token, "hl", ts=ts, trades=1, **cells)


def command(token: str, name: str, ts: int = BEGIN_MS) -> bytes:
    return record("command", token, ts=ts, action=Action.HALT, command_id=name, author="ann")


def test_patches_name_their_place_and_the_clock_they_were_read_at() -> None:
    inlet = reader()
    piece = read(inlet, candle("BTC", at(0)), beat(at(65)), candle("BTC", at(0)), candle("ETH", at(0)))
    patches = dict(piece.patches)
    assert patches[SERIES[0]].candles.position.tolist() == [0, 2]
    assert patches[SERIES[0]].candles.read_ts.tolist() == [-1, at(65)]
    assert patches[SERIES[1]].candles.position.tolist() == [3]
    assert {one.watermark_ms for one in patches.values()} == {at(60)}
    assert read(inlet, beat(at(66))).patches == ()
    assert [one for one, _ in read(inlet, beat(at(125))).patches] == list(SERIES)


def test_connection_records_go_to_the_tokens_they_name() -> None:
    def tokens(names: str) -> list[str]:
        value = record("connection", ts=at(1), source=SOURCE, state=Link.DOWN, tokens=names)
        return [one.token for one, patches in read(reader(), value).patches if len(patches.connections)]

    assert tokens("ETH") == ["ETH"]
    assert tokens("SOL, BTC") == ["BTC"]
    assert tokens("") == ["BTC", "ETH"]
    assert tokens("SOL") == []


def test_a_command_takes_its_time_from_the_clock_of_the_log() -> None:
    inlet = reader()
    piece = read(inlet, beat(at(65)), command("BTC", "a"), beat(at(70)), command("BTC", "b"))
    commands = dict(piece.commands)
    assert commands["BTC"].rows.ts.tolist() == [at(65), at(70)]
    assert commands["BTC"].rows.command_id.tolist() == ["a", "b"]
    assert (len(commands["ETH"]), commands["ETH"].watermark_ms) == (0, at(60))
    assert read(inlet, command("SOL", "c")).refused[0][1].reason.tolist() == ["token_unknown"]


# ------------------------------------------------------------------------------------------------------------- cuts


def a_log() -> list[bytes]:
    random = np.random.default_rng(5)
    values = [execution(LANES[0], at(3), "first"), sample("dom:BTC", at(2), 50.0), candle("BTC", at(0))]
    for second in range(5, 700):
        values.append(beat(at(second)))
        if random.random() < 0.3:
            wanted = at(second + int(random.integers(-200, 8)))
            values.append(execution(LANES[int(random.integers(2))], wanted, f"fill {second}"))
        if random.random() < 0.3:
            wanted = at(second + int(random.integers(-90, 8)))
            values.append(sample("dom:BTC", wanted, 50.0 + float(random.random())))
        if random.random() < 0.1:
            values += [candle("ETH", at(60 * (second // 60))), command("BTC", str(second)), link(at(second), Link.UP)]
    return values


def told(pieces: Sequence[Slice]) -> dict[str, object]:
    """What the kernels behind would make of it: rows, and what is complete at each of them."""
    config = DominanceConfig(Timeframe.M1, 5.0, 3_600_000)
    state, bars = None, []
    executions: dict[Lane, list[tuple[int, str]]] = {}
    passed: dict[Lane, int] = {}
    for piece in pieces:
        for asset, samples in piece.samples:
            if asset == "dom:BTC":
                state, out = dominance.step(config, state, samples)
                bars += list(zip(out.bars.rows.ts.tolist(), out.bars.rows.high.tolist(), strict=True))
        for lane, chunk in piece.executions:
            rows = list(zip(chunk.rows.ts.tolist(), chunk.rows.fill_id.tolist(), strict=True))
            assert all(passed.get(lane, -1) < ts <= chunk.watermark_ms for ts, _ in rows)
            passed[lane] = chunk.watermark_ms
            executions.setdefault(lane, []).extend(rows)
    patches = [
        (one, patch.candles.position.tolist(), patch.candles.read_ts.tolist(), patch.connections.position.tolist())
        for one in SERIES
        for piece in pieces
        for two, patch in piece.patches
        if one == two
    ]
    return {
        "bars": bars,
        "executions": executions,
        "passed": passed,
        "letters": [row for piece in pieces for _, dead in piece.refused for row in dead.row],
        "candles": [place for _, places, _, _ in patches for place in places],
        "read": [ts for _, _, times, _ in patches for ts in times],
        "links": [place for _, _, _, places in patches for place in places],
        "commands": [
            (ts, name)
            for piece in pieces
            for _, chunk in piece.commands
            for ts, name in zip(chunk.rows.ts.tolist(), chunk.rows.command_id.tolist(), strict=True)
        ],
    }


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_no_cut_and_no_restart_changes_what_is_told(cuts: list[int]) -> None:
    values = a_log()
    whole = told([read(reader(), *values)])
    assert len(whole["bars"]) > 5  # type: ignore[arg-type]
    inlet, pieces, start, turn = reader(), [], 0, 0
    while start < len(values):
        size = cuts[turn % len(cuts)]
        pieces.append(read(inlet, *values[start : start + size]))
        marks = inlet.marks()
        inlet = reader()
        inlet.resume({partition: Mark(mark.offset, mark.state) for partition, mark in marks.items()})
        start, turn = start + size, turn + 1
    assert told(pieces) == whole
