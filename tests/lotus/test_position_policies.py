"""The named policies of scaling.md 15 and uptrend-engine.md 8, all off by default."""

from dataclasses import replace
from decimal import Decimal

import pytest

from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.position.config import (
    BlockConfig,
    BlockScope,
    ByMode,
    DxConfig,
    ExtractionStep,
    LevelMemory,
    PoolOnFullExit,
    ReclaimConfig,
    SizingConfig,
    TrimConfig,
    TrimPolicy,
)
from lotus.position.kernel import Account, step
from lotus.position.record import Record
from lotus.position.sizing import trim_multiplier
from lotus.records import PoolStatus, State
from lotus.timeframe import Timeframe
from tests.lotus.stage import DEFAULT, FREE, Stage, fills, opening, refusals

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3


@pytest.mark.parametrize(
    ("sells", "multiplier"),
    [("0", "1.5"), ("299", "1.5"), ("300", "1"), ("599", "1"), ("600", "0.3"), ("1799", "0.3"), ("1800", "0.1")],
)
def test_the_extraction_curve(sells: str, multiplier: str) -> None:
    config = replace(DEFAULT, trim=TrimConfig(policy=TrimPolicy.EXTRACTION_CURVE))
    record = Record(buys=Decimal(600), sells=Decimal(sells))
    assert trim_multiplier(config, record)[0] == Decimal(multiplier)


def test_the_extraction_curve_without_buys_has_extracted_nothing() -> None:
    config = replace(DEFAULT, trim=TrimConfig(policy=TrimPolicy.EXTRACTION_CURVE))
    assert trim_multiplier(config, Record())[0] == Decimal("1.5")


def test_the_extraction_curve_keeps_the_cap_of_a_trim() -> None:
    config = replace(DEFAULT, trim=TrimConfig(policy=TrimPolicy.EXTRACTION_CURVE, max_frac=Decimal("0.8")))
    _, out = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 1.5, "trim", level=1.5, e=0.9).play(config)
    assert out.decisions.fraction[-1] == Decimal("0.8")


@pytest.mark.parametrize(("a", "usd"), [(0.1, 50.0), (0.5, 150.0), (0.9, 250.0)])
def test_s2_flat_legacy(a: float, usd: float) -> None:
    _, out = opening().bar(S2, 1.0).bar(S2, 1.0, "s2_buy", a=a).play(replace(DEFAULT, s2_flat_legacy=True))
    assert fills(out) == [("S2_FLAT", usd, usd)]


def test_s1_requires_prior_s2() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S1, 1.0).bar(S1, 1.0, "s1_buy")
    _, out = stage.play(replace(DEFAULT, s1_requires_prior_s2=True))
    assert refusals(out) == [("S1_ENTRY", "prior_s2")]
    assert fills(out) == [("S1_ENTRY", 600.0, 600.0)]


@pytest.mark.parametrize(("price", "blocked"), [(0.9, True), (1.1, False)])
def test_block_requires_loss(price: float, blocked: bool) -> None:
    config = replace(DEFAULT, blocks=BlockConfig(requires_loss=True))
    state, _ = opening().bar(S1, 1.0, "s1_buy").bar(S0, price, "exit_position").play(config)
    assert state.blocks[0] == (blocked, blocked)


def test_pool_on_full_exit_keep() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S3, 2.0, "trim", level=2.0).bar(S3, 1.0, "emergency_exit")
    stage.bar(S3, 1.1, "dx_buy")
    state, out = stage.play(replace(DEFAULT, pool_on_full_exit=PoolOnFullExit.KEEP))
    assert state.lanes[0].record.pool.status is PoolStatus.RECOVERING
    assert fills(out)[-1][:2] == ("DX_BUY", 36.0)
    _, out = stage.play()
    assert refusals(out) == [("DX_BUY", "pool")]


def test_cooldown_bypass_on_a_new_level() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2)
    stage.bar(S2, 2.0, "trim", level=2.0).bar(S2, 2.5, "trim", level=2.5).bar(S2, 2.5, "trim", level=2.5)
    _, out = stage.play()
    assert refusals(out) == [("TRIM", "cooldown")] * 2
    _, out = stage.play(replace(DEFAULT, trim=TrimConfig(cooldown_bypass_on_new_level=True)))
    assert refusals(out) == [("TRIM", "new_level")]
    assert [fill[0] for fill in fills(out)] == ["S1_ENTRY", "TRIM", "TRIM"]


