"""Every gate has its refusal row, in the order of the spec (scaling.md 6-9, replay.md 8)."""

import json
import math
from dataclasses import replace
from decimal import Decimal

import pytest

from lotus.position.config import PositionConfig, ReclaimConfig
from lotus.records import OrderKind, State
from tests.lotus.stage import DEFAULT, Live, Stage, fills, opening, refusals

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3


def bought(price: float = 1.0) -> Stage:
    return opening(price=price).bar(S1, price, "s1_buy")


def in_s3(stage: Stage, price: float = 1.2) -> Stage:
    return stage.bar(S2, price).bar(S3, price)


def pooled() -> Stage:
    return in_s3(bought()).bar(S3, 2.0, "trim", level=2.0)


def trim_at(stage: Stage, level: float, index: int, price: float = 2.0) -> Stage:
    return stage.bar(S3, price, "trim", level=level, index=index)


CASES: list[tuple[str, str, float, Stage]] = [
    ("TRIM", "quantity", -1.0, opening().bar(S2, 1.2).bar(S2, 1.2, "trim", level=1.2)),
    ("TRIM", "level", math.nan, bought().bar(S2, 1.2).bar(S2, 1.2, "trim")),
    ("TRIM", "new_level", 0.015 - 0.02, trim_at(pooled(), 2.015, 9)),
    ("TRIM", "cooldown", -1.0, trim_at(pooled(), 2.5, 7)),
    ("TRIM", "min_notional", 0.3 * 600 * 0.0055 - 1.0, bought().bar(S2, 1.2).bar(S2, 0.0055, "trim", level=0.0055)),
    ("S1_ENTRY", "exit_flag", math.nan, opening().bar(S1, 1.0, "s1_buy emergency_exit")),
    ("S1_ENTRY", "state", math.nan, opening().bar(S2, 1.0, "s1_buy")),
    ("S1_ENTRY", "once_per_cycle", math.nan, bought().bar(S1, 1.0, "s1_buy")),
    ("S1_ENTRY", "blocked_s1", math.nan, bought().bar(S0, 0.9, "exit_position").bar(S1, 1.0, "s1_buy")),
    ("S2_FLAT", "state", math.nan, opening().bar(S1, 1.0, "s2_buy")),
    ("S2_FLAT", "blocked_s2", math.nan, bought().bar(S0, 0.9, "exit_position").bar(S1, 1.0).bar(S2, 1.0, "s2_buy")),
    ("S2_FLAT", "flat", 1.0 - 600.0, bought().bar(S2, 1.0, "s2_buy")),
    ("S2_FLAT", "exit_flag", math.nan, opening().bar(S2, 1.0, "s2_buy emergency_exit")),
    ("RECLAIM", "exit_value", math.nan, in_s3(opening()).bar(S3, 1.0, "reclaimed_ema333")),
    (
        "RECLAIM",
        "rebuy_used",
        math.nan,
        in_s3(bought())
        .bar(S3, 1.0, "emergency_exit")
        .bar(S3, 1.0, "reclaimed_ema333")
        .bar(S3, 1.0, "reclaimed_ema333"),
    ),
    ("DX_BUY", "exit_flag", math.nan, in_s3(opening()).bar(S3, 1.0, "dx_buy emergency_exit")),
    ("DX_BUY", "state", math.nan, opening().bar(S2, 1.0, "dx_buy")),
    ("DX_BUY", "pool", math.nan, in_s3(opening()).bar(S3, 1.0, "dx_buy")),
    (
        "DX_BUY",
        "next_arm",
        -0.5,
        pooled().bar(S3, 1.9, "dx_buy", atr=0.1).bar(S3, 1.8, "dx_buy"),
    ),
    ("DX_BUY", "atr", 0.0, pooled().bar(S3, 1.9, "dx_buy", atr=0.0)),
]


@pytest.mark.parametrize(("kind", "gate", "margin", "stage"), CASES, ids=[f"{k}-{g}" for k, g, _, _ in CASES])
def test_a_failing_gate_leaves_its_row(kind: str, gate: str, margin: float, stage: Stage) -> None:
    _, out = stage.play()
    assert refusals(out)[-1] == (kind, gate)
    assert out.refusals.margin[-1] == pytest.approx(margin, nan_ok=True)
    assert out.refusals.ts[-1] == stage.rows[-1]["ts"]
    assert json.loads(out.refusals.operands[-1])


