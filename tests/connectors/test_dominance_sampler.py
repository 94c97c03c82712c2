"""Shares of the market cap are sampled every ten minutes; what is no share is counted and never published (11)."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from connectors.dominance import CoinGecko, DominanceCounters, DominanceError, DominanceSettings, run_dominance, sample
from tests.connectors.hyperliquid.stand_ins import LogOfLists, Reply, rest_server

T0 = 1_767_225_600_000
GLOBAL = {
    "data": {"market_cap_percentage": {"btc": 57.25, "usdt": 4.5}, "total_market_cap": {"usd": 4e12}, "updated_at": 1}
}
TETHER = [{"id": "tether", "market_cap": 160e9}]


def venue(found: Any, markets: Any = TETHER) -> Callable[[str, Any], Reply]:
    def reply(path: str, _body: Any) -> Reply:
        body = found if path.startswith("/global") else markets
        return body if isinstance(body, Reply) else Reply(body)

    return reply


def asked(found: Any, markets: Any = TETHER) -> tuple[LogOfLists, DominanceCounters, list[str]]:
    """One question to a CoinGecko that answers like this."""
    log, counters = LogOfLists(), DominanceCounters()
    with rest_server(venue(found, markets)) as server:
        sample(CoinGecko(DominanceSettings(url=server.url)), lambda: T0, log, counters)
    return log, counters, [path for path, _ in server.requests]


def levels(log: LogOfLists) -> dict[str, float]:
    return {lane[0]: float(rows.level[0]) for lane, rows in log.of("sample")}


def test_both_shares_are_published_with_the_time_and_the_source() -> None:
    log, counters, paths = asked(GLOBAL)
    assert levels(log) == {"dom:BTC": 57.25, "dom:USDT": 4.5}
    assert all((rows.ts.tolist(), list(rows.source)) == ([T0], ["coingecko"]) for _, rows in log.of("sample"))
    assert log.flushes == 1
    assert paths == ["/global"]
    assert counters.last_sample_ms == {"dom:BTC": T0, "dom:USDT": T0}


def test_without_usdt_the_share_comes_from_market_caps() -> None:
    without = {"data": {**GLOBAL["data"], "market_cap_percentage": {"btc": 57.25}}}
    log, _, paths = asked(without)
    assert levels(log) == {"dom:BTC": 57.25, "dom:USDT": 4.0}
    assert paths[1] == "/coins/markets?vs_currency=usd&ids=tether"


@pytest.mark.parametrize(
    "markets", [[], [{"id": "other", "market_cap": 1}], [{"id": "tether", "market_cap": None}], [7]]
)
def test_without_market_caps_the_share_is_counted_as_refused(markets: Any) -> None:
    log, counters, _ = asked({"data": {**GLOBAL["data"], "market_cap_percentage": {"btc": 57.25}}}, markets)
    assert levels(log) == {"dom:BTC": 57.25}
    assert counters.refused == {"dom:USDT": 1}


@pytest.mark.parametrize("nonsense", [0, 100, -1.0, 570.0, "57.2", None, True, [57.2], 10**400])
def test_nonsense_is_never_published(nonsense: Any) -> None:
    log, counters, _ = asked({"data": {**GLOBAL["data"], "market_cap_percentage": {"btc": nonsense, "usdt": 4.5}}})
    assert levels(log) == {"dom:USDT": 4.5}
    assert counters.refused == {"dom:BTC": 1}


def test_numbers_that_are_none_are_never_published() -> None:
    log, counters, _ = asked(Reply('{"data":{"market_cap_percentage":{"btc":NaN,"usdt":Infinity}}}'))
    assert not log.records
    assert counters.refused == {"dom:BTC": 1, "dom:USDT": 1}


@pytest.mark.parametrize(
    "answer", [Reply("busy", 429), Reply("", 500), Reply("{"), Reply("[" * 100_000), [], {}, {"data": 7}, {"data": {}}]
)
def test_an_answer_that_is_none_is_counted_and_nothing_is_published(answer: Any) -> None:
    log, counters, _ = asked(answer)
    assert (log.records, log.flushes, counters.failures) == ([], 0, 1)


def test_a_source_that_is_gone_is_counted() -> None:
    with rest_server(venue(GLOBAL)) as server:
        gone = CoinGecko(DominanceSettings(url=server.url))
    with pytest.raises(DominanceError, match="ConnectError"):
        gone.read()


class Script:
    """A source that follows a script; the time of each question is noted."""

    name = "script"

    def __init__(self, answers: list[Mapping[str, Any] | None]) -> None:
        self.now = 0.0
        self.asked: list[int] = []
        self._answers = iter(answers)

    def read(self) -> Mapping[str, Any]:
        self.asked.append(int(self.now))
        found = next(self._answers)
        if found is None:
            raise DominanceError("none today")
        return found

    def pause(self, seconds: float) -> None:
        self.now += max(seconds * 1_000, 1)


def test_questions_come_every_ten_minutes_and_sooner_after_a_failure() -> None:
    good, odd = {"dom:BTC": 50.0, "dom:USDT": 5.0}, {"dom:BTC": 50.0}
    source, log, counters = Script([good, None, good, odd, good]), LogOfLists(), DominanceCounters()
    run_dominance(
        DominanceSettings(),
        log,
        lambda: len(source.asked) == 5,
        source=source,
        counters=counters,
        pause=source.pause,
        now=lambda: int(source.now),
    )
    minutes = [round((after - before) / 60_000) for before, after in itertools.pairwise(source.asked)]
    assert minutes == [10, 1, 10, 10]
    assert (counters.samples, counters.failures) == ({"dom:BTC": 4, "dom:USDT": 3}, 1)
    times = [int(rows.ts[0]) for lane, rows in log.of("sample") if lane[0] == "dom:BTC"]
    assert times == sorted(set(times))


def test_an_asset_without_a_share_is_stale_when_its_last_one_is_no_longer_carried() -> None:
    odd = {"dom:BTC": 50.0}
    source, stale = Script([{**odd, "dom:USDT": 5.0}, *[odd] * 9]), dict[str, int]()

    def looked(now: Mapping[str, bool]) -> None:
        for asset in (asset for asset, silent in now.items() if silent):
            stale.setdefault(asset, int(source.now))

    run_dominance(
        DominanceSettings(),
        LogOfLists(),
        lambda: len(source.asked) == 10,
        source=source,
        looked=looked,
        pause=source.pause,
        now=lambda: int(source.now),
    )
    assert list(stale) == ["dom:USDT"]
    assert stale["dom:USDT"] // 60_000 == 70


@pytest.mark.parametrize("bad", [{"every_ms": 0}, {"retry_ms": -1}, {"timeout_ms": 0}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        DominanceSettings(**bad)  # type: ignore[arg-type]
