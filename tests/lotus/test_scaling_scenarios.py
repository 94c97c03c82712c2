"""The worked scenarios of scaling.md 17, with the printed figures."""

import math
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from lotus.modes import ModeBands
from lotus.position.config import PositionConfig, SizingConfig
from lotus.position.record import Record
from lotus.position.sizing import trim_multiplier
from lotus.records import Mode, OrderKind, State, Status
from tests.lotus.stage import DEFAULT, Live, Stage, fills, opening, refusals
from tests.plain.fixture_f import HOUR_MS, START_MS

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3
EXIT = "emergency_exit exit_position"


def record_of(stage: Stage, config: PositionConfig = DEFAULT) -> Any:
    return stage.play(config)[0].lanes[0].record


def usd(value: Decimal) -> float:
    return float(value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def through_s2(stage: Stage, price: float) -> Stage:
    """Into S3 by way of S2."""
    return stage.bar(S2, price).bar(S3, price)


def with_pool_of_360() -> Stage:
    """S-8 up to the trim: 12 tokens bought at 50, 3.6 sold at 100, the pool holds 360."""
    stage = opening(price=50.0).bar(S1, 50.0, "s1_buy")
    return through_s2(stage, 60.0).bar(S3, 100.0, "trim", level=100.0)


# ------------------------------------------------------------------------------------------------------- S-1 to S-3


@pytest.mark.parametrize(("a", "first"), [(0.5, 600.0), (0.8, 900.0), (0.1, 300.0)])
def test_s1_buys_its_share_of_the_cap(a: float, first: float) -> None:
    _, out = opening().bar(S1, 1.0, "s1_buy", a=a).play()
    assert fills(out) == [("S1_ENTRY", first, first)]


def test_s1_buys_once_per_cycle_even_after_a_flip() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S1, 1.1, "s1_buy").bar(S2, 1.2).bar(S1, 1.1).bar(S1, 1.1, "s1_buy")
    state, out = stage.play()
    assert fills(out) == [("S1_ENTRY", 600.0, 600.0)]
    assert refusals(out) == [("S1_ENTRY", "once_per_cycle")] * 2
    record = state.lanes[0].record
    assert record.remaining(Decimal(1000)) == 400
    assert record.deployed_ratio(Decimal(1000)) == Decimal("0.6")


def test_a_missed_s1_may_be_bought_after_an_s2_buy() -> None:
    stage = opening().bar(S2, 1.3).bar(S2, 1.25, "s2_buy").bar(S1, 1.1).bar(S1, 1.0, "s1_buy")
    state, out = stage.play()
    assert fills(out) == [("S2_FLAT", 300.0, 240.0), ("S1_ENTRY", 420.0, 420.0)]
    record, attempt = state.lanes[0].record, state.lanes[0].attempt
    assert [float(value) for value in (record.qty, record.buys, record.remaining(Decimal(1000)))] == [660, 720, 280]
    assert attempt.entered_s1
    assert attempt.entered_s2
    assert list(out.decisions.category) == ["entry", "add"]


def test_trims_do_not_refill_the_sizing_base() -> None:
    stage = opening().bar(S2, 1.3).bar(S2, 1.25, "s2_buy", a=0.8).bar(S2, 1.5, "trim", level=1.5)
    record = record_of(stage)
    assert (usd(record.pool.basis), usd(record.headroom(Decimal(1000)))) == (216.0, 616.0)
    assert record.remaining(Decimal(1000)) == 400
    stage.bar(S1, 1.2).bar(S1, 1.0, "s1_buy").bar(S0, 0.9, EXIT)
    state, out = stage.play()
    assert fills(out)[2:] == [("S1_ENTRY", 240.0, 240.0), ("STRUCTURAL_EXIT", 518.4, 576.0)]
    closed = out.positions.take(slice(-1, None))
    assert closed.status[0] == Status.CLOSED
    assert (usd(closed.locked[0]), usd(closed.sells[0] - closed.buys[0])) == (216.0, -105.6)
    assert state.blocks[0] == (True, True)


def test_money_of_the_pool_does_not_shrink_what_s1_may_spend() -> None:
    stage = opening().bar(S2, 1.0).bar(S2, 1.0, "s2_buy").bar(S2, 2.0, "trim", level=2.0).bar(S2, 1.5, "s2_buy")
    _, out = stage.bar(S1, 1.0).bar(S1, 1.0, "s1_buy").play()
    assert [fill[:2] for fill in fills(out)] == [
        ("S2_FLAT", 300.0),
        ("TRIM", 180.0),
        ("S2_POOL", 54.0),
        ("S1_ENTRY", 420.0),
    ]


# ------------------------------------------------------------------------------------------------------- S-4 to S-7