@pytest.mark.parametrize("kind", ["S1_ENTRY", "S2_FLAT", "S2_POOL", "DX_BUY", "RECLAIM"])
def test_an_amount_below_the_venue_minimum_consumes_no_gate(kind: str) -> None:
    choosy = replace(DEFAULT, min_notional_usd=Decimal(400))
    scripts = {
        "S1_ENTRY": opening().bar(S1, 1.0, "s1_buy", a=0.1).bar(S1, 1.0, "s1_buy", a=0.5),
        "S2_FLAT": opening().bar(S2, 1.0).bar(S2, 1.0, "s2_buy", a=0.5).bar(S2, 1.0, "s2_buy", a=0.8),
        "S2_POOL": bought().bar(S2, 1.0).bar(S2, 9.0, "trim", level=9.0).bar(S2, 1.0, "s2_buy", a=0.1),
        "DX_BUY": in_s3(bought()).bar(S3, 9.0, "trim", level=9.0).bar(S3, 8.0, "dx_buy", a=0.8),
        "RECLAIM": in_s3(bought()).bar(S3, 1.0, "emergency_exit").bar(S3, 1.0, "reclaimed_ema333"),
    }
    state, out = scripts[kind].play(choosy)
    assert refusals(out) == [(kind, "min_notional")]
    assert out.refusals.margin[0] < 0
    record = state.lanes[0].record
    assert record.pool.dx_count == 0
    assert not record.emergency.rebuy_used
    if kind in ("S1_ENTRY", "S2_FLAT"):
        assert [fill[0] for fill in fills(out)] == [kind]


def test_confirmation_refuses_until_it_holds_and_an_emergency_restarts_it() -> None:
    careful = replace(DEFAULT, reclaim=ReclaimConfig(hold_bars=3, min_distance_atr=0.5))
    stage = in_s3(bought(100.0), 120.0).bar(S3, 100.0, "emergency_exit", emas=(101.0, 110.0))
    emas = (101.0, 110.0)
    stage.bar(S3, 101.2, "reclaimed_ema333", emas=emas).bar(S3, 101.1, emas=emas).bar(S3, 101.3, emas=emas)
    stage.bar(S3, 101.5, emas=emas).bar(S3, 102.0, emas=emas)
    _, out = stage.play(careful)
    assert refusals(out) == [("RECLAIM", "hold_bars")] * 2 + [("RECLAIM", "distance")]
    assert list(out.refusals.margin[:2]) == [-2.0, -1.0]
    assert [fill[0] for fill in fills(out)] == ["S1_ENTRY", "EMERGENCY_EXIT", "RECLAIM"]
    assert out.decisions.ts[-1] == stage.rows[-2]["ts"]

    restarted = in_s3(bought(100.0), 120.0).bar(S3, 100.0, "emergency_exit", emas=emas)
    restarted.bar(S3, 102.0, "reclaimed_ema333", emas=emas).bar(S3, 100.0, "emergency_exit", emas=emas)
    restarted.bar(S3, 102.0, "reclaimed_ema333", emas=emas).bar(S3, 102.0, emas=emas)
    _, out = restarted.play(careful)
    assert refusals(out) == [("RECLAIM", "hold_bars")] * 3


def test_without_confirmation_a_reclaim_expires_after_its_bar() -> None:
    stage = in_s3(bought()).bar(S3, 1.0, "emergency_exit")
    stage.bar(S3, 1.0, "reclaimed_ema333", a=0.0).bar(S3, 1.0).bar(S3, 1.0)
    _, out = stage.play(replace(DEFAULT, min_notional_usd=Decimal(100)))
    assert refusals(out) == [("RECLAIM", "min_notional")]


@pytest.mark.parametrize(
    ("flags", "sent", "refused"),
    [
        ("exit_position emergency_exit trim", "STRUCTURAL_EXIT", ["TRIM"]),
        ("emergency_exit trim dx_buy", "EMERGENCY_EXIT", ["TRIM", "DX_BUY"]),
        ("trim dx_buy reclaimed_ema333", "TRIM", ["RECLAIM", "DX_BUY"]),
    ],
)
def test_a_sent_line_outranks_the_lower_ones(flags: str, sent: str, refused: list[str]) -> None:
    stage = in_s3(bought()).bar(S3, 2.0, flags, level=2.0)
    _, out = stage.play()
    assert OrderKind(int(out.decisions.kind[-1])).name == sent
    assert refusals(out) == [(kind, "precedence") for kind in refused]
    assert all(json.loads(text) == {"sent": sent} for text in out.refusals.operands)


