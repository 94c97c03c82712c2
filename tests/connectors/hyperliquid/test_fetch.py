"""Candle history becomes files that a replay reads; an interrupted fetch goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.hyperliquid.candles import InfoClient, VenueError
from connectors.hyperliquid.fetch import Fetched, Progress, fetch
from connectors.hyperliquid.settings import HyperliquidSettings
from connectors.parquet import read_bars
from lotus.kernel import Series
from lotus.timeframe import Timeframe
from tests.connectors.hyperliquid.candle_server import CandleServer, candle
from tests.connectors.hyperliquid.stand_ins import Reply, RestServer, rest_server
from tests.connectors.hyperliquid.wire import T0

HOUR = Timeframe.H1.ms
NOW = T0 + 100 * HOUR + 10 * 60_000


def run(
    server: RestServer,
    folder: Path,
    *,
    tokens: tuple[str, ...] = ("BTC", "ETH"),
    timeframes: tuple[Timeframe, ...] = (Timeframe.H1,),
    since: int | None = T0,
    until: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    **changed: Any,
) -> list[Fetched]:
    settings = HyperliquidSettings(rest_url=f"{server.url}/", **changed)
    info = InfoClient(settings, lambda _: None)
    try:
        return fetch(settings, tokens, timeframes, since, until, folder, progress, info=info, now=lambda: NOW)
    finally:
        info.close()


def rows(folder: Path, timeframe: Timeframe = Timeframe.H1) -> dict[str, list[int]]:
    found = read_bars(folder / f"hyperliquid_{timeframe}.parquet", "hyperliquid", timeframe, (), None, None)
    assert len(found.dead) == 0
    return {series.token: bars.ts.tolist() for series, bars in found.series.items()}


def test_a_replay_reads_what_was_fetched(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0, page=17)) as server:
        found = run(server, tmp_path, timeframes=(Timeframe.H1, Timeframe.D1))
    assert [(one.token, one.timeframe, one.rows, one.gaps) for one in found] == [
        ("BTC", Timeframe.H1, 100, ()),
        ("ETH", Timeframe.H1, 100, ()),
        ("BTC", Timeframe.D1, 4, ()),
        ("ETH", Timeframe.D1, 4, ()),
    ]
    assert rows(tmp_path) == {token: [T0 + k * HOUR for k in range(100)] for token in ("BTC", "ETH")}
    bars = read_bars(tmp_path / "hyperliquid_1h.parquet", "hyperliquid", Timeframe.H1, (), None, None).series
    said = candle(T0 + 5 * HOUR, Timeframe.H1, "BTC")
    btc = bars[Series("hyperliquid", "BTC")]
    assert [btc.open[5], btc.high[5], btc.low[5], btc.close[5], btc.volume_base[5]] == [
        float(said[name]) for name in "ohlcv"
    ]


def test_the_candle_that_is_still_forming_is_left_out(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0)) as server:
        run(server, tmp_path)
        assert rows(tmp_path)["BTC"][-1] == T0 + 99 * HOUR
        run(server, tmp_path, until=T0 + 3 * HOUR + 1)
    assert rows(tmp_path)["BTC"] == [T0, T0 + HOUR, T0 + 2 * HOUR], "until is the end of what is read"


def test_an_interrupted_fetch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    class Interrupted(RuntimeError):
        pass

    def interrupt(progress: Progress) -> None:
        if progress.token == "ETH" and progress.rows == 28:
            raise Interrupted

    with rest_server(CandleServer(T0, page=10)) as server:
        with pytest.raises(Interrupted):
            run(server, tmp_path, progress=interrupt)
        assert not (tmp_path / "hyperliquid_1h.parquet").exists(), "a file that is there is whole"
        asked = len(server.requests)
        found = run(server, tmp_path)
        again = [body["req"] for _, body in server.requests[asked:] if body["type"] == "candleSnapshot"]
    assert [one.rows for one in found] == [100, 100]
    assert {request["coin"] for request in again} == {"ETH"}
    assert min(request["startTime"] for request in again) == T0 + 27 * HOUR + 1
    assert rows(tmp_path)["ETH"] == [T0 + k * HOUR for k in range(100)]
    assert not list(tmp_path.rglob("*.unfinished"))


def test_an_earlier_since_fetches_what_lies_before(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0)) as server:
        run(server, tmp_path, since=T0 + 50 * HOUR)
        found = run(server, tmp_path, since=T0 + 20 * HOUR)
    assert [(one.rows, one.gaps) for one in found] == [(80, ()), (80, ())]


def test_holes_and_what_the_venue_does_not_keep_are_reported(tmp_path: Path) -> None:
    answers = CandleServer(T0)
    answers.holes = {T0 + k * HOUR for k in (4, 5, 9, 99)}
    with rest_server(answers) as server:
        (found,) = run(server, tmp_path, tokens=("BTC",), since=T0 - 10 * HOUR)
        (nothing,) = run(server, tmp_path / "other", tokens=("BTC",), since=T0 - 10 * HOUR, until=T0 - 5 * HOUR)
    assert found.gaps == (
        (T0 - 10 * HOUR, T0 - HOUR),
        (T0 + 4 * HOUR, T0 + 5 * HOUR),
        (T0 + 9 * HOUR, T0 + 9 * HOUR),
        (T0 + 99 * HOUR, T0 + 99 * HOUR),
    )
    assert found.rows == 96
    assert (nothing.rows, nothing.gaps) == (0, ((T0 - 10 * HOUR, T0 - 6 * HOUR),))


def test_without_since_everything_the_venue_keeps_is_asked_for(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0 + 60 * HOUR)) as server:
        (found,) = run(server, tmp_path, tokens=("BTC",), since=None, reach_candles=50)
    assert found.gaps == ((T0 + 50 * HOUR, T0 + 59 * HOUR),)
    assert found.rows == 40


def test_progress_counts_series_and_rows(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with rest_server(CandleServer(T0, page=60)) as server:
        run(server, tmp_path, progress=seen.append)
    assert [(one.token, one.rows, one.series_done, one.series) for one in seen] == [
        ("BTC", 60, 0, 2),
        ("BTC", 100, 0, 2),
        ("BTC", 100, 1, 2),
        ("ETH", 60, 1, 2),
        ("ETH", 100, 1, 2),
        ("ETH", 100, 2, 2),
    ]


def test_a_coin_that_is_not_listed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0)) as server, pytest.raises(VenueError, match="does not list eth"):
        run(server, tmp_path, tokens=("BTC", "eth"))
    assert not list(tmp_path.iterdir())


def test_candles_that_cannot_be_read_are_reported_and_left_out(tmp_path: Path) -> None:
    answers = CandleServer(T0)
    good = [candle(T0 + k * HOUR, Timeframe.H1, "BTC") for k in range(3)]
    answers.plan = [Reply({"universe": [{"name": "BTC"}]}), Reply([good[0], {**good[1], "o": "?"}, good[2]])]
    with rest_server(answers) as server:
        (found,) = run(server, tmp_path, tokens=("BTC",), until=T0 + 3 * HOUR)
    assert [reason for reason, _ in found.refused] == ["unreadable"]
    assert found.gaps == ((T0 + HOUR, T0 + HOUR),)


def test_odd_names_of_coins_are_names_of_files(tmp_path: Path) -> None:
    with rest_server(CandleServer(T0, coins=("PURR/USDC", "@107"))) as server:
        run(server, tmp_path, tokens=("PURR/USDC", "@107"))
    assert set(rows(tmp_path)) == {"PURR/USDC", "@107"}
    assert pq.read_schema(tmp_path / "hyperliquid_1h.parquet").names == [
        "token",
        "ts",
        "open",
        "high",
        "low",
        "close",
        "volume",
    ]