def test_a_crowded_aggressive_trim_sells_ninety_percent() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy", a=0.8).bar(S2, 1.5)
    stage.bar(S2, 2.0, "trim", level=2.0, e=0.9).bar(S2, 3.0, "trim", level=3.0, e=0.9, index=9)
    _, out = stage.play()
    assert fills(out)[1:] == [("TRIM", 1620.0, 810.0), ("TRIM", 162.0, 54.0)]
    assert usd(record_of(stage).pool.basis) == 1782.0
    assert list(out.decisions.fraction[1:]) == [Decimal("0.9"), Decimal("0.60")]


@pytest.mark.parametrize(("buys", "multiplier"), [("799.9999999", "1.5"), ("800", "1.5"), ("799.9999", "1")])
def test_crowding_begins_at_four_fifths_within_a_billionth(buys: str, multiplier: str) -> None:
    assert trim_multiplier(DEFAULT, Record(buys=Decimal(buys)))[0] == Decimal(multiplier)


def test_crowding_wears_off() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy", a=0.8).bar(S2, 1.5)
    stage.bar(S2, 2.0, "trim", level=2.0, e=0.2).bar(S2, 2.2, "trim", level=2.2, e=0.2, index=9)
    _, out = stage.play()
    assert fills(out)[1:] == [("TRIM", 405.0, 202.5), ("TRIM", 230.175, 104.625)]
    assert list(out.decisions.fraction[1:]) == [Decimal("0.225"), Decimal("0.15")]
    assert '"deployed_ratio": "0.495' in out.decisions.reasons[2]
    assert usd(record_of(stage).pool.basis) == 635.18


def test_the_ten_dollar_pool_of_the_seed() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy", a=0.1).bar(S2, 1.0)  # 300 tokens
    stage.bar(S2, 10 / 90, "trim", level=0.1)  # 30 % of 300 tokens are worth 10
    stage.bar(S2, 0.5, "s2_buy", a=0.8)
    record = record_of(stage)
    _, out = stage.play()
    assert fills(out)[1:] == [("TRIM", 10.0, 90.0), ("S2_POOL", 6.0, 12.0)]
    assert (usd(record.locked), record.pool.status.name) == (4.0, "EMPTY")


def test_trims_accumulate_until_one_s2_rebuy() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 1.5, "trim", level=1.5)
    stage.bar(S2, 1.8, "trim", level=1.8, index=7).bar(S2, 1.4, "s2_buy").bar(S2, 1.4, "s2_buy")
    _, out = stage.play()
    assert fills(out)[1:] == [("TRIM", 270.0, 180.0), ("TRIM", 226.8, 126.0), ("S2_POOL", 149.04, 106.457143)]
    assert refusals(out) == [("S2_FLAT", "flat")]
    assert usd(record_of(stage).locked) == 347.76


# ------------------------------------------------------------------------------------------------------ S-8 to S-11


def test_the_full_dx_ladder() -> None:
    stage = with_pool_of_360()
    for price, atr in ((95.0, 1.0), (90.0, 1.0), (88.5, 1.1), (82.0, 1.1), (81.0, 1.0), (60.0, 1.0)):
        stage.bar(S3, price, "dx_buy", atr=atr)
    _, out = stage.play()
    assert [fill[:2] for fill in fills(out)[2:]] == [("DX_BUY", 36.0)] * 3
    assert refusals(out) == [("DX_BUY", "next_arm"), ("DX_BUY", "next_arm"), ("DX_BUY", "pool")]
    assert [round(float(margin), 9) for margin in out.refusals.margin[:2]] == [-1.0, -0.1]
    arms = out.positions.pool_next_arm
    assert [round(float(arm), 9) for arm in arms if not math.isnan(arm)] == [89.0, 81.9]
    assert usd(record_of(stage).locked) == 252.0


def test_a_new_trim_ends_an_unfinished_ladder() -> None:
    stage = with_pool_of_360().bar(S3, 95.0, "dx_buy", a=0.8).bar(S3, 110.0, "trim", level=110.0, index=9)
    record = record_of(stage)
    assert (usd(record.locked), usd(record.pool.basis), record.pool.dx_count) == (288.0, 302.21, 0)
    assert record.pool.next_arm is None
    stage.bar(S3, 96.0, "dx_buy", atr=1.5)
    _, out = stage.play()
    assert [fill[:2] for fill in fills(out)[2:]] == [("DX_BUY", 72.0), ("TRIM", 302.2105), ("DX_BUY", 30.2211)]
    assert fills(out)[3][2] == 2.747368
    assert record_of(stage).pool.next_arm == 96.0 - 6 * 1.5


def test_the_mode_may_change_inside_a_ladder() -> None:
    stage = with_pool_of_360()
    for price, a in ((95.0, 0.8), (89.0, 0.1), (83.0, 0.5)):
        stage.bar(S3, price, "dx_buy", a=a)
    _, out = stage.play()
    assert [fill[1] for fill in fills(out)[2:]] == [72.0, 12.0, 36.0]
    assert usd(record_of(stage).locked) == 240.0


