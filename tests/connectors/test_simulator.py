"""The simulated market: seeded bits, sane bars, every situation, any length."""

import tracemalloc
from functools import lru_cache
from itertools import islice

import numpy as np
import pytest

from connectors.simulator import DAY_MS, HISTORY_DAYS, MAJORS, START_MS, Market, Simulator
from lotus.feed import Slice
from lotus.records import BarKind, Bars
from lotus.timeframe import Timeframe
from tests.conformance.laws import digest

MARKET = Market(tokens=9, days=30, seed=3)


@lru_cache
def days() -> tuple[Slice, ...]:
    return tuple(Simulator(MARKET).slices())


def minutes(token: str) -> Bars:
    return Bars.concat([raw.rows.rows for piece in days() for one, raw in piece.raw if one.token == token])


def history(token: str) -> dict[Timeframe, Bars]:
    return {timeframe: rows for one, raw in days()[0].raw if one.token == token for timeframe, rows in raw.history}


def bits(piece: Slice) -> list[str]:
    bars = [digest(raw.rows.rows) for _, raw in piece.raw]
    warm_up = [digest(rows) for _, raw in piece.raw for _, rows in raw.history]
    return [*bars, *warm_up, *(digest(chunk.rows) for _, chunk in piece.samples)]


def test_the_same_market_gives_the_same_bits() -> None:
    assert [bits(piece) for piece in Simulator(MARKET).slices()] == [bits(piece) for piece in days()]


def test_another_seed_gives_another_market() -> None:
    other = next(Simulator(Market(tokens=9, days=30, seed=4)).slices())
    assert not set(bits(other)) & set(bits(days()[0]))


@pytest.mark.parametrize("position", [1, 13, 29])
def test_the_slices_from_any_position_are_the_same_slices(position: int) -> None:
    later = list(Simulator(MARKET).slices(position))
    assert [bits(piece) for piece in later] == [bits(piece) for piece in days()[position:]]


def test_a_longer_run_begins_with_the_same_bits() -> None:
    longer = islice(Simulator(Market(tokens=9, days=60, seed=3)).slices(), 30)
    assert [bits(piece) for piece in longer] == [bits(piece) for piece in days()]


def test_every_bar_is_sane() -> None:
    for token in MARKET.names:
        for rows in (minutes(token), *history(token).values()):
            assert (rows.low > 0).all()
            assert (rows.low <= np.minimum(rows.open, rows.close)).all()
            assert (rows.high >= np.maximum(rows.open, rows.close)).all()
            assert np.isfinite(rows.high).all()
            assert (np.diff(rows.ts) > 0).all()
            assert (rows.volume == rows.volume_base * (rows.high + rows.low + rows.close) / 3).all()
            assert ((rows.volume_base == 0) == (rows.kind == BarKind.GAP)).all()


def test_days_join_without_a_jump_and_history_joins_the_first() -> None:
    rows = minutes("BTC")
    neighbours = np.diff(rows.ts) == Timeframe.M1.ms
    assert np.allclose(rows.close[:-1][neighbours], rows.open[1:][neighbours], rtol=1e-12)
    for timeframe, before in history("BTC").items():
        assert before.ts[-1] + timeframe.ms == START_MS == rows.ts[0]
        assert before.close[-1] == pytest.approx(rows.open[0], rel=1e-12)
        assert before.history.all()


def test_thin_tokens_have_fillers_and_majors_have_none() -> None:
    share = {token: float((minutes(token).kind == BarKind.GAP).mean()) for token in MARKET.names}
    assert 0.3 < share["T006"] < 0.5
    assert all(share[token] == 0 for token in MAJORS)


def test_some_days_have_outages_of_up_to_two_hours_but_never_the_first() -> None:
    holes = np.concatenate([np.diff(minutes(token).ts) // Timeframe.M1.ms - 1 for token in MARKET.names])
    assert 0 < (holes > 0).sum() < 9 * 30 // 4
    assert holes.max() < 120
    assert all(len(raw.rows.rows) == 1440 for _, raw in days()[0].raw)


def test_there_are_crashes() -> None:
    worst = []
    for piece in Simulator(Market(tokens=9, days=120, seed=3)).slices():
        for _, raw in piece.raw:
            price = raw.rows.rows.close
            worst.append((price[60:] / price[:-60]).min())
    assert min(worst) < 0.8
    assert np.median(worst) > 0.9


def test_dominance_moves_within_its_bounds_and_is_known_at_midnight() -> None:
    for name in ("dom:BTC", "dom:USDT"):
        parts = [chunk.rows for piece in days() for found, chunk in piece.samples if found == name]
        times = np.concatenate([part.ts for part in parts])
        level = np.concatenate([part.level for part in parts])
        assert times.tolist() == [START_MS + (day - HISTORY_DAYS + 1) * DAY_MS for day in range(HISTORY_DAYS + 30)]
        assert ((level > 0) & (level < 100)).all()
        assert level.std() > 0.1
        assert all(part.ts[-1] == piece.watermark_ms for part, piece in zip(parts, days(), strict=True))


def test_the_manifest_says_what_comes() -> None:
    simulator = Simulator(MARKET)
    manifest = simulator.manifest
    assert [one.series for one in manifest.instruments] == [one for one, _ in days()[0].raw]
    assert (manifest.start_ms, manifest.end_ms, manifest.slices) == (START_MS, days()[-1].watermark_ms, len(days()))
    tagged = {tag.token for tag in manifest.buckets}
    assert tagged == set(MARKET.names) - set(MAJORS)


def test_memory_does_not_grow_with_the_number_of_days() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in Simulator(Market(tokens=2, days=count, seed=1)).slices():
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(200) < 1.1 * peak(10)


@pytest.mark.parametrize(("tokens", "count", "seed"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_a_market_that_cannot_be_simulated_is_refused(tokens: int, count: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at least one token and one day, and its seed"):
        Market(tokens, count, seed)