def test_level_memory_of_the_whole_cycle() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2)
    for index, level in ((10, 2.0), (20, 2.5), (30, 2.0)):
        stage.bar(S2, level, "trim", level=level, index=index)
    _, out = stage.play()
    assert refusals(out) == []
    _, out = stage.play(replace(DEFAULT, trim=TrimConfig(level_memory=LevelMemory.CYCLE)))
    assert refusals(out) == [("TRIM", "new_level")]
    stage.bar(S1, 1.0).bar(S0, 0.9, "exit_position").bar(S1, 1.0).bar(S2, 1.0).bar(S3, 1.0).bar(S0, 0.9)
    state, _ = stage.play(replace(DEFAULT, trim=TrimConfig(level_memory=LevelMemory.CYCLE)))
    assert state.lanes[0].record == Record()


# ------------------------------------------------------------------------------------------------- blocks of a token

HOURLY, QUARTERLY = Lane("TOK", "paper", Timeframe.H1), Lane("TOK", "paper", Timeframe.M15)
SHARED = replace(DEFAULT, blocks=BlockConfig(scope=BlockScope.ALL_TIMEFRAMES))


def two_lanes() -> tuple[Stage, Stage]:
    """The 15m attempt fails on its fourth bar; the hourly one wants to buy on its second and later bars."""
    fine = opening(Stage(QUARTERLY)).bar(S1, 1.0, "s1_buy").bar(S0, 0.9, "exit_position")
    fine.bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S0, 0.9).bar(S0, 0.9)
    coarse = opening(Stage(HOURLY)).bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S3, 1.3)
    return fine, coarse


def test_a_block_of_a_token_spans_its_timeframes() -> None:
    fine, coarse = two_lanes()
    arrivals = tuple((stage.lane, Chunk(stage.scenes(), 2**50)) for stage in (coarse, fine))
    _, out = step(Account((HOURLY, QUARTERLY), DEFAULT, FREE), None, arrivals)
    assert refusals(out.lanes[0]) == []
    state, out = step(Account((HOURLY, QUARTERLY), SHARED, FREE), None, arrivals)
    assert refusals(out.lanes[0]) == [("S1_ENTRY", "blocked_s1")]
    assert refusals(out.lanes[1]) == [("S1_ENTRY", "blocked_s1")]
    assert state.blocks == ((False, False),), "the hourly success lifts it for both"


def test_the_position_row_of_a_lane_shows_a_block_that_another_lane_set() -> None:
    fine, coarse = two_lanes()
    arrivals = tuple((stage.lane, Chunk(stage.scenes(), 2**50)) for stage in (coarse, fine))
    _, out = step(Account((HOURLY, QUARTERLY), SHARED, FREE), None, arrivals)
    rows = out.lanes[0].positions
    assert [bool(value) for value in rows.blocked_s1] == [True, True, False]
    assert rows.ts[0] == coarse.rows[0]["ts"], (
        "the hourly bar that closes with the fourth quarter is worked on after it"
    )


def test_lanes_wait_for_each_other_and_any_arrival_order_gives_the_same() -> None:
    fine, coarse = two_lanes()
    account = Account((QUARTERLY, HOURLY), SHARED, FREE)
    state, early = step(account, None, ((HOURLY, Chunk(coarse.scenes(), 2**50)),))
    assert len(early.lanes[1].decisions) == len(early.lanes[1].refusals) == 0
    state, late = step(account, state, ((QUARTERLY, Chunk(fine.scenes(), 2**50)),))
    assert refusals(late.lanes[1]) == [("S1_ENTRY", "blocked_s1")]
    assert state.blocks == ((False, False),)


def test_blocks_of_one_token_do_not_reach_another() -> None:
    with pytest.raises(ValueError, match="span one token"):
        Account((HOURLY, Lane("OTHER", "paper", Timeframe.H1)), SHARED)
    with pytest.raises(ValueError, match="no lane twice"):
        Account((HOURLY, HOURLY))


# ------------------------------------------------------------------------------------------------------ bounds


def test_configuration_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dx\.atr_mult"):
        DxConfig(atr_mult=1.9)
    with pytest.raises(ValueError, match=r"dx\.max_buys"):
        DxConfig(max_buys=0)
    with pytest.raises(ValueError, match="hold_bars"):
        ReclaimConfig(hold_bars=0)
    with pytest.raises(ValueError, match="cap_usd"):
        SizingConfig(Decimal(-1))
    with pytest.raises(ValueError, match="shares"):
        ByMode(Decimal("0.5"), Decimal("0.4"), Decimal("0.6"))
    with pytest.raises(ValueError, match="max_frac"):
        TrimConfig(max_frac=Decimal(0))
    with pytest.raises(ValueError, match="cooldown_bars"):
        TrimConfig(cooldown_bars=-1)
    with pytest.raises(ValueError, match="rise"):
        TrimConfig(extraction=(ExtractionStep(Decimal(2), Decimal(1)), ExtractionStep(Decimal(1), Decimal(1))))
