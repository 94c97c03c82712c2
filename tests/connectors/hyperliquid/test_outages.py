"""An outage is told from its beginning to its end and mended with candles (market-data.md 3, 9.1, 9.3)."""

from connectors.hyperliquid import actions
from connectors.hyperliquid.machine import Phase
from lotus.intake import Link
from tests.connectors.hyperliquid.bench import COINS, MINUTE, SECOND, Bench
from tests.connectors.hyperliquid.wire import T0, answer, trade, trades


def test_connection_records_tell_changes_once() -> None:
    bench = Bench().live()
    bench.close()
    bench.after(SECOND)
    bench.close()
    bench.after(2 * SECOND)
    bench.open().hear(*map(answer, COINS))
    bench.do(bench.machine.stop(bench.now))
    told = [record.state for record in bench.of(actions.PublishConnection)]
    assert told == [Link.DOWN, Link.UP, Link.DOWN, Link.UP, Link.DOWN]
    assert all(record.tokens == COINS for record in bench.of(actions.PublishConnection))


def test_a_connection_is_down_since_it_last_showed_life() -> None:
    bench = Bench().live()
    bench.after(3 * SECOND)
    bench.hear(trades(trade(bench.clock(), 1)))
    last = bench.clock()
    bench.after(27 * SECOND, pongs=False)
    assert bench.phase() is Phase.BACKOFF
    assert bench.of(actions.PublishConnection)[-1] == actions.PublishConnection(last, Link.DOWN, COINS)


def test_a_silent_connection_is_down_since_its_last_trade_though_it_answered_pings() -> None:
    bench = Bench().live()
    bench.after(5 * SECOND)
    bench.hear(trades(trade(bench.clock(), 1)))
    last = bench.clock()
    bench.after(3 * MINUTE)
    assert bench.of(actions.PublishConnection)[-1] == actions.PublishConnection(last, Link.DOWN, COINS)
    assert not bench.counters.ingest_stale


def test_minutes_of_an_outage_are_fetched_once_they_are_over() -> None:
    bench = Bench(backoff_base_ms=100, connect_limit_ms=2 * MINUTE + SECOND).live()
    bench.after(2 * MINUTE + 5 * SECOND)
    assert bench.of(actions.Fill) == [actions.Fill(COINS, T0, T0)], "the minute in which it began"
    bench.hear(trades(trade(bench.clock(), 1)))
    bench.after(MINUTE)
    bench.close()  # in the fourth minute
    bench.after(SECOND)
    bench.close()  # tried in vain
    bench.after(2 * MINUTE)
    bench.open().hear(*map(answer, COINS))
    assert len(bench.of(actions.Fill)) == 1
    bench.after(SECOND)
    assert bench.of(actions.Fill)[1:] == [actions.Fill(COINS, T0 + 3 * MINUTE, T0 + 4 * MINUTE)]
    bench.after(MINUTE)
    assert bench.of(actions.Fill)[2:] == [actions.Fill(COINS, T0 + 5 * MINUTE, T0 + 5 * MINUTE)]
    bench.hear(trades(trade(bench.clock(), 2)))
    bench.after(MINUTE)
    assert len(bench.of(actions.Fill)) == 3


def test_a_restart_mends_what_was_missed_since_the_life_before() -> None:
    bench = Bench(covered_until_ms=T0 - 150 * SECOND).live()
    assert bench.of(actions.PublishConnection)[0].ts == T0 - 150 * SECOND
    bench.after(SECOND)
    assert bench.of(actions.Fill) == [actions.Fill(COINS, T0 - 3 * MINUTE, T0 - 2 * MINUTE)]
    bench.after(4 * SECOND)
    assert bench.of(actions.Fill)[1:] == [actions.Fill(COINS, T0 - MINUTE, T0 - MINUTE)], "its grace is over"
    bench.after(MINUTE)
    assert bench.of(actions.Fill)[2:] == [actions.Fill(COINS, T0, T0)]


def test_no_more_minutes_are_asked_for_than_the_venue_keeps() -> None:
    bench = Bench(covered_until_ms=T0 - 7_000 * MINUTE).live()
    bench.after(SECOND)
    (fill,) = bench.of(actions.Fill)
    assert fill.last_ms == T0 - 2 * MINUTE
    assert (T0 - fill.first_ms) // MINUTE == 4_999
    assert bench.counters.minutes_lost == 2_001


def test_what_could_not_be_fetched_is_asked_for_again() -> None:
    bench = Bench().live()
    bench.after(65 * SECOND)
    (fill,) = bench.of(actions.Fill)
    bench.machine.unfilled(fill.first_ms, fill.last_ms, bench.now)
    bench.after(50 * SECOND)
    assert bench.of(actions.Fill) == [fill]
    bench.hear(trades(trade(bench.clock(), 1)))
    bench.after(11 * SECOND)
    assert bench.of(actions.Fill) == [fill, fill]
    assert bench.counters.fills_failed == 1
