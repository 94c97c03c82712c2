"""Orders that a venue executes: in flight, partial, rejected, duplicated, cancelled (scaling.md 12)."""

import pickle
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lotus.kernel import Chunk
from lotus.paper import ZERO, exact, round_qty, round_usd
from lotus.position.config import PoolOnFullExit, SizingConfig
from lotus.position.kernel import Account, AccountState, Arrival, step
from lotus.position.record import Order
from lotus.records import Executions, OrderKind, PoolStatus, State, Status
from lotus.scene import Scenes
from tests.conformance.cases.position import joined, market
from tests.conformance.laws import Rows, collect, rows_digest
from tests.lotus.stage import DEFAULT, FREE, LANE, Live, Stage, opening, refusals, rows_of

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3
S1_ENTRY, TRIM, DX = OrderKind.S1_ENTRY, OrderKind.TRIM, OrderKind.DX_BUY
S2_FLAT, S2_POOL, RECLAIM = OrderKind.S2_FLAT, OrderKind.S2_POOL, OrderKind.RECLAIM
EMERGENCY, STRUCTURAL = OrderKind.EMERGENCY_EXIT, OrderKind.STRUCTURAL_EXIT


def started(price: float = 1.0) -> Live:
    """An S1 order is in flight."""
    live = Live()
    live.bar(S0, price)
    live.bar(S1, price, "s1_buy")
    return live


def holding(qty: str = "600", usd: str = "600") -> Live:
    """A position of 600 tokens in S3."""
    live = started()
    live.report(S1_ENTRY, "entry", qty, usd)
    live.bar(S2, 1.2)
    live.bar(S3, 1.2)
    return live


def status_of(live: Live) -> list[Status]:
    return [Status(int(code)) for out in live.outputs for code in out.positions.status]


def test_gates_change_on_fills_and_never_on_intents() -> None:
    live = started()
    assert live.record.in_flight.kind is S1_ENTRY
    assert (live.record.last_s1_buy, live.record.buys) == (None, 0)
    out = live.report(S1_ENTRY, "a", "600", "600")
    assert live.record.in_flight is None
    assert live.record.last_s1_buy.usd == 600
    assert len(out.fills) == 1
    assert len(out.positions) == 0, "the row of a fill between two bars comes with the second"
    assert list(live.bar(S1, 1.1).positions.qty) == [600]


def test_a_rejected_order_changes_no_gate_and_is_tried_again() -> None:
    live = started()
    out = live.report(S1_ENTRY, "a", "0", "0")
    assert len(out.fills) == 0
    assert live.record.last_s1_buy is None
    assert list(live.bar(S1, 1.0, "s1_buy").decisions.kind) == [S1_ENTRY]


def test_later_fills_of_an_order_are_added_to_the_same_record() -> None:
    live = started()
    live.report(S1_ENTRY, "a", "100", "100", done=False)
    assert refusals(live.bar(S1, 1.0, "s1_buy")) == [("S1_ENTRY", "in_flight")]
    live.report(S1_ENTRY, "b", "200", "210", order=-2)
    assert live.record.last_s1_buy.usd == 310
    assert (live.record.qty, live.record.general_buys) == (300, 310)
    assert refusals(live.bar(S1, 1.0, "s1_buy")) == [("S1_ENTRY", "once_per_cycle")]


def test_a_duplicate_fill_changes_nothing() -> None:
    live = started()
    live.report(S1_ENTRY, "a", "100", "100", done=False)
    before = live.record
    out = live.report(S1_ENTRY, "a", "100", "100", done=False, at_ms=2)
    assert (live.record, len(out.fills)) == (before, 0)
    live.report(S1_ENTRY, "b", "100", "100", at_ms=3)
    before = live.record
    out = live.report(S1_ENTRY, "b", "100", "100", at_ms=4)
    assert (live.record, len(out.fills)) == (before, 0), "also after the order is done"


def test_fills_within_a_bar_are_numbered_by_kind() -> None:
    live = started()
    live.report(S1_ENTRY, "a", "100", "100", done=False)
    live.report(S1_ENTRY, "b", "100", "100", at_ms=2)
    rows = [
        (int(s), str(i)) for out in live.outputs for s, i in zip(out.fills.sequence, out.fills.fill_id, strict=True)
    ]
    assert rows == [(0, "a"), (1, "b")]
    assert {int(ts) for out in live.outputs for ts in out.fills.ts} == {live.stage.known_ms(-1)}


