"""The simulated market as ticks: its trades make the simulator's minutes again, at any moment, at little cost."""

from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
import pytest

from connectors.market_files import write_buckets, write_history
from connectors.moments import Moment
from connectors.parquet import read_bars, read_buckets
from connectors.simulator import DAY_MS, START_MS, Market, Simulator
from connectors.tick_market import TickMarket
from lotus import bar
from lotus.feed import Instrument, Slice
from lotus.intake import Trades
from lotus.kernel import Chunk, Series
from lotus.records import BarKind, Bars, Ticks
from lotus.timeframe import TIMEFRAMES, Timeframe
from tests.conformance.laws import digest
from tests.connectors.frames import HOUR, MINUTE, SECOND

MARKET = Market(tokens=8, days=4, seed=3)


def of(market: TickMarket, until_ms: int, after_ms: int = -1) -> list[Moment]:
    return list(takewhile(lambda moment: moment.clock_ms < until_ms, market.moments(after_ms)))


def trades(moments: Iterable[Moment]) -> dict[Series, Trades]:
    parts: dict[Series, list[Trades]] = {}
    for moment in moments:
        for one, rows in moment.trades:
            parts.setdefault(one, []).append(rows)
    return {one: Trades.concat(rows) for one, rows in parts.items()}


def minutes(rows: Trades) -> Bars:
    """Bars of the trades, all of them closed."""
    last = np.array([int(rows.ts.max()) + 2 * MINUTE])
    columns = {name: getattr(rows, name) for name in ("price_e8", "size_e8", "side", "seq", "trade_id")}
    closing = {name: np.zeros(1, column.dtype) for name, column in columns.items()}
    ticks = Ticks(
        ts=np.concatenate([rows.ts, last]),
        heartbeat=np.concatenate([np.zeros(len(rows), np.bool_), [True]]),
        **{name: np.concatenate([column, closing[name]]) for name, column in columns.items()},
    )
    return bar.step(bar.BarConfig(), None, Chunk(ticks, -1))[1].bars.rows


@pytest.mark.parametrize("ticks_per_minute", [4, 5, 7, 60])
def test_the_ticks_of_a_minute_make_the_minute(ticks_per_minute: int) -> None:
    market = TickMarket(MARKET, ticks_per_minute, START_MS + DAY_MS)
    found = trades(of(market, START_MS + DAY_MS + 3 * HOUR))
    simulated = {one: raw.rows.rows for one, raw in list(islice(Simulator(MARKET).slices(), 2))[1].raw}
    fillers = 0
    for one, rows in found.items():
        meant = simulated[one].take(simulated[one].ts < START_MS + DAY_MS + 3 * HOUR)
        fillers += int((meant.kind != BarKind.REAL).sum())
        real = meant.take(meant.kind == BarKind.REAL)
        made = minutes(rows)
        assert made.ts.tolist() == real.ts.tolist()
        assert (made.trades == ticks_per_minute).all()
        for name in ("open", "high", "low", "close", "volume_base"):
            assert getattr(made, name) == pytest.approx(getattr(real, name), rel=1e-9, abs=1.0001e-8), name
    assert len(found) == 8
    assert fillers > 0


def test_trades_of_a_token_ascend_in_time_and_number_and_stand_behind_their_second() -> None:
    moments = of(TickMarket(MARKET, 20), START_MS + 40 * MINUTE)
    for moment in moments:
        for _, rows in moment.trades:
            assert ((rows.ts >= moment.clock_ms) & (rows.ts < moment.clock_ms + SECOND)).all()
    for rows in trades(moments).values():
        assert (np.diff(rows.ts) > 0).all()
        assert (np.diff(rows.seq) > 0).all()
        assert (np.diff(rows.trade_id) > 0).all()
    assert [moment.clock_ms for moment in moments] == list(range(START_MS, START_MS + 40 * MINUTE, SECOND))


@pytest.mark.parametrize("after_ms", [START_MS + 7 * MINUTE, START_MS + 25 * MINUTE + 3 * SECOND, START_MS + DAY_MS])
def test_moments_from_any_time_are_the_same_moments(after_ms: int) -> None:
    until_ms = after_ms + 20 * MINUTE
    whole = [moment for moment in of(TickMarket(MARKET), until_ms) if moment.clock_ms >= after_ms]
    assert digest(of(TickMarket(MARKET), until_ms, after_ms)) == digest(whole)


