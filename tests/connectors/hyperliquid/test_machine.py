"""The connection is kept and given up as the spec's table says (market-data.md 2.5, 3)."""

from typing import Any

import pytest

from connectors.hyperliquid import actions
from connectors.hyperliquid.machine import PING, TABLE, Phase, Signal
from connectors.hyperliquid.settings import HyperliquidSettings
from tests.connectors.hyperliquid.bench import COINS, MINUTE, SECOND, START, Bench
from tests.connectors.hyperliquid.wire import GREETING, T0, already, answer, framed, refusal, trade, trades


def test_the_table_of_the_spec_is_walked_through() -> None:
    bench = Bench().start()
    assert bench.phase() is Phase.CONNECTING
    bench.open()
    assert bench.phase() is Phase.SUBSCRIBING
    assert [send.text for send in bench.of(actions.Send)] == [
        '{"method":"subscribe","subscription":{"type":"trades","coin":"BTC"}}',
        '{"method":"subscribe","subscription":{"type":"trades","coin":"ETH"}}',
    ]
    bench.hear(answer("ETH"))
    assert bench.phase() is Phase.SUBSCRIBING, "one answer is missing"
    bench.hear(answer("BTC"))
    assert bench.phase() is Phase.LIVE
    bench.after(2 * MINUTE)
    assert bench.phase() is Phase.STALE
    bench.hear(trades(trade(bench.clock(), 1)))
    assert bench.phase() is Phase.LIVE
    bench.after(3 * MINUTE)
    assert bench.phase() is Phase.BACKOFF
    bench.after(SECOND)
    assert bench.phase() is Phase.CONNECTING
    assert bench.socket == 2


def test_every_phase_can_be_stopped_and_every_entry_of_the_table_names_real_phases() -> None:
    assert {phase for phase, signal in TABLE if signal is Signal.STOP} == set(Phase)
    reachable = {Phase.IDLE}
    while more := {after for (phase, _), after in TABLE.items() if phase in reachable} - reachable:
        reachable |= more
    assert reachable == set(Phase)


@pytest.mark.parametrize(
    ("limit_ms", "prepare", "phase"),
    [
        (30 * SECOND, Bench.start, Phase.CONNECTING),
        (10 * SECOND, lambda bench: bench.start().open(), Phase.SUBSCRIBING),
    ],
)
def test_what_takes_too_long_is_given_up(limit_ms: int, prepare: Any, phase: Phase) -> None:
    bench = Bench()
    prepare(bench)
    bench.after(limit_ms - 1)
    assert bench.phase() is phase
    todo = bench.after(1)
    assert bench.phase() is Phase.BACKOFF
    assert actions.CloseSocket(1) in todo


def test_a_ping_goes_out_every_twenty_seconds_and_a_pong_may_take_ten() -> None:
    bench = Bench().live()
    assert actions.Send(1, PING) not in bench.after(20 * SECOND - 1, pongs=False)
    assert actions.Send(1, PING) in bench.after(1, pongs=False)
    bench.after(10 * SECOND - 1, pongs=False)
    assert bench.phase() is Phase.LIVE
    bench.after(1, pongs=False)
    assert bench.phase() is Phase.BACKOFF
    assert bench.of(actions.Moved)[-1].why == Signal.MUTE


def test_a_further_ping_gives_a_missing_pong_no_more_time() -> None:
    bench = Bench(ping_every_ms=SECOND, pong_limit_ms=2_500).live()
    bench.after(3_499, pongs=False)
    assert bench.phase() is Phase.LIVE
    bench.after(1, pongs=False)
    assert bench.phase() is Phase.BACKOFF


def test_trades_do_not_replace_a_pong() -> None:
    bench = Bench().live()
    bench.after(20 * SECOND, pongs=False)
    for _ in range(9):
        bench.after(SECOND, pongs=False)
        bench.hear(trades(trade(bench.clock(), bench.now)))
    bench.after(SECOND, pongs=False)
    assert bench.phase() is Phase.BACKOFF


def test_answered_pings_keep_the_connection_for_ever() -> None:
    bench = Bench(stale_warn_minutes=1e6).live()
    bench.after(60 * MINUTE)
    assert bench.phase() is Phase.LIVE
    assert bench.of(actions.Send).count(actions.Send(1, PING)) == 180


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_waits_double_up_to_thirty_seconds_times_a_factor(chance: float) -> None:
    bench = Bench(chance=chance).start()
    waits = []
    for _ in range(9):
        bench.close()
        before = bench.now
        while bench.phase() is Phase.BACKOFF:
            bench.after(1)
        waits.append(bench.now - before)
    factor = 0.8 + 0.4 * chance
    assert waits == [round(wait * factor) for wait in (500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000)]


