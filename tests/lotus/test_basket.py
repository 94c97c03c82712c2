"""Chained equal-weight indices: posture.md 6.4, replay.md 5."""

from dataclasses import replace
from itertools import permutations
from math import exp, isclose, log

import numpy as np
import pytest

from lotus.basket import BasketConfig, BasketState, Roster, step
from lotus.columns import ABSENT
from lotus.grid import GridConfig
from lotus.grid import step as grid_step
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars
from lotus.timeframe import MINUTE_MS, Timeframe

ALT = ("BNB", "ETH", "HYPE", "SOL")
REAL, SYNTHETIC, GAP = BarKind.REAL, BarKind.SYNTHETIC, BarKind.GAP
Arrival = tuple[str, Chunk[Bars]]


def config(minimum: int = 3, *roster: Roster) -> BasketConfig:
    return BasketConfig("idx:ALT", Timeframe.M1, minimum, roster or (Roster(0, ALT),))


def records(token: str, minutes: int, *, begin: int = 0, missing: tuple[int, ...] = (), history: int = 0) -> Bars:
    """Grid records of a token; in the missing minutes synthetic, then gap."""
    rng = np.random.default_rng(sum(map(ord, token)))
    close = 10.0 ** rng.uniform(0, 4) * np.exp(np.cumsum(rng.normal(0, 0.01, minutes)))
    at = np.arange(begin, begin + minutes)
    kind = np.zeros(minutes, np.int8)
    for minute in missing:
        k = minute - begin
        kind[k] = GAP if kind[k - 1] else SYNTHETIC
        close[k] = np.nan if kind[k] == GAP else close[k - 1]
    real = kind == REAL
    no = np.zeros(minutes, np.bool_)
    return Bars(
        ts=at * MINUTE_MS,
        kind=kind,
        open=np.where(real, close * 0.999, close),
        high=np.where(real, close * 1.002, close),
        low=np.where(real, close * 0.997, close),
        close=close,
        volume=np.where(real, rng.uniform(0, 1e6, minutes), np.where(kind == GAP, np.nan, 0.0)),
        volume_base=np.where(real, 1.0, 0.0),
        volume_est=no,
        trades=np.full(minutes, ABSENT, np.int64),
        buy_volume=np.full(minutes, np.nan),
        bars_used=real.astype(np.int64),
        coverage=real.astype(np.float64),
        gap_return=no,
        history=at < history,
    )


def arrive(rows: Bars, watermark: int | None = None, last_ms: int = NEVER_MS) -> Chunk[Bars]:
    end_ms = int(rows.ts[-1]) + MINUTE_MS if watermark is None else watermark * MINUTE_MS
    return Chunk(rows, end_ms, last_ms)


def run(basket: BasketConfig, members: dict[str, Bars]) -> Bars:
    return step(basket, None, tuple((token, arrive(rows)) for token, rows in members.items()))[1].rows


def test_the_index_chains_the_mean_log_returns_of_its_members() -> None:
    members = {token: records(token, 6) for token in ALT}
    index = run(config(), members)
    level = 100.0
    assert index.ts.tolist() == [minute * MINUTE_MS for minute in range(1, 6)]
    for k, t in enumerate(range(1, 6)):
        for name in ("open", "high", "low", "close"):
            r = sum(log(getattr(rows, name)[t] / rows.close[t - 1]) for rows in members.values()) / 4
            assert isclose(getattr(index, name)[k], level * exp(r), rel_tol=1e-12), name
        level = float(index.close[k])
        volume = sum(float(rows.volume[t]) for rows in members.values())
        assert isclose(index.volume[k], volume, rel_tol=1e-12)
    assert index.volume_base.tolist() == index.volume.tolist()
    assert set(index.kind.tolist()) == {REAL}
    assert (index.low <= index.open).all()
    assert (index.open <= index.high).all()


def test_the_index_begins_at_100() -> None:
    flat = {
        token: replace(records(token, 2), **dict.fromkeys(("open", "high", "low", "close"), np.full(2, 7.0)))
        for token in ALT
    }
    index = run(config(), flat)
    assert (index.open[0], index.high[0], index.low[0], index.close[0]) == (100.0, 100.0, 100.0, 100.0)


def test_the_members_prices_do_not_matter_only_their_returns() -> None:
    """Averaging prices, as the original did, spans the bar from the cheapest to the dearest member."""
    members = {token: records(token, 50) for token in ALT}
    index = run(config(), members)
    assert ((index.high - index.low) / index.close).max() < 0.01


def test_a_bar_needs_the_minimum_of_real_members() -> None:
    members = {token: records(token, 5) for token in ALT}
    members["SOL"] = records("SOL", 5, missing=(2,))
    assert run(config(), members).ts.tolist() == [MINUTE_MS * t for t in (1, 2, 3, 4)]
    members["ETH"] = records("ETH", 5, missing=(2,))
    assert run(config(), members).ts.tolist() == [MINUTE_MS * t for t in (1, 3, 4)]