def test_a_fill_without_a_kind_is_an_error() -> None:
    live = started()
    now = live.stage.known_ms(-1) + 1
    row = {"ts": now, "kind": -1, "fill_id": "x", "qty": Decimal(1), "usd": Decimal(1)}
    with pytest.raises(ValueError, match="no kind"):
        live.arrive(Chunk(Scenes.empty(), now), Chunk(rows_of(Executions, [row]), now))


def test_an_exit_cancels_the_open_buy_and_sells_what_it_filled() -> None:
    live = holding()
    live.bar(S3, 2.0, "trim", level=2.0)
    live.report(TRIM, "t", "180", "360")
    live.bar(S3, 1.9, "dx_buy", atr=0.1)
    out = live.bar(S3, 1.5, "emergency_exit")
    assert list(out.decisions.kind) == [EMERGENCY]
    assert '"cancels": "DX_BUY"' in out.decisions.reasons[0]
    live.report(EMERGENCY, "e", "420", "630")
    assert not live.record.exiting
    live.report(DX, "late", "10", "19", order=-2, at_ms=2)
    assert live.record.qty == 10
    assert live.record.exiting.kind is EMERGENCY
    assert live.record.locked == Decimal(360 - 19), "a late DX buy comes out of what the exit locked"
    out = live.bar(S3, 1.4, "emergency_exit")
    assert list(out.decisions.kind) == [EMERGENCY]
    live.report(EMERGENCY, "f", "10", "14")
    assert live.record.emergency.exit_value == 630, "the value of the event does not change"
    live.bar(S3, 1.4, "emergency_exit")
    assert status_of(live)[-2:] == [Status.EXITING, Status.IN_CYCLE_FLAT]


def test_an_exit_is_retried_until_flat_and_no_buy_is_sent_meanwhile() -> None:
    live = holding()
    live.bar(S3, 1.1, "emergency_exit")
    live.report(EMERGENCY, "a", "0", "0")
    assert live.record.emergency.exit_value is None, "the right belongs to an executed exit"
    assert list(live.bar(S3, 1.0, "emergency_exit").decisions.kind) == [EMERGENCY]
    live.report(EMERGENCY, "b", "200", "200")
    assert live.record.emergency.exit_value == Decimal("660.0"), "decided at 600 * 1.1"
    out = live.bar(S3, 1.3, "reclaimed_ema333 dx_buy")
    assert list(out.decisions.kind) == [EMERGENCY], "what is owed is sold although the price came back"
    assert refusals(out) == [("RECLAIM", "precedence"), ("DX_BUY", "precedence")]
    out = live.bar(S3, 1.3, "dx_buy")
    assert refusals(out) == [("DX_BUY", "exiting")]
    assert live.record.status(flat=False) is Status.EXITING


def test_an_exit_that_leaves_dust_is_over() -> None:
    live = holding()
    live.bar(S3, 1.1, "emergency_exit")
    live.report(EMERGENCY, "a", "599.5", "659.45")
    out = live.bar(S3, 1.1, "emergency_exit")
    assert len(out.decisions) == 0
    assert list(out.positions.status) == [Status.IN_CYCLE_FLAT]
    assert live.record.exiting is None


def test_a_structural_exit_is_retried_in_s0_under_the_state_it_left() -> None:
    live = holding()
    live.bar(S0, 1.0, "exit_position emergency_exit")
    live.report(STRUCTURAL, "a", "0", "0")
    out = live.bar(S0, 0.9)
    assert list(out.decisions.pattern_key) == ["uptrend.S3.structure_exit"]
    live.report(STRUCTURAL, "b", "600", "540")
    out = live.bar(S0, 0.9)
    assert list(out.positions.status) == [Status.CLOSED]
    assert live.record.cycle is False


def test_a_new_attempt_waits_until_the_old_cycle_has_closed() -> None:
    live = holding()
    live.bar(S0, 1.0, "exit_position emergency_exit")
    out = live.bar(S1, 1.0, "s1_buy")
    assert refusals(out) == [("S1_ENTRY", "exiting")]
    live.report(STRUCTURAL, "a", "600", "600", order=-2)
    out = live.bar(S1, 1.0, "s1_buy")
    assert refusals(out) == [("S1_ENTRY", "old_cycle")]
    assert list(out.positions.status) == [Status.CLOSED]
    assert live.state is not None
    assert live.state.lanes[0].attempt.active
    assert list(live.bar(S1, 1.0, "s1_buy").decisions.kind) == [S1_ENTRY]