def test_a_connection_that_was_live_for_thirty_seconds_starts_counting_anew() -> None:
    bench = Bench().live()
    bench.close()
    bench.after(SECOND)
    bench.open().hear(*map(answer, COINS))
    bench.after(30 * SECOND - 1)
    assert bench.counters.attempt == 1
    bench.after(1)
    assert bench.counters.attempt == 0
    bench.close()
    assert bench.counters.attempt == 1


def test_retries_end_where_they_are_limited() -> None:
    bench = Bench(max_retries=2).start()
    for _ in range(3):
        assert not bench.of(actions.GaveUp)
        bench.close()
        bench.after(2 * SECOND)
    assert bench.of(actions.GaveUp) == [actions.GaveUp(3)]
    assert bench.phase() is Phase.IDLE
    assert bench.of(actions.OpenSocket) == [actions.OpenSocket(1), actions.OpenSocket(2), actions.OpenSocket(3)]


def test_heartbeats_come_every_second_in_every_phase() -> None:
    bench = Bench().start()
    bench.after(5 * SECOND)
    bench.close()
    bench.after(5 * SECOND)
    bench.do(bench.machine.stop(bench.now))
    bench.after(5 * SECOND)
    assert [beat.ts for beat in bench.of(actions.PublishBeat)] == [T0 + second * SECOND for second in range(16)]


def test_heartbeats_never_step_back_and_skip_what_was_slept_through() -> None:
    bench = Bench().live()
    bench.do(bench.machine.tick(START - 500))
    bench.do(bench.machine.tick(START + 45_200))
    bench.do(bench.machine.tick(START + 45_900))
    assert [beat.ts for beat in bench.of(actions.PublishBeat)] == [T0, T0 + 45_200]


def test_a_trade_is_judged_by_a_heartbeat_of_its_own_time() -> None:
    bench = Bench().live()
    bench.now += 40 * SECOND
    todo = bench.hear(trades(trade(bench.clock(), 1)))
    assert [type(action) for action in todo[:2]] == [actions.PublishBeat, actions.PublishTrades]
    assert not bench.counters.rejected


def test_a_trade_far_ahead_of_the_heartbeat_is_refused_and_one_just_ahead_is_not() -> None:
    bench = Bench().live()
    todo = bench.hear(trades(trade(T0 + 5_000, 1), trade(T0 + 5_001, 2)))
    assert [list(action.rows.trade_id) for action in todo if isinstance(action, actions.PublishTrades)] == [[1]]
    assert [action.reason for action in todo if isinstance(action, actions.Rejected)] == ["future"]
    assert bench.counters.rejected == {"future": 1}


def test_refused_trades_are_counted_and_handed_over_and_the_rest_is_published() -> None:
    bench = Bench().live()
    todo = bench.hear(trades(trade(T0, 1), trade(T0, 2, px="0"), trade(T0, 3, coin="DOGE"), trade(T0, 4, sz="?")))
    assert [list(action.rows.trade_id) for action in todo if isinstance(action, actions.PublishTrades)] == [[1]]
    assert bench.counters.rejected == {"price_not_positive": 1, "size_unreadable": 1, "token_unknown": 1}
    assert sum(isinstance(action, actions.Rejected) for action in todo) == 3


def test_trades_keep_their_order_and_get_ascending_numbers() -> None:
    bench = Bench().live()
    bench.hear(trades(trade(T0 + 2, 7), trade(T0 + 1, 9), trade(T0 + 2, 8)), trades(trade(T0, 1, coin="ETH")))
    first, second = bench.of(actions.PublishTrades)
    assert (first.token, list(first.rows.trade_id), list(first.rows.seq)) == ("BTC", [7, 9, 8], [1, 2, 3])
    assert (second.token, list(second.rows.seq)) == ("ETH", [4])
    assert bench.counters.newest_tick_ms == {"BTC": T0 + 2, "ETH": T0}


