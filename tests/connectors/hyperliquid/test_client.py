"""The ingester against a venue that misbehaves on a script: nothing is lost unseen, nothing is told twice."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.clock import wall_ms
from connectors.hyperliquid.client import IngestError, run_ingest
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.frames import Fault
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.intake import Link
from lotus.timeframe import MINUTE_MS
from tests.connectors.hyperliquid.recorded import BACKLOG_TRADES, texts
from tests.connectors.hyperliquid.stand_ins import (
    Client,
    Counting,
    Exchange,
    LogOfLists,
    Reply,
    RestServer,
    Script,
    exchange,
    rest_server,
    until,
)
from tests.connectors.hyperliquid.wire import GREETING, already, answer, framed, trade, trades

QUICK: dict[str, Any] = {"backoff_base_ms": 10, "backoff_limit_ms": 20, "beat_every_ms": 50, "rest_attempts": 1}


class Run:
    """An ingester that runs in a thread."""

    def __init__(self, pool: ThreadPoolExecutor, settings: HyperliquidSettings, covered_until_ms: int | None) -> None:
        self.log = LogOfLists()
        self.counters = IngestCounters()
        self.dead: list[Fault] = []
        self.stop = threading.Event()
        self.future: Future[None] = pool.submit(
            run_ingest,
            settings,
            self.log,
            self.stop.is_set,
            numbering=Counting(),
            covered_until_ms=covered_until_ms,
            counters=self.counters,
            dead=self.dead.append,
        )

    def until(self, met: Callable[[], object], what: str) -> None:
        until(lambda: met() or self.future.done(), what)
        assert not self.future.done() or self.future.exception() is None, self.future.exception()

    def end(self) -> None:
        self.stop.set()
        self.future.result(timeout=10)


def listing(*coins: str, candles: Callable[[Any], Any] = lambda _: []) -> Callable[[str, Any], Reply]:
    """A REST interface that lists these coins."""
    universe = {"universe": [{"name": coin, "szDecimals": 5} for coin in coins]}
    return lambda _, body: Reply(universe if body["type"] == "meta" else candles(body["req"]))


@contextmanager
def ingesting(
    script: Script,
    rest: Callable[[str, Any], Reply] = listing("BTC", "ETH"),  # noqa: B008 - a function, never changed
    *,
    symbols: tuple[str, ...] = ("BTC", "ETH"),
    covered_until_ms: int | None = None,
    **changed: Any,
) -> Iterator[tuple[Run, Exchange, RestServer]]:
    """An ingester at a scripted exchange, ended cleanly unless it has ended."""
    with exchange(script) as venue, rest_server(rest) as info, ThreadPoolExecutor(1) as pool:
        settings = HyperliquidSettings(symbols=symbols, ws_url=venue.url, rest_url=info.url, **{**QUICK, **changed})
        run = Run(pool, settings, covered_until_ms)
        try:
            yield run, venue, info
        finally:
            run.stop.set()


def backlog(ids: range, coin: str = "BTC") -> str:
    now = wall_ms()
    return trades(*(trade(now - 1_000 + k, k, coin) for k in ids))


def test_every_coin_is_subscribed_once_and_what_comes_is_published_in_order() -> None:
    def script(client: Client) -> None:
        client.send(GREETING)
        assert client.answer(2) == ["BTC", "ETH"]
        client.send(backlog(range(30)), backlog(range(30, 33), "ETH"), backlog(range(33, 34)))
        client.stay()

    with ingesting(script) as (run, venue, _):
        run.until(lambda: len(run.log.trade_ids()) == 34, "all trades arrive")
        run.until(lambda: len(run.log.of("heartbeat")) > 3, "heartbeats go on")
        run.end()
    assert run.log.trade_ids() == list(range(34))
    assert [lane for lane, _ in run.log.of("tick")] == [
        ("BTC", "hyperliquid", ""),
        ("ETH", "hyperliquid", ""),
        ("BTC", "hyperliquid", ""),
    ]
    assert run.log.links() == [Link.DOWN, Link.UP, Link.DOWN]
    assert run.log.records[-1][0] == "connection", "the end is told"
    assert run.log.flushes == 1
    assert len(venue.clients) == 1
    assert run.counters.frames["not_json"] == 1
    assert [fault.text for fault in run.dead] == [GREETING]


def test_a_coin_that_is_not_listed_is_reported_and_the_rest_starts() -> None:
    def script(client: Client) -> None:
        assert client.answer(1) == ["BTC"]
        client.stay()

    with ingesting(script, listing("BTC", "ETH"), symbols=("BTC", "btc")) as (run, venue, _):
        run.until(lambda: Link.UP in run.log.links(), "live with what there is")
        run.end()
    assert run.counters.unknown_tokens == ("btc",)
    assert len(venue.clients) == 1, "the venue had no reason to close the socket"


def test_without_any_listed_coin_the_ingester_says_so() -> None:
    with (
        ingesting(Client.stay, listing("SOL")) as (run, venue, _),
        pytest.raises(IngestError, match="none of BTC, ETH"),
    ):
        run.future.result(timeout=10)
    assert not venue.clients


def test_names_that_nobody_could_check_are_checked_when_the_socket_closes_on_them() -> None:
    meta = listing("BTC", "ETH")
    asked: list[int] = []

    def rest(path: str, body: Any) -> Reply:
        asked.append(1)
        return Reply("busy", 503) if len(asked) == 1 else meta(path, body)

    def script(client: Client) -> None:
        client.answer(len(("BTC",)) if client.number > 2 else 2)
        client.stay()

    with ingesting(script, rest, symbols=("BTC", "NOPE")) as (run, venue, _):
        run.until(lambda: Link.UP in run.log.links(), "live with the valid rest")
        run.end()
    assert len(venue.clients) >= 2
    assert run.counters.unknown_tokens == ("NOPE",)


def test_a_broken_connection_is_opened_again_and_repeated_trades_are_counted() -> None:
    def script(client: Client) -> None:
        client.answer(2)
        now = MINUTE_MS * (wall_ms() // MINUTE_MS)
        client.send(trades(*(trade(now, k) for k in range(BACKLOG_TRADES))))
        if client.number < 3:
            client.close()
        client.stay()

    with ingesting(script) as (run, venue, _):
        run.until(lambda: len(run.log.trade_ids()) == 3 * BACKLOG_TRADES, "the backlog of three connections")
        run.until(lambda: run.log.links().count(Link.UP) == 3, "live for the third time")
        run.end()
    assert run.log.links() == [Link.DOWN, *[Link.UP, Link.DOWN] * 3]
    assert venue.most_open == 1
    assert run.counters.reconnects == 2
    assert run.counters.ticks_dup == 2 * BACKLOG_TRADES


def test_a_stalled_venue_is_left_though_it_answers_pings() -> None:
    def script(client: Client) -> None:
        client.answer(2)
        client.stay()

    changed: dict[str, Any] = {
        "stale_warn_minutes": 0.2 / 60,
        "stale_close_ms": 200,
        "ping_every_ms": 50,
        "pong_limit_ms": 5_000,
    }
    with ingesting(script, **changed) as (run, venue, _):
        run.until(lambda: run.counters.ingest_stale, "the warning")
        run.until(lambda: len(venue.clients) == 2, "another connection")
        run.end()
    assert any(request["method"] == "ping" for request in venue.clients[0].received)


def test_a_venue_that_answers_no_pings_is_left() -> None:
    def script(client: Client) -> None:
        client.answers_pings = client.number > 1
        client.answer(2)
        client.stay()

    with ingesting(script, ping_every_ms=100, pong_limit_ms=100) as (run, venue, _):
        run.until(lambda: len(venue.clients) == 2, "another connection")
        run.until(lambda: run.log.links().count(Link.UP) == 2, "live again")
        run.end()
    assert venue.most_open == 1


def test_a_venue_that_never_answers_a_subscription_is_left() -> None:
    def script(client: Client) -> None:
        client.answer(2 if client.number > 1 else 1)
        client.stay()

    with ingesting(script, subscribe_limit_ms=200) as (run, _, _):
        run.until(lambda: Link.UP in run.log.links(), "the second connection is live")
        run.end()
    assert run.counters.reconnects == 1


def test_damage_is_counted_handed_over_and_survived() -> None:
    def script(client: Client) -> None:
        client.answer(1)
        client.take()
        client.send(already("ETH"), "{", "[]", framed("trades", 7), framed("error", "Too many"), framed("l2Book", {}))
        client.send(trades(trade(wall_ms(), 1), trade(wall_ms(), 2, px="1e9"), trade(wall_ms() + 60_000, 3)))
        client.stay()

    with ingesting(script) as (run, _, _):
        run.until(lambda: run.log.trade_ids() == [1], "the good trade")
        run.end()
    reasons = [fault.reason for fault in run.dead]
    assert reasons == ["not_json", "no_channel", "trades_no_list", "refused_by_venue", "price_unreadable", "future"]
    assert run.counters.rejected == dict.fromkeys(reasons, 1)
    assert run.log.links() == [Link.DOWN, Link.UP, Link.DOWN]


def test_the_recorded_backlog_is_published_exactly() -> None:
    recorded = texts("trades", "hftbacktest")

    def script(client: Client) -> None:
        client.answer(2)
        client.send(*recorded)
        client.stay()

    with ingesting(script) as (run, _, _):
        run.until(lambda: len(run.log.of("tick")) == len(recorded), "all frames")
        run.end()
    assert len(run.log.of("tick")[0][1]) == BACKLOG_TRADES
    seqs = [int(seq) for _, rows in run.log.of("tick") for seq in rows.seq]
    assert seqs == sorted(set(seqs))


def test_minutes_missed_since_the_life_before_are_fetched_and_published() -> None:
    missed_ms = (wall_ms() // MINUTE_MS - 4) * MINUTE_MS

    def candles(req: Any) -> Any:
        starts = range(req["startTime"] // MINUTE_MS * MINUTE_MS, req["endTime"] + 1, MINUTE_MS)
        prices = {"o": "1.0", "h": "2.0", "l": "0.5", "c": "1.5", "v": "10.00000000000001"}
        return [{"t": t, "T": t + 59_999, "s": req["coin"], "i": "1m", "n": 3, **prices} for t in starts]

    def script(client: Client) -> None:
        client.answer(2)
        client.stay()

    with ingesting(script, listing("BTC", "ETH", candles=candles), covered_until_ms=missed_ms + 5) as (run, _, info):
        run.until(lambda: len(run.log.of("candle")) == 2, "candles of both coins")
        run.end()
    (first, second) = run.log.of("candle")
    assert [first[0], second[0]] == [("BTC", "hyperliquid", ""), ("ETH", "hyperliquid", "")]
    rows = first[1]
    assert rows.ts.tolist()[:2] == [missed_ms, missed_ms + MINUTE_MS]
    assert (rows.open_e8[0], rows.high_e8[0], rows.size_e8[0], rows.trades[0]) == (10**8, 2 * 10**8, 10**9, 3)
    assert run.counters.fills == len(rows) * 2
    assert run.log.of("connection")[0][1] == (missed_ms + 5, Link.DOWN)
    request = next(body for _, body in info.requests if body["type"] == "candleSnapshot")
    assert request["req"]["startTime"] == missed_ms


def test_candles_that_cannot_be_had_are_counted_and_nothing_waits_for_them() -> None:
    universe = listing("BTC", "ETH")

    def rest(path: str, body: Any) -> Reply:
        return universe(path, body) if body["type"] == "meta" else Reply("", 500)

    def script(client: Client) -> None:
        client.answer(2)
        client.stay()

    with ingesting(script, rest, covered_until_ms=wall_ms() - 5 * MINUTE_MS) as (run, _, _):
        run.until(lambda: run.counters.fills_failed == 1, "the failure is counted")
        beats = len(run.log.of("heartbeat"))
        run.until(lambda: len(run.log.of("heartbeat")) > beats + 2, "heartbeats go on")
        run.end()


def test_a_venue_that_is_not_there_is_given_up_after_the_allowed_attempts() -> None:
    with exchange(Client.stay) as venue, rest_server(listing("BTC")) as info:
        gone = venue.url
    with rest_server(listing("BTC")) as info:
        settings = HyperliquidSettings(symbols=("BTC",), ws_url=gone, rest_url=info.url, max_retries=2, **QUICK)
        log = LogOfLists()
        with pytest.raises(IngestError, match="3 attempts"):
            run_ingest(settings, log, lambda: False, numbering=Counting())
    assert log.links() == [Link.DOWN]


def test_a_clock_that_is_wrong_refuses_to_start() -> None:
    def late(path: str, body: Any) -> Reply:
        return Reply({"universe": [{"name": "BTC"}]}, date="Thu, 01 Jan 2026 00:00:00 GMT")

    with ingesting(Client.stay, late) as (run, _, _), pytest.raises(IngestError, match="set it"):
        run.future.result(timeout=10)


def test_a_log_that_takes_nothing_ends_the_ingester_at_once() -> None:
    class Broken(LogOfLists):
        def write(self, noun: str, lane: tuple[str, str, str], rows: Any) -> None:
            raise RuntimeError("not delivered")

    def script(client: Client) -> None:
        client.answer(1)
        client.send(backlog(range(1)))
        client.stay()

    with exchange(script) as venue, rest_server(listing("BTC")) as info:
        settings = HyperliquidSettings(symbols=("BTC",), ws_url=venue.url, rest_url=info.url, **QUICK)
        with pytest.raises(RuntimeError, match="not delivered"):
            run_ingest(settings, Broken(), lambda: False, numbering=Counting())


def test_heartbeats_go_on_while_names_are_asked_for() -> None:
    meta = listing("BTC", "ETH")

    def slow(path: str, body: Any) -> Reply:
        time.sleep(0.4)
        return meta(path, body)

    def script(client: Client) -> None:
        client.answer(2)
        client.stay()

    with ingesting(script, slow) as (run, _, _):
        run.until(lambda: len(run.log.of("heartbeat")) >= 3, "heartbeats")
        assert not run.log.of("connection"), "nothing was begun yet"
        run.until(lambda: Link.UP in run.log.links(), "live")
        run.end()


def test_a_former_answer_of_another_subscription_does_not_count() -> None:
    def script(client: Client) -> None:
        client.take()
        client.take()
        client.send(answer("BTC"), answer("BTC"), answer("SOL"))
        client.stay()

    with ingesting(script, subscribe_limit_ms=150) as (run, venue, _):
        run.until(lambda: len(venue.clients) == 2, "given up")
        run.end()
    assert Link.UP not in run.log.links()