def test_a_refused_reclaim_lets_dx_be_checked() -> None:
    stage = pooled().bar(S3, 1.9, "reclaimed_ema333 dx_buy", atr=0.1)
    _, out = stage.play()
    assert refusals(out) == [("RECLAIM", "exit_value")]
    assert fills(out)[-1][0] == "DX_BUY"


def test_no_buy_on_an_exit_bar_even_while_flat() -> None:
    stage = opening().bar(S2, 1.2).bar(S2, 1.1, "s2_buy emergency_exit").bar(S2, 1.1, "s2_buy")
    _, out = stage.play()
    assert refusals(out) == [("S2_FLAT", "exit_flag")]
    assert fills(out) == [("S2_FLAT", 300.0, 272.727273)]


def test_nothing_is_sent_in_s0_and_s4() -> None:
    stage = Stage().bar(State.S4, 1.0, "s1_buy s2_buy dx_buy trim").bar(S0, 1.0, "s1_buy s2_buy dx_buy trim")
    _, out = stage.play()
    assert len(out.decisions) == 0
    assert len(out.refusals) == 8


def test_a_decision_names_every_gate_and_its_size_can_be_recomputed() -> None:
    _, out = pooled().bar(S3, 1.9, "dx_buy", atr=0.1).play()
    reasons = json.loads(out.decisions.reasons[-1])
    assert [gate["gate"] for gate in reasons["gates"]] == [
        "exit_flag",
        "exiting",
        "in_flight",
        "old_cycle",
        "state",
        "pool",
        "dx_count",
        "next_arm",
        "atr",
        "min_notional",
    ]
    size = reasons["size"]
    again = Decimal(size["pool_basis"]) * Decimal(size["fraction"]) / size["parts"]
    assert min(again, Decimal(reasons["limits"]["headroom"])) == out.decisions.usd[-1] == Decimal(size["usd"])
    assert reasons["pool"]["status"] == "OPEN"
    assert out.decisions.sentence[-1] == "A 0.5, E 0.5"


@pytest.mark.parametrize(
    ("stage", "patterns"),
    [
        (bought().bar(S0, 0.9, "exit_position"), ["uptrend.S1.buy_flag", "uptrend.S1.structure_exit"]),
        (
            opening().bar(S2, 1.2).bar(S2, 1.2, "s2_buy").bar(S2, 1.5, "trim", level=1.5).bar(S2, 1.3, "s2_buy"),
            ["uptrend.S2.dip_flat", "uptrend.S2.trim_sr", "uptrend.S2.dip_pool"],
        ),
        (
            pooled()
            .bar(S3, 1.9, "dx_buy", atr=0.1)
            .bar(S3, 1.0, "emergency_exit")
            .bar(S3, 1.0, "reclaimed_ema333")
            .bar(S0, 0.5, "exit_position emergency_exit"),
            [
                "uptrend.S1.buy_flag",
                "uptrend.S3.trim_sr",
                "uptrend.S3.dx",
                "uptrend.S3.emergency_exit",
                "uptrend.S3.reclaim_rebuy",
                "uptrend.S3.structure_exit",
            ],
        ),
    ],
)
def test_pattern_keys_come_from_the_kind(stage: Stage, patterns: list[str]) -> None:
    _, out = stage.play()
    assert list(out.decisions.pattern_key) == patterns


def test_while_an_order_is_open_nothing_but_an_exit_is_sent() -> None:
    live = Live()
    live.bar(S0, 1.0)
    live.bar(S1, 1.0, "s1_buy")
    assert refusals(live.bar(S1, 1.0, "s1_buy")) == [("S1_ENTRY", "in_flight")]
    assert refusals(live.bar(S2, 1.0, "trim", level=1.0)) == [("TRIM", "in_flight")]
    assert refusals(live.bar(S2, 1.0, "s2_buy trim", level=1.0)) == [("TRIM", "in_flight"), ("S2_FLAT", "in_flight")]


@pytest.mark.parametrize(
    "change",
    [
        {"dust_usd": Decimal(0)},
        {"min_notional_usd": Decimal(-1)},
    ],
)
def test_a_senseless_configuration_is_refused(change: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError, match="dust_usd"):
        PositionConfig(**change)  # type: ignore[arg-type]