def test_trades_before_the_last_answer_are_published_too() -> None:
    bench = Bench().start().open()
    bench.hear(answer("BTC"), trades(trade(T0, 1)), answer("ETH"))
    assert len(bench.of(actions.PublishTrades)) == 1
    assert bench.phase() is Phase.LIVE


def test_repeated_trades_are_counted_and_published() -> None:
    bench = Bench().live()
    bench.hear(trades(trade(T0, 1)), trades(trade(T0, 1), trade(T0, 2)), trades(trade(T0, 1, coin="ETH")))
    assert (bench.counters.ticks_dup, bench.counters.ticks["BTC"]) == (1, 3)
    bench.after(MINUTE)
    bench.hear(trades(trade(T0, 1)))
    assert bench.counters.ticks_dup == 2


def test_a_trade_is_remembered_for_three_minutes_and_not_for_ever() -> None:
    bench = Bench(stale_warn_minutes=60.0).live()
    bench.hear(trades(trade(T0, 1)))
    bench.after(170 * SECOND)
    bench.hear(trades(trade(T0, 2)))
    bench.after(15 * SECOND)
    bench.hear(trades(trade(T0, 2)))
    assert bench.counters.ticks_dup == 1
    bench.after(6 * MINUTE)
    bench.hear(trades(trade(T0, 3)), trades(trade(T0, 1)))
    assert bench.counters.ticks_dup == 1


def test_the_second_subscription_of_a_coin_counts_as_answered() -> None:
    bench = Bench().start().open()
    bench.hear(GREETING, already("BTC"), framed("error", "Already subscribed"))
    assert bench.phase() is Phase.LIVE
    assert bench.counters.frames == {"not_json": 1, "subscribed": 2}


def test_a_refused_coin_is_given_up_and_the_rest_goes_live() -> None:
    bench = Bench().start().open()
    bench.hear(refusal("ETH"), answer("BTC"))
    assert bench.phase() is Phase.LIVE
    assert (bench.machine.tokens, bench.counters.unknown_tokens) == (("BTC",), ("ETH",))


def test_an_error_frame_about_nothing_of_ours_changes_nothing() -> None:
    bench = Bench().start().open()
    bench.hear(refusal("DOGE"), framed("error", "Too many requests"))
    assert bench.phase() is Phase.SUBSCRIBING
    bench.hear(*map(answer, COINS), refusal("BTC"))
    assert (bench.phase(), bench.machine.tokens) == (Phase.LIVE, COINS)


def test_without_any_coin_left_the_connection_is_given_up() -> None:
    bench = Bench().start().open()
    bench.hear(refusal("ETH"), refusal("BTC"))
    assert bench.phase() is Phase.BACKOFF


def test_a_socket_that_closes_while_subscribing_has_the_names_checked() -> None:
    bench = Bench().start().open()
    assert actions.CheckNames() in bench.close()
    bench.machine.names(("BTC",))
    bench.after(SECOND)
    bench.open().hear(answer("BTC"))
    assert (bench.phase(), bench.machine.tokens) == (Phase.LIVE, ("BTC",))
    assert actions.CheckNames() not in bench.close(), "a live connection that breaks says nothing about names"


def test_damaged_frames_change_nothing_but_the_counts() -> None:
    bench = Bench().live()
    before = bench.phase(), bench.machine.due_ms
    todo = bench.hear("{", framed("trades", 7), framed("l2Book", {}))
    assert (bench.phase(), bench.machine.due_ms) == before
    assert [action.reason for action in todo if isinstance(action, actions.Rejected)] == ["not_json", "trades_no_list"]
    assert bench.counters.frames == {"subscribed": 2, "not_json": 1, "malformed": 1, "other": 1}


def test_what_a_former_socket_says_is_not_heard() -> None:
    bench = Bench().live()
    bench.close()
    bench.after(SECOND)
    assert bench.do(bench.machine.received(1, trades(trade(T0, 1)), bench.now)) == []
    assert bench.do(bench.machine.closed(1, "late", bench.now)) == []
    assert bench.do(bench.machine.opened(1, bench.now)) == [actions.CloseSocket(1)]
    assert bench.phase() is Phase.CONNECTING


@pytest.mark.parametrize(
    "bad",
    [
        {"symbols": ()},
        {"symbols": ("A", "A")},
        {"symbols": ("A,B",)},
        {"ping_every_ms": 0},
        {"jitter_low": 2.0},
        {"backoff_limit_ms": 1},
        {"max_retries": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        HyperliquidSettings(**bad)