def test_a_synthetic_member_counts_with_a_return_of_zero() -> None:
    members = {token: records(token, 3) for token in ALT}
    members["SOL"] = records("SOL", 3, missing=(1,))
    index = run(config(), members)
    r = sum(log(rows.close[1] / rows.close[0]) for token, rows in members.items() if token != "SOL") / 4
    assert isclose(index.close[0], 100 * exp(r), rel_tol=1e-12)
    assert (index.bars_used[0], index.coverage[0]) == (3, 0.75)


def test_a_member_that_comes_out_of_a_gap_counts_from_its_second_bar() -> None:
    members = {token: records(token, 6) for token in ALT}
    members["SOL"] = records("SOL", 6, missing=(1, 2))
    assert run(config(), members).bars_used.tolist() == [3, 3, 3, 4, 4]


def test_the_level_is_held_while_the_index_is_missing() -> None:
    members = {token: records(token, 6) for token in ALT}
    for token in ("SOL", "ETH"):
        members[token] = records(token, 6, missing=(2, 3))
    index = run(config(), members)
    assert (index.ts // MINUTE_MS).tolist() == [1, 5]
    r = sum(log(rows.close[5] / rows.close[4]) for rows in members.values()) / 4
    assert isclose(index.close[1], index.close[0] * exp(r), rel_tol=1e-12)
    _, grid = grid_step(GridConfig(Timeframe.M1), None, Chunk(index, 6 * MINUTE_MS))
    assert grid.rows.kind.tolist() == [REAL, SYNTHETIC, GAP, GAP, REAL]


def test_membership_is_that_of_the_bars_time() -> None:
    members = {token: records(token, 6) for token in ("A", "B", "C")}
    basket = config(1, Roster(2 * MINUTE_MS, ("A",)), Roster(4 * MINUTE_MS, ("B", "C")))
    index = run(basket, members)
    assert (index.ts // MINUTE_MS).tolist() == [2, 3, 4, 5]
    assert index.bars_used.tolist() == [1, 1, 2, 2]
    entering = sum(log(members[token].close[4] / members[token].close[3]) for token in ("B", "C")) / 2
    assert isclose(index.close[2], index.close[1] * exp(entering), rel_tol=1e-12)


def test_a_bucket_waits_for_every_token_that_the_roster_ever_names() -> None:
    basket = config(1, Roster(0, ("A",)), Roster(10**15, ("B",)))
    state, out = step(basket, None, (("A", arrive(records("A", 4))),))
    assert (len(out), out.watermark_ms) == (0, -1)
    _, out = step(basket, state, (("B", arrive(Bars.empty(), 3)),))
    assert ((out.rows.ts // MINUTE_MS).tolist(), out.watermark_ms) == ([1, 2], 3 * MINUTE_MS)


def test_the_order_of_arrival_leaves_no_trace() -> None:
    members = {token: records(token, 20, missing=(3, 4)) for token in ALT[:3]}
    whole = run(config(2, Roster(0, ALT[:3])), members)
    for order in permutations(members):
        state: BasketState | None = None
        parts = []
        for token in order:
            for piece in (slice(0, 7), slice(7, 20)):
                arrivals: tuple[Arrival, ...] = ((token, arrive(members[token].take(piece))),)
                state, out = step(config(2, Roster(0, ALT[:3])), state, arrivals)
                parts.append(out.rows)
        split = Bars.concat(parts)
        for name in Bars.layout():
            assert getattr(split, name).tobytes() == getattr(whole, name).tobytes(), name


def test_records_seen_again_change_nothing() -> None:
    arrivals = tuple((token, arrive(records(token, 9))) for token in ALT)
    state, _ = step(config(), None, arrivals)
    following, out = step(config(), state, arrivals)
    assert len(out) == 0
    assert following.level == state.level


def test_a_row_is_history_where_every_member_that_counts_is() -> None:
    members = {token: records(token, 8, history=5) for token in ALT}
    members["SOL"] = records("SOL", 8, history=3)
    assert run(config(), members).history.tolist() == [True, True, *[False] * 5]


def test_a_token_outside_the_roster_is_ignored() -> None:
    members = {token: records(token, 4) for token in ALT}
    assert (
        run(config(), {**members, "DOGE": records("DOGE", 4)}).close.tolist() == run(config(), members).close.tolist()
    )


def test_the_index_ends_with_the_last_of_its_members() -> None:
    arrivals = tuple((token, arrive(records(token, 4), 9, last_ms=MINUTE_MS * (3 + i))) for i, token in enumerate(ALT))
    assert step(config(), None, arrivals)[1].last_ms == 6 * MINUTE_MS


def test_the_state_holds_no_record_that_every_token_has_passed() -> None:
    arrivals = tuple((token, arrive(records(token, 100))) for token in ALT)
    state, _ = step(config(), None, arrivals)
    assert [len(rows) for rows in state.waiting] == [0, 0, 0, 0]


@pytest.mark.parametrize("roster", [(), (Roster(5, ()), Roster(5, ())), (Roster(5, ()), Roster(4, ()))])
def test_a_roster_without_order_is_refused(roster: tuple[Roster, ...]) -> None:
    with pytest.raises(ValueError, match="roster"):
        BasketConfig("idx:ALT", Timeframe.M1, 3, roster)


def test_an_index_needs_a_member() -> None:
    with pytest.raises(ValueError, match="minimum"):
        config(0)
