"""How much: sizes are products of listed factors, cut by listed limits (scaling.md 4, 15; replay.md 7).

    buy:   usd = min(round(base * fraction / parts), headroom)        headroom for recovery buys only
    trim:  qty = round_down(qty * min(fraction * multiplier, max_frac))
    exit:  qty = qty

A size is recomputed exactly, in decimal, from what it lists.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from lotus.paper import ONE, ZERO, exact, round_qty, round_usd
from lotus.position.config import ByMode, PositionConfig, TrimPolicy
from lotus.position.record import Record
from lotus.position.wording import Operands
from lotus.records import Mode, OrderKind


class Size(NamedTuple):
    """An amount with everything it is made of.

    usd       USD to spend; None for a sell
    qty       tokens to sell; None for a buy
    fraction  share of the tokens to sell; None for a buy
    notional  what the order is worth at the close, USD
    """

    usd: Decimal | None
    qty: Decimal | None
    fraction: Decimal | None
    notional: Decimal
    factors: Operands
    limits: Operands


class _Rule(NamedTuple):
    """A line of the table of scaling.md 4 for buys."""

    base_name: str
    base: Callable[[PositionConfig, Record], Decimal]
    shares: Callable[[PositionConfig], ByMode]
    parts: Callable[[PositionConfig], int]
    within_headroom: bool


def _remaining(config: PositionConfig, record: Record) -> Decimal:
    return record.remaining(config.sizing.cap_usd)


def _basis(_: PositionConfig, record: Record) -> Decimal:
    return record.pool.basis


def _exit_value(_: PositionConfig, record: Record) -> Decimal:
    return record.emergency.exit_value or ZERO


def _whole(_: PositionConfig) -> int:
    return 1


BUY_RULES: dict[OrderKind, _Rule] = {
    OrderKind.S1_ENTRY: _Rule("remaining", _remaining, lambda config: config.s1_frac, _whole, False),
    OrderKind.S2_FLAT: _Rule(
        "remaining",
        _remaining,
        lambda config: config.s2_flat_legacy_frac if config.s2_flat_legacy else config.s2_flat_frac,
        _whole,
        False,
    ),
    OrderKind.S2_POOL: _Rule("pool_basis", _basis, lambda config: config.s2_pool_frac, _whole, True),
    OrderKind.DX_BUY: _Rule(
        "pool_basis", _basis, lambda config: config.dx.total_frac, lambda config: config.dx.max_buys, True
    ),
    OrderKind.RECLAIM: _Rule("exit_value", _exit_value, lambda config: config.reclaim.frac, _whole, True),
}


def buy_size(config: PositionConfig, record: Record, kind: OrderKind, mode: Mode) -> Size:
    """USD to spend on a buy of a kind in a mode of A (scaling.md 4)."""
    rule = BUY_RULES[kind]
    base, fraction, parts = rule.base(config, record), rule.shares(config).of(mode), rule.parts(config)
    usd = round_usd(base * fraction / parts)
    limits: Operands = ()
    if rule.within_headroom:
        headroom = record.headroom(config.sizing.cap_usd)
        usd, limits = min(usd, headroom), (("headroom", headroom),)
    factors: Operands = ((rule.base_name, base), ("fraction", fraction), ("parts", parts), ("usd", usd))
    return Size(usd, None, None, usd, factors, limits)


def trim_size(config: PositionConfig, record: Record, mode: Mode, price: float) -> Size:
    """Tokens to sell on a trim in a mode of E (scaling.md 4, 15)."""
    share = config.trim.frac.of(mode)
    multiplier, because = trim_multiplier(config, record)
    fraction = min(share * multiplier, config.trim.max_frac)
    qty = round_qty(record.qty * fraction)
    factors: Operands = (
        ("qty", record.qty),
        ("fraction", share),
        ("multiplier", multiplier),
        *because,
        ("sell", qty),
    )
    return Size(None, qty, fraction, round_usd(qty * exact(price)), factors, (("max_frac", config.trim.max_frac),))


def trim_multiplier(config: PositionConfig, record: Record) -> tuple[Decimal, Operands]:
    """What multiplies a trim, and why."""
    trim = config.trim
    if trim.policy is TrimPolicy.EXTRACTION_CURVE:
        extraction = record.sells / record.buys if record.buys else ZERO
        found = [step.multiplier for step in trim.extraction if extraction < step.below]
        return (found[0] if found else trim.extraction_rest), (("extraction", extraction),)
    ratio = record.deployed_ratio(config.sizing.cap_usd)
    crowded = ratio >= trim.crowding_threshold - trim.crowding_tolerance
    return (trim.crowding_mult if crowded else ONE), (("deployed_ratio", ratio),)


def exit_size(record: Record, price: float) -> Size:
    """Everything."""
    factors: Operands = (("qty", record.qty), ("fraction", ONE), ("sell", record.qty))
    return Size(None, record.qty, ONE, round_usd(record.value(price)), factors, ())
