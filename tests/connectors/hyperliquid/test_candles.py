"""Candles come in pages, each start once, exact; a busy venue is asked again, more patiently each time (2.4)."""

from typing import Any

import pytest

from connectors.hyperliquid.candles import InfoClient, VenueError, fill_rows, minutes, names_listed, read_candles
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.connectors.hyperliquid.candle_server import CandleServer, candle
from tests.connectors.hyperliquid.recorded import candle_answer
from tests.connectors.hyperliquid.stand_ins import Reply, RestServer, rest_server
from tests.connectors.hyperliquid.wire import T0


def client(server: RestServer, **changed: Any) -> tuple[InfoClient, list[float]]:
    slept: list[float] = []
    return InfoClient(HyperliquidSettings(rest_url=f"{server.url}/", **changed), slept.append), slept


def test_pages_follow_each_other_without_a_candle_twice() -> None:
    with rest_server(CandleServer(T0, page=7)) as server:
        info, _ = client(server)
        pages = list(info.pages("BTC", Timeframe.M1, T0, T0 + 29 * MINUTE_MS))
        info.close()
    times = [found.ts for page in pages for found in page.candles]
    assert times == [T0 + k * MINUTE_MS for k in range(30)]
    starts = [body["req"]["startTime"] for _, body in server.requests]
    assert starts[:3] == [T0, T0 + 6 * MINUTE_MS + 1, T0 + 12 * MINUTE_MS + 1], "the last t + 1"


def test_a_span_without_candles_ends_with_the_first_answer() -> None:
    with rest_server(CandleServer(T0)) as server:
        info, _ = client(server)
        assert not list(info.pages("BTC", Timeframe.M1, T0 - 10 * MINUTE_MS, T0 - MINUTE_MS))
        info.close()
    assert len(server.requests) == 1


def test_the_candle_that_merely_contains_the_start_is_left_out() -> None:
    with rest_server(CandleServer(T0)) as server:
        info, _ = client(server)
        (page,) = info.pages("BTC", Timeframe.H1, T0 + 1, T0 + 3 * Timeframe.H1.ms)
        info.close()
    assert [found.ts for found in page.candles] == [T0 + k * Timeframe.H1.ms for k in (1, 2, 3)]


def test_a_busy_venue_is_asked_five_times_with_longer_and_longer_waits() -> None:
    answers = CandleServer(T0)
    answers.plan = [Reply("", 429)] * 4
    with rest_server(answers) as server:
        info, slept = client(server)
        assert info.coins() == {"BTC", "ETH"}
        assert slept == [1.0, 2.5, 5.0, 9.5]
        answers.plan = [Reply("", 429)] * 5
        with pytest.raises(VenueError, match="429"):
            info.coins()
        info.close()
    assert len(server.requests) == 10


@pytest.mark.parametrize(
    ("reply", "asked"),
    [(Reply("", 500), 3), (Reply("{", 200), 3), (Reply("", 422), 1), (Reply({"universe": 7}), 1), (Reply([]), 1)],
)
def test_an_answer_that_is_none_is_an_error_in_the_end(reply: Reply, asked: int) -> None:
    answers = CandleServer(T0)
    answers.plan = [reply] * asked
    with rest_server(answers) as server:
        info, _ = client(server, rest_attempts=3)
        with pytest.raises(VenueError):
            info.coins()
        info.close()
    assert len(server.requests) == asked


def test_a_venue_that_is_gone_is_an_error() -> None:
    with rest_server(CandleServer(T0)) as server:
        info, slept = client(server, rest_attempts=2)
    with pytest.raises(VenueError, match="ConnectError"):
        info.coins()
    info.close()
    assert slept == [1.0]


def test_candles_that_are_no_list_are_an_error() -> None:
    answers = CandleServer(T0)
    answers.plan = [Reply({"error": "x"})]
    with rest_server(answers) as server:
        info, _ = client(server)
        with pytest.raises(VenueError, match="no list"):
            list(info.pages("BTC", Timeframe.M1, T0, T0))
        info.close()


def test_names_are_case_sensitive() -> None:
    with rest_server(CandleServer(T0)) as server:
        info, _ = client(server)
        assert names_listed(info, ("ETH", "btc", "BTC")) == (("ETH", "BTC"), ("btc",))
        info.close()


def test_the_recorded_answer_is_read_exactly() -> None:
    page = read_candles(candle_answer(), Timeframe.H1)
    assert (len(page.candles), page.faults) == (24, [])
    assert page.candles[0] == (1684699200000, 160_100, 161_600, 160_100, 160_400, "520665683.0", 709)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"t": T0 + 1}, "time_not_on_grid"),
        ({"t": "x"}, "unreadable"),
        ({"t": 5}, "out_of_range"),
        ({"o": "x"}, "unreadable"),
        ({"l": "0"}, "price_not_positive"),
        ({"h": "0.1"}, "prices_crossed"),
        ({"v": "-1"}, "volume_negative"),
        ({"v": None}, "unreadable"),
        ({"n": None}, "candle_unreadable"),
        ({"n": -1}, "candle_unreadable"),
        ({"i": "5m"}, "candle_of_another_interval"),
    ],
)
def test_a_bad_candle_is_a_fault_and_its_neighbours_are_good(change: dict[str, Any], reason: str) -> None:
    good = [candle(T0 + k * MINUTE_MS, Timeframe.M1, "BTC") for k in (0, 2)]
    page = read_candles([good[0], {**candle(T0 + MINUTE_MS, Timeframe.M1, "BTC"), **change}, good[1]], Timeframe.M1)
    assert [found.ts for found in page.candles] == [T0, T0 + 2 * MINUTE_MS]
    assert [fault.reason for fault in page.faults] == [reason]


def test_the_later_of_two_candles_of_one_start_counts() -> None:
    first = candle(T0, Timeframe.M1, "BTC")
    page = read_candles([first, {**first, "v": "9.5"}], Timeframe.M1)
    assert [found.volume for found in page.candles] == ["9.5"]


def test_rows_of_the_log_are_exact_and_what_does_not_fit_is_a_fault() -> None:
    answer = [
        {**candle(T0, Timeframe.M1, "BTC"), "v": "3495670.8399999999"},
        {**candle(T0 + MINUTE_MS, Timeframe.M1, "BTC"), "v": "9" * 12},
    ]
    rows, faults = fill_rows(read_candles(answer, Timeframe.M1).candles)
    assert rows.ts.tolist() == [T0]
    assert rows.size_e8.tolist() == [349_567_084_000_000]
    assert [fault.reason for fault in faults] == ["volume_too_large"]
    assert len(fill_rows([])[0]) == 0


def test_the_minutes_of_an_outage_become_one_batch() -> None:
    with rest_server(CandleServer(T0, page=3)) as server:
        info, _ = client(server)
        rows, faults = minutes(info, "BTC", T0 + MINUTE_MS, T0 + 5 * MINUTE_MS)
        info.close()
    assert rows.ts.tolist() == [T0 + k * MINUTE_MS for k in range(1, 6)]
    assert not faults
