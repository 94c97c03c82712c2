"""The driver board: flags of all drivers in event time."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from lotus.kernel import Chunk
from lotus.posture import board
from lotus.posture.board import BoardConfig, Slot, driver_slots
from lotus.records import Board
from lotus.timeframe import TIMEFRAMES, Timeframe
from tests.conformance.cases.board import CASE
from tests.conformance.laws import Rows, collect, digest, rows_digest
from tests.lotus.posture_vectors import HOUR, MINUTE, records

BTC_1M, BTC_1H, USDT_1H = Slot("BTC", Timeframe.M1), Slot("BTC", Timeframe.H1), Slot("dom:USDT", Timeframe.H1)


def test_rows_come_by_close_time_and_then_by_slot() -> None:
    config = BoardConfig((USDT_1H, BTC_1M, BTC_1H))
    feed = (
        (BTC_1H.key, Chunk(records(Timeframe.H1, HOUR, "b"), HOUR)),
        (BTC_1M.key, Chunk(records(Timeframe.M1, HOUR - MINUTE, "t.e"), HOUR + MINUTE)),
        (USDT_1H.key, Chunk(records(Timeframe.H1, HOUR, "?"), HOUR)),
    )
    for order in permutations(feed):
        _, chunk = board.step(config, None, order)
        rows = chunk.rows
        assert rows.known_ts.tolist() == [HOUR - MINUTE, HOUR, HOUR, HOUR]
        assert rows.slot.tolist() == [1, 0, 1, 2]
        assert rows.source_ts.tolist() == [HOUR - 2 * MINUTE, 0, HOUR - MINUTE, 0]
        assert rows.trim.tolist() == [True, False, False, False]
        assert rows.buy.tolist() == [False, True, False, True]
        assert rows.has_state.tolist() == [True, False, True, True]
        assert chunk.watermark_ms == HOUR


def test_rows_wait_for_the_slowest_slot() -> None:
    config = BoardConfig((BTC_1M, USDT_1H))
    state, chunk = board.step(config, None, ((BTC_1M.key, Chunk(records(Timeframe.M1, MINUTE, "..."), HOUR)),))
    assert len(chunk) == 0
    _, chunk = board.step(config, state, ((USDT_1H.key, Chunk(records(Timeframe.H1, HOUR, ""), 2 * MINUTE)),))
    assert chunk.rows.known_ts.tolist() == [MINUTE, 2 * MINUTE]


def runs(parts: list[str]) -> Board:
    config = BoardConfig((BTC_1M,))
    state, found, close_ms = None, [], MINUTE
    for part in parts:
        chunk = Chunk(records(Timeframe.M1, close_ms, part), close_ms + (len(part) - 1) * MINUTE)
        state, out = board.step(config, state, ((BTC_1M.key, chunk),))
        found.append(out.rows)
        close_ms += len(part) * MINUTE
    return Board.concat(found)


@pytest.mark.parametrize("cut", range(1, 8))
def test_since_is_the_first_bar_of_the_unbroken_run(cut: int) -> None:
    marks = ".bbBt.bb"
    rows = runs([marks[:cut], marks[cut:]])
    assert (rows.since_buy_ts // MINUTE).tolist() == [-1, 1, 1, 1, -1, -1, 6, 6]
    assert [ts // MINUTE if ts >= 0 else -1 for ts in rows.since_trim_ts.tolist()] == [-1, -1, -1, 3, 3, -1, -1, -1]
    assert rows.since_emergency_ts.tolist() == [-1] * 8


def test_warm_up_records_count_like_others() -> None:
    config = BoardConfig((BTC_1M,))
    warm = Chunk(records(Timeframe.M1, MINUTE, "bb", history=True), 2 * MINUTE)
    state, chunk = board.step(config, None, ((BTC_1M.key, warm),))
    assert len(chunk) == 2
    _, chunk = board.step(config, state, ((BTC_1M.key, Chunk(records(Timeframe.M1, 3 * MINUTE, "b"), 3 * MINUTE)),))
    assert chunk.rows.since_buy_ts.tolist() == [0]


def test_every_interleaving_gives_one_digest() -> None:
    rng = np.random.default_rng(5)
    everything = [arrival for batch in CASE.atoms(rng) for arrival in batch]
    streams = [[found for found in everything if found[0] == slot.key] for slot in CASE.config.slots]
    digests = set()
    for _ in range(20):
        waiting = [list(stream) for stream in streams]
        state: Any = None
        rows: Rows = {}
        while any(waiting):
            ready = [stream for stream in waiting if stream]
            stream = ready[int(rng.integers(len(ready)))]
            take = int(rng.integers(1, 9))
            state, outputs = board.step(CASE.config, state, tuple(stream[:take]))
            del stream[:take]
            collect(outputs, rows)
        digests.add(digest(rows_digest(rows)))
    assert len(digests) == 1


def test_a_board_has_slots_and_each_stands_once() -> None:
    for slots in ((), (BTC_1M, BTC_1M)):
        with pytest.raises(ValueError, match="at least one slot, each once"):
            BoardConfig(slots)
    with pytest.raises(AssertionError, match="no slot ETH/1m"):
        board.step(BoardConfig((BTC_1M,)), None, (("ETH/1m", Chunk(records(Timeframe.M1, MINUTE, "."), MINUTE)),))


def test_slots_are_the_drivers_on_the_horizons_that_have_bars() -> None:
    sources = [
        ("BTC", TIMEFRAMES),
        ("ETH", TIMEFRAMES),
        ("idx:bucket:nano", (Timeframe.H1, Timeframe.D1)),
        ("idx:bucket:mid", (Timeframe.H1,)),
        ("dom:USDT", (Timeframe.D1,)),
    ]
    found = driver_slots(sources, (Timeframe.M1, Timeframe.H1, Timeframe.D1))
    assert [slot.key for slot in found] == [
        "dom:USDT/1d",
        "idx:bucket:mid/1h",
        "idx:bucket:nano/1h",
        "idx:bucket:nano/1d",
        "BTC/1m",
        "BTC/1h",
        "BTC/1d",
    ]
    assert driver_slots(reversed(sources), (Timeframe.D1, Timeframe.H1, Timeframe.M1)) == found