def test_samples_come_in_their_second_and_those_before_the_beginning_at_once() -> None:
    moments = of(TickMarket(MARKET, 4, START_MS + HOUR), START_MS + DAY_MS + MINUTE)
    sampled = [(moment.clock_ms, name, rows.ts.tolist()) for moment in moments for name, rows in moment.samples]
    assert [(clock, name) for clock, name, _ in sampled] == [
        (clock, name) for clock in (START_MS + HOUR, START_MS + DAY_MS) for name in ("dom:BTC", "dom:USDT")
    ]
    assert sampled[0][2][-1] == START_MS
    assert sampled[2][2] == [START_MS + DAY_MS]
    later = of(TickMarket(MARKET, 4, START_MS + 2 * DAY_MS + HOUR), START_MS + 2 * DAY_MS + HOUR + SECOND)
    assert [rows.ts.tolist()[-1] for _, rows in later[0].samples] == [START_MS + 2 * DAY_MS] * 2
    assert {len(rows) for _, rows in later[0].samples} == {482}


def test_the_last_minute_of_the_market_is_closed() -> None:
    market = TickMarket(Market(tokens=2, days=1), 4, START_MS + DAY_MS - 30 * MINUTE)
    moments = list(market.moments())
    assert moments[-1].clock_ms == market.manifest.end_ms + 5 * SECOND
    assert digest(list(market.moments(moments[-3].clock_ms))) == digest(moments[-3:])


def test_warm_up_reaches_to_the_beginning_on_every_timeframe() -> None:
    begin_ms = START_MS + 3 * DAY_MS + 8 * HOUR
    market = TickMarket(MARKET, 4, begin_ms)
    assert market.manifest.start_ms == begin_ms
    assert market.manifest.instruments[0] == Instrument(Series("sim", "BTC"), Timeframe.M1, ticks=True)
    for _, raw in market.warm_up().raw:
        assert [timeframe for timeframe, _ in raw.history] == list(TIMEFRAMES)
        for timeframe, rows in raw.history:
            assert rows.history.all()
            assert (np.diff(rows.ts) > 0).all()
            assert rows.ts[-1] + timeframe.ms == begin_ms // timeframe.ms * timeframe.ms or rows.kind[-1] != 0
            assert timeframe in (Timeframe.M15, Timeframe.M5) or len(rows) > 333


def test_what_a_market_knows_before_it_begins_is_read_back_from_files(tmp_path: Path) -> None:
    market = TickMarket(MARKET, 4, START_MS + 2 * DAY_MS)
    warm_up = market.warm_up()
    files = write_history(warm_up, tmp_path)
    assert [file.timeframe for file in files] == list(TIMEFRAMES)
    minutes_read = read_bars(files[0].path, "sim", Timeframe.M1, (), None, None).series
    for one, raw in warm_up.raw:
        meant = dict(raw.history)[Timeframe.M1]
        assert minutes_read[one].ts.tolist() == meant.ts.tolist()
        assert minutes_read[one].close.tolist() == meant.close.tolist()
    tags = read_buckets(write_buckets(market.manifest.buckets, tmp_path / "buckets.parquet"))
    assert tags == tuple(sorted(market.manifest.buckets))
    with pytest.raises(ValueError, match="of one venue"):
        write_history(Slice(), tmp_path)


def test_three_hundred_tokens_at_two_ticks_a_second_are_cheap() -> None:
    market = TickMarket(Market(tokens=300, days=2, seed=1), 120)
    moments = of(market, START_MS + 2 * MINUTE)
    count = sum(len(rows) for moment in moments for _, rows in moment.trades)
    assert count == pytest.approx(300 * 240 * (1 - 0.4 / 3), rel=0.05)


@pytest.mark.parametrize(("ticks", "begin_ms"), [(4, START_MS - MINUTE), (4, START_MS + 1), (3, START_MS)])
def test_what_cannot_be_made_is_refused(ticks: int, begin_ms: int) -> None:
    with pytest.raises(ValueError, match=r"the market begins at|ticks a minute"):
        TickMarket(MARKET, ticks, begin_ms)