def test_emergency_reclaim_and_chop() -> None:
    stage = with_pool_of_360().bar(S3, 80.0, "emergency_exit").bar(S3, 82.0, "reclaimed_ema333")
    stage.bar(S3, 82.0, "reclaimed_ema333").bar(S3, 79.0, "emergency_exit")
    stage.bar(S3, 81.0, "reclaimed_ema333", a=0.8).bar(S0, 60.0, EXIT)
    state, out = stage.play()
    assert fills(out)[2:] == [
        ("EMERGENCY_EXIT", 672.0, 8.4),
        ("RECLAIM", 201.6, 2.458537),
        ("EMERGENCY_EXIT", 194.2244, 2.458537),
        ("RECLAIM", 116.5346, 1.438699),
        ("STRUCTURAL_EXIT", 86.322, 1.438699),
    ]
    assert refusals(out) == [("RECLAIM", "rebuy_used")]
    assert [usd(value) for value in out.positions.exit_value if value is not None][-1] == 194.22
    closed = out.positions.take(slice(-1, None))
    assert (usd(closed.buys[0]), usd(closed.sells[0])) == (918.13, 1312.55)
    assert usd(closed.sells[0] - closed.buys[0]) == 394.41
    assert usd(closed.locked[0]) == 360.0
    assert state.blocks[0] == (False, False)


# ----------------------------------------------------------------------------------------------------- S-12 to S-14


def test_after_an_s1_failure_only_a_success_unblocks() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S0, 0.9, EXIT)
    assert stage.play()[0].blocks[0] == (True, True)
    stage.bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S2, 1.1).bar(S2, 1.1, "s2_buy").bar(S1, 1.0).bar(S0, 0.9, EXIT)
    assert stage.play()[0].blocks[0] == (True, True)
    stage.bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S2, 1.1).bar(S3, 1.2)
    state, out = stage.play()
    assert state.blocks[0] == (False, False)
    assert refusals(out) == [("S1_ENTRY", "blocked_s1"), ("S2_FLAT", "blocked_s2"), ("S1_ENTRY", "blocked_s1")]
    stage.bar(S3, 1.2, "dx_buy").bar(S3, 1.2, "reclaimed_ema333").bar(S0, 0.9, EXIT)
    stage.bar(S1, 1.0).bar(S1, 1.0, "s1_buy")
    _, out = stage.play()
    assert refusals(out)[3:] == [("DX_BUY", "pool"), ("RECLAIM", "exit_value")]
    assert [fill[0] for fill in fills(out)] == ["S1_ENTRY", "STRUCTURAL_EXIT", "S1_ENTRY"]


def test_an_s2_failure_blocks_s2_only() -> None:
    stage = opening().bar(S2, 1.3).bar(S2, 1.25, "s2_buy").bar(S1, 1.1).bar(S0, 0.9, EXIT)
    assert stage.play()[0].blocks[0] == (False, True)
    stage.bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 1.5, "trim", level=1.5).bar(S2, 1.3, "s2_buy")
    stage.bar(S3, 1.6).bar(S3, 1.4, "dx_buy", atr=0.01)
    state, out = stage.play()
    assert state.blocks[0] == (False, False)
    assert [fill[0] for fill in fills(out)[2:]] == ["S1_ENTRY", "TRIM", "DX_BUY"]
    assert refusals(out) == [("S2_POOL", "blocked_s2")]


def test_a_failure_after_both_entries_blocks_both() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 1.5, "trim", level=1.5).bar(S2, 1.3, "s2_buy")
    stage.bar(S1, 1.0).bar(S0, 0.9, EXIT)
    state, out = stage.play()
    assert [fill[0] for fill in fills(out)] == ["S1_ENTRY", "TRIM", "S2_POOL", "STRUCTURAL_EXIT"]
    assert state.blocks[0] == (True, True)


# ----------------------------------------------------------------------------------------------------- S-15 to S-19


