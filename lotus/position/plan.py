"""What to send on a bar: at most one intent, the first applicable line wins (scaling.md 6).

    1 STRUCTURAL_EXIT > 2 EMERGENCY_EXIT > 3 (on an exit bar: no buys) > 4 TRIM
                                                        > 5 S1_ENTRY > 6 S2 > 7 RECLAIM > 8 DX_BUY

A refused line lets the next one be checked. Whatever was raised and not sent leaves a refusal: the first failing gate,
or `precedence` if a higher line was sent (replay.md 8).
"""

import math
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from lotus.paper import ZERO, round_usd
from lotus.position.gates import GATES, Gate, Moment, quantity_gate
from lotus.position.record import NONE_YET, Order, Owed
from lotus.position.sizing import Size, buy_size, exit_size, trim_size
from lotus.position.wording import operands_text
from lotus.records import Mode, OrderKind, PoolStatus, State

PATTERNS: dict[OrderKind, str] = {
    OrderKind.STRUCTURAL_EXIT: "uptrend.{state}.structure_exit",
    OrderKind.EMERGENCY_EXIT: "uptrend.S3.emergency_exit",
    OrderKind.TRIM: "uptrend.{state}.trim_sr",
    OrderKind.S1_ENTRY: "uptrend.S1.buy_flag",
    OrderKind.S2_POOL: "uptrend.S2.dip_pool",
    OrderKind.S2_FLAT: "uptrend.S2.dip_flat",
    OrderKind.RECLAIM: "uptrend.S3.reclaim_rebuy",
    OrderKind.DX_BUY: "uptrend.S3.dx",
}


class Refusal(NamedTuple):
    """A raised flag whose intent was not sent."""

    kind: OrderKind
    gate: str
    operands: str
    margin: float


class Intent(NamedTuple):
    """An intent to send, with what it passed and how its size came about.

    cancels  the open order that an exit cancels
    """

    order: Order
    size: Size
    gates: tuple[Gate, ...]
    mode_a: Mode
    mode_e: Mode
    category: str
    cancels: Order | None = None

    @property
    def pattern_key(self) -> str:
        """`family.state.motif` (scaling.md 12)."""
        return PATTERNS[self.order.kind].format(state=self.order.state.name)


class Plan(NamedTuple):
    """The outcome of a bar."""

    intent: Intent | None
    refusals: tuple[Refusal, ...]


def plan(moment: Moment) -> Plan:
    """Walk down the lines of scaling.md 6 for one live bar."""
    intent = _exit(moment)
    refusals: list[Refusal] = []
    for kind in _raised(moment):
        if intent is not None:
            refusals.append(_outranked(kind, intent.order.kind))
            continue
        verdict = _judged(moment, kind)
        if isinstance(verdict, Refusal):
            refusals.append(verdict)
        else:
            intent = verdict
    return Plan(intent, tuple(refusals))


@lru_cache(maxsize=8)
def refused_empty_trim(dust: Decimal) -> Refusal:
    """A trim flag while nothing at all is held and nothing is open: by far the most frequent refusal."""
    return _refusal(OrderKind.TRIM, quantity_gate(ZERO, dust))


def _raised(moment: Moment) -> Iterator[OrderKind]:
    bar, record = moment.bar, moment.record
    if bar.trim:
        yield OrderKind.TRIM
    if bar.s1_buy:
        yield OrderKind.S1_ENTRY
    if bar.s2_buy:
        yield OrderKind.S2_POOL if record.pool.status is PoolStatus.OPEN else OrderKind.S2_FLAT
    if _reclaim_pending(moment):
        yield OrderKind.RECLAIM
    if bar.dx_buy:
        yield OrderKind.DX_BUY


def _reclaim_pending(moment: Moment) -> bool:
    """Set by `reclaimed_ema333`; without confirmation it expires after its first bar (replay.md 6)."""
    since = moment.record.emergency.reclaim_since
    return since != NONE_YET and (since == moment.bar.bar_index or not moment.config.reclaim.immediate)


def _refusal(kind: OrderKind, gate: Gate) -> Refusal:
    return Refusal(kind, gate.name, operands_text(gate.operands), gate.margin)


@lru_cache(maxsize=64)
def _outranked(kind: OrderKind, sent: OrderKind) -> Refusal:
    return Refusal(kind, "precedence", operands_text((("sent", sent.name),)), math.nan)


def _judged(moment: Moment, kind: OrderKind) -> Intent | Refusal:
    bar = moment.bar

    def size_of() -> Size:
        if kind is OrderKind.TRIM:
            return trim_size(moment.config, moment.record, Mode(bar.mode_e), bar.price)
        return buy_size(moment.config, moment.record, kind, Mode(bar.mode_a))

    passed: list[Gate] = []
    for gate in GATES[kind](moment, size_of):
        if not gate.ok:
            return _refusal(kind, gate)
        passed.append(gate)
    size = size_of()
    if kind is OrderKind.TRIM:
        category = "trim"
    else:
        category = "entry" if moment.flat else "add"
    order = _order(moment, kind, State(bar.state), size)
    return Intent(order, size, tuple(passed), Mode(bar.mode_a), Mode(bar.mode_e), category)


def _exit(moment: Moment) -> Intent | None:
    record, bar, config = moment.record, moment.bar, moment.config
    owed = _owed(moment)
    if owed is None or (record.in_flight is not None and record.in_flight.is_exit):
        return None
    size = exit_size(record, bar.price)
    exit_value = None
    if owed.kind is OrderKind.EMERGENCY_EXIT:
        exit_value = record.emergency.event_value or round_usd(moment.value)
    gates = (
        Gate("exit_position", bar.exit_position, (("exit_position", bar.exit_position),)),
        Gate("emergency_exit", bar.emergency_exit, (("emergency_exit", bar.emergency_exit),)),
        quantity_gate(moment.value, config.dust_usd),
    )
    return Intent(
        _order(moment, owed.kind, owed.state, size, exit_value),
        size,
        gates,
        Mode(bar.mode_a),
        Mode(bar.mode_e),
        "exit",
        record.in_flight,
    )


def _owed(moment: Moment) -> Owed | None:
    """Lines 1 and 2, then an exit that was decided on an earlier bar and is not completely filled."""
    bar = moment.bar
    if moment.flat:
        return None
    if bar.exit_position:
        return Owed(OrderKind.STRUCTURAL_EXIT, _state_left(bar.prev_state))
    if bar.emergency_exit:
        return Owed(OrderKind.EMERGENCY_EXIT, State.S3)
    return moment.record.exiting


def _state_left(prev_state: int) -> State:
    if prev_state not in (State.S1, State.S3):
        raise ValueError(f"a structural exit leaves S1 or S3, not {prev_state}")
    return State(prev_state)


def _order(moment: Moment, kind: OrderKind, state: State, size: Size, exit_value: Decimal | None = None) -> Order:
    bar, attempt = moment.bar, moment.attempt
    return Order(
        kind=kind,
        ts=bar.ts,
        state=state,
        bar_index=bar.bar_index,
        atr=bar.atr,
        level=bar.nearest_level,
        attempt_ts=attempt.started_ts if attempt.active else NONE_YET,
        usd=size.usd,
        qty=size.qty,
        exit_value=exit_value,
    )