def test_a_late_fill_counts_as_entered_after_its_attempt_has_failed() -> None:
    live = Live()
    live.bar(S0, 1.0)
    live.bar(S1, 1.0)
    live.bar(S2, 1.0)
    live.bar(S2, 1.0, "s2_buy")
    live.report(S2_FLAT, "a", "100", "100", done=False)
    live.bar(S1, 1.0)
    live.bar(S0, 0.9, "exit_position emergency_exit")
    assert live.blocks == (False, True)
    live = started()
    live.bar(S0, 0.9, "exit_position emergency_exit")
    assert live.blocks == (False, False)
    live.report(S1_ENTRY, "b", "100", "100", order=-2)
    assert live.blocks == (True, True)


def test_a_cycle_does_not_close_over_an_order_that_may_still_fill() -> None:
    live = started()
    live.bar(S0, 0.9, "exit_position emergency_exit")
    assert live.record.cycle
    live.report(S1_ENTRY, "a", "0", "0", order=-2)
    live.bar(S0, 0.9)
    assert not live.record.cycle


def test_a_partial_third_dx_buy_closes_the_pool_and_its_rest_comes_out_of_locked() -> None:
    live = holding()
    live.bar(S3, 2.0, "trim", level=2.0)
    live.report(TRIM, "t", "180", "360")
    for place, price in enumerate((1.9, 1.8)):
        live.bar(S3, price, "dx_buy", atr=0.001)
        live.report(DX, f"d{place}", "10", "36")
    live.bar(S3, 1.7, "dx_buy", atr=0.001)
    live.report(DX, "p1", "5", "16", done=False)
    assert live.record.pool.status is PoolStatus.EMPTY
    assert live.record.locked == Decimal(360 - 88)
    live.report(DX, "p2", "5", "20", at_ms=2)
    assert live.record.locked == Decimal(360 - 108)


def test_later_fills_of_a_dx_rung_move_the_arm_but_not_the_count() -> None:
    live = holding()
    live.bar(S3, 2.0, "trim", level=2.0)
    live.report(TRIM, "t", "180", "360")
    live.bar(S3, 1.9, "dx_buy", atr=0.05)
    live.report(DX, "a", "10", "19", done=False)
    live.report(DX, "b", "10", "18", at_ms=2)
    pool = live.record.pool
    assert (pool.dx_count, pool.redeployed) == (1, 37)
    assert pool.next_arm == 1.8 - 6 * 0.05


def test_a_trim_that_fills_after_an_exit_opens_no_pool() -> None:
    for policy, status, locked in (
        (PoolOnFullExit.CLOSE, PoolStatus.EMPTY, 100),
        (PoolOnFullExit.KEEP, PoolStatus.OPEN, 0),
    ):
        live = Live(replace(DEFAULT, pool_on_full_exit=policy))
        live.bar(S0, 1.0)
        live.bar(S1, 1.0, "s1_buy")
        live.report(S1_ENTRY, "entry", "600", "600")
        live.bar(S2, 1.2)
        live.bar(S3, 1.2)
        live.bar(S3, 2.0, "trim", level=2.0)
        live.bar(S3, 1.0, "emergency_exit")
        live.report(TRIM, "t", "50", "100", order=-2)
        live.report(EMERGENCY, "e", "550", "550", at_ms=2)
        assert (live.record.pool.status, live.record.locked) == (status, locked)
        assert live.record.qty == 0


def test_headroom_caps_recovery_buys_once_the_cap_is_lowered() -> None:
    live = holding()
    live.bar(S3, 2.0, "trim", level=2.0)
    live.report(TRIM, "t", "180", "360")
    live.account = Account((LANE,), replace(DEFAULT, sizing=SizingConfig(Decimal(250))), None)
    out = live.bar(S3, 1.9, "dx_buy", a=0.8)
    assert out.decisions.usd[0] == Decimal(10), "cap 250 - (600 - 360)"
    assert '"headroom": "10"' in out.decisions.reasons[0]


def test_a_bar_waits_for_the_reports_before_it() -> None:
    live = started()
    stage, lane = live.stage, live.account.lanes[0]
    stage.bar(S1, 1.0, "s1_buy")
    known = stage.known_ms(-1)
    state, early = step(live.account, live.state, ((lane, Chunk(stage.scenes(2), known)),))
    assert len(early.lanes[0].refusals) == 0
    row = {
        "ts": known - 5,
        "kind": S1_ENTRY,
        "order_ts": stage.rows[1]["ts"],
        "fill_id": "a",
        "usd": Decimal(600),
        "qty": Decimal(600),
        "price": Decimal(1),
        "fee": Decimal(0),
        "done": True,
    }
    _, late = step(live.account, state, ((lane, Chunk(rows_of(Executions, [row]), known)),))
    assert refusals(late.lanes[0]) == [("S1_ENTRY", "once_per_cycle")]