def test_the_trim_gate_wants_a_new_level_and_three_bars() -> None:
    stage = opening(price=100.0).bar(S1, 100.0, "s1_buy").bar(S2, 100.0)
    for index, price, level in (
        (10, 101.0, 101.5),
        (11, 101.2, 101.5),
        (12, 103.2, 104.0),
        (13, 103.5, 104.0),
        (16, 103.9, 104.0),
        (20, 101.0, 101.5),
    ):
        stage.bar(S2, price, "trim", level=level, index=index)
    _, out = stage.play()
    bars = [int(ts - START_MS) // HOUR_MS for ts in out.fills.ts[1:]]
    assert bars == [10, 13, 20]
    assert refusals(out) == [("TRIM", "new_level"), ("TRIM", "cooldown"), ("TRIM", "new_level")]
    assert [round(float(margin), 9) for margin in out.refusals.margin] == [-1.012, -1.0, -1.039]


@pytest.mark.parametrize(("filled", "locked", "pool", "entered"), [("0", 0.0, 100.0, False), ("25", 75.0, 0.0, True)])
def test_a_rejected_rebuy_keeps_the_pool_and_a_partial_one_empties_it(
    filled: str, locked: float, pool: float, entered: bool
) -> None:
    live = Live()
    live.bar(S0, 1.0)
    live.bar(S1, 1.0)
    live.bar(S1, 1.0, "s1_buy")
    live.report(OrderKind.S1_ENTRY, "v1", "600", "600")
    live.bar(S2, 1.2)
    live.bar(S2, 1.5, "trim", level=1.5)
    live.report(OrderKind.TRIM, "v2", "180", "100")
    live.bar(S2, 1.3)
    live.bar(S2, 1.25, "s2_buy", a=0.8)
    assert live.outputs[-1].decisions.usd[0] == 60
    live.report(OrderKind.S2_POOL, "v3", str(Decimal(filled) * 2), filled)
    assert (usd(live.record.locked), usd(live.record.pool.basis)) == (locked, pool)
    assert live.state is not None
    assert live.state.lanes[0].attempt.entered_s2 is entered
    live.bar(S2, 1.25, "s2_buy", a=0.8)
    again = live.outputs[-1]
    assert (len(again.decisions), refusals(again)) == ((0, [("S2_FLAT", "flat")]) if entered else (1, []))


def test_a_trim_outranks_a_dx_buy_unless_its_gate_refuses() -> None:
    stage = (
        with_pool_of_360().bar(S3, 95.0, "trim dx_buy", level=95.0, index=9).bar(S3, 95.0, "trim dx_buy", level=95.0)
    )
    _, out = stage.play()
    assert [fill[0] for fill in fills(out)[2:]] == ["TRIM", "DX_BUY"]
    assert refusals(out) == [("DX_BUY", "precedence"), ("TRIM", "new_level")]
    assert out.refusals.operands[0] == '{"sent": "TRIM"}'


def test_a_long_cycle_adds_up() -> None:
    cap = replace(DEFAULT, sizing=SizingConfig(Decimal(2000)))
    stage = opening(price=100.0).bar(S1, 100.0, "s1_buy").bar(S2, 110.0)
    stage.bar(S2, 116.0, "trim", level=116.0).bar(S2, 121.0, "trim", level=121.0, e=0.9, index=10)
    stage.bar(S2, 117.0, "s2_buy").bar(S3, 150.0)
    stage.bar(S3, 160.0, "trim", level=160.0, index=20).bar(S3, 200.0, "trim", level=200.0, index=30)
    for price in (186.0, 170.0, 168.0):
        stage.bar(S3, price, "dx_buy", atr=3.0)
    stage.bar(S3, 178.0, "emergency_exit").bar(S3, 179.0, "reclaimed_ema333").bar(S0, 120.0, EXIT)
    _, out = stage.play(cap)
    assert [(kind, round(amount, 2)) for kind, amount, _ in fills(out)] == [
        ("S1_ENTRY", 1200.0),
        ("TRIM", 417.6),
        ("TRIM", 609.84),
        ("S2_POOL", 308.23),
        ("TRIM", 287.73),
        ("TRIM", 251.77),
        ("DX_BUY", 53.95),
        ("DX_BUY", 53.95),
        ("EMERGENCY_EXIT", 631.63),
        ("RECLAIM", 189.49),
        ("STRUCTURAL_EXIT", 127.03),
    ]
    assert refusals(out) == [("DX_BUY", "next_arm")]
    assert '"deployed_ratio": "0.3912' in out.decisions.reasons[2]
    closed = out.positions.take(slice(-1, None))
    assert (usd(closed.buys[0]), usd(closed.sells[0]), usd(closed.locked[0])) == (1805.62, 2325.60, 1150.81)
    assert usd(closed.sells[0] - closed.buys[0]) == 519.98


@pytest.mark.parametrize(
    ("a", "mode"),
    [(0.3, Mode.NORMAL), (0.299999, Mode.PATIENT), (0.7, Mode.AGGRESSIVE), (0.1 + 0.2, Mode.NORMAL)],
)
def test_band_edges(a: float, mode: Mode) -> None:
    assert ModeBands().mode_of(a) is mode
    _, out = opening().bar(S1, 1.0, "s1_buy", a=a).play()
    assert out.decisions.mode_a[0] == mode
    assert fills(out)[0][1] == {Mode.PATIENT: 300.0, Mode.NORMAL: 600.0, Mode.AGGRESSIVE: 900.0}[mode]