def test_paper_and_a_venue_that_fills_alike_write_the_same_ledger() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S3, 2.0, "trim", level=2.0)
    _, paper = stage.bar(S3, 1.9, "dx_buy", atr=0.1).bar(S3, 1.9).play()
    live = Live()
    live.stage.rows = []
    for row in stage.rows:
        flags = " ".join(name for name in ("s1_buy", "trim", "dx_buy") if row[f"flag_{name}"])
        out = live.bar(State(row["state"]), row["price"], flags, level=row["nearest_level"], atr=row["atr"])
        if len(out.decisions):
            fill = int(np.flatnonzero(paper.fills.ts == row["ts"])[0])
            kind = OrderKind(int(paper.fills.kind[fill]))
            live.report(kind, f"v{row['ts']}", str(paper.fills.qty[fill]), str(paper.fills.usd[fill]))
    state, _ = stage.play(DEFAULT, FREE)
    mine, theirs = state.lanes[0].record, live.record
    assert (mine.qty, mine.buys, mine.sells, mine.locked) == (theirs.qty, theirs.buys, theirs.sells, theirs.locked)
    assert mine.pool.redeployed == theirs.pool.redeployed


def test_reports_of_a_venue_do_not_reach_a_paper_account() -> None:
    with pytest.raises(AssertionError, match="trades on paper"):
        step(Account((LANE,)), None, ((LANE, Chunk(Executions.empty(), 0)),))


# ------------------------------------------------------------------------------------------------- random venues


def answer(live: Live, order: Order, rng: np.random.Generator, now: int) -> dict[str, Any]:
    """A report of none, half or all of what an order could bring."""
    price = exact(live.stage.rows[-1]["price"])
    whole = order.usd / price if order.usd is not None else min(order.qty or ZERO, live.record.qty)
    qty = round_qty(whole * int(rng.integers(0, 3)) / 2)
    return {
        "ts": now,
        "kind": order.kind,
        "order_ts": order.ts,
        "fill_id": f"{order.kind}-{order.ts}-{len(order.fill_ids)}",
        "usd": round_usd(qty * price),
        "qty": qty,
        "price": price,
        "fee": ZERO,
        "done": bool(rng.random() < 0.7),
    }


def venue_life(seed: int, bars: int = 120) -> Live:
    """A life in which a venue fills in parts, late, twice or not at all."""
    rng = np.random.default_rng(seed)
    live = Live()
    for place, row in enumerate(market(rng, Stage(), bars).rows):
        live.stage.rows.append(row)
        now = live.stage.known_ms(-1)
        live.arrive(Chunk(live.stage.scenes(place), now), Chunk(Executions.empty(), now))
        for order in (live.record.in_flight, live.record.cancelled):
            if order is None or rng.random() < 0.2:
                continue
            report = answer(live, order, rng, now + 1)
            for again in range(1 + int(rng.random() < 0.3)):
                now += 1
                rows = rows_of(Executions, [report | {"ts": now}])
                live.arrive(Chunk(Scenes.empty(), now), Chunk(rows, now))
                assert not again or len(live.outputs[-1].fills) == 0, "a duplicate was booked"
    return live


def recorded(arrivals: list[tuple[Arrival, ...]], edges: list[int], *, crash: bool = False) -> dict[str, str]:
    state: AccountState | None = None
    rows: Rows = {}
    for start, end in pairwise(edges):
        state, out = step(Account((LANE,), DEFAULT, None), state, joined(arrivals[start:end]))
        if crash:
            state = pickle.loads(pickle.dumps(state))
        collect(out.lanes[0], rows)
    return rows_digest(rows)


@pytest.mark.parametrize("seed", range(40))
def test_any_venue_keeps_the_books_straight_and_any_cut_gives_the_same(seed: int) -> None:
    live = venue_life(seed)
    fills = type(live.outputs[0].fills).concat([out.fills for out in live.outputs])
    rows = type(live.outputs[0].positions).concat([out.positions for out in live.outputs])
    closed = rows.status == Status.CLOSED
    spent = sum(fills.usd[fills.kind > TRIM], ZERO)
    received = sum(fills.usd[fills.kind <= TRIM], ZERO)
    assert spent == live.record.buys + sum(rows.buys[closed], ZERO)
    assert received == live.record.sells + sum(rows.sells[closed], ZERO)
    assert live.record.qty >= 0
    ends = [0, len(live.arrivals)]
    whole = recorded(live.arrivals, ends)
    assert recorded(live.arrivals, list(range(len(live.arrivals) + 1)), crash=True) == whole
    cuts = np.random.default_rng(seed).integers(1, len(live.arrivals), 5).tolist()
    assert recorded(live.arrivals, sorted({*ends, *cuts})) == whole
