"""Gates: what has to hold before an intent is sent, in the order of the spec (scaling.md 7, uptrend-engine.md 8).

Each kind has one generator that yields its gates in order. A refusal reports the first one that fails; a decision
reports them all. A margin is value - threshold, below 0 where the gate fails, and NaN for a yes/no gate.
"""

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from lotus.paper import ZERO
from lotus.position.attempt import Attempt, Blocks
from lotus.position.config import LevelMemory, PositionConfig
from lotus.position.marks import Bar
from lotus.position.record import NONE_YET, Record
from lotus.position.sizing import Size
from lotus.position.wording import Operand, Operands
from lotus.records import OrderKind, PoolStatus, State

YES_NO = math.nan
STATE_NAMES = {int(state): state.name for state in State}


class Gate(NamedTuple):
    """One comparison, its result and by how much."""

    name: str
    ok: bool
    operands: Operands
    margin: float = YES_NO


class Halt(NamedTuple):
    """An operator's command that stops buys, and when it was read, ms UTC."""

    since_ms: int
    author: str
    command_id: str


class Moment(NamedTuple):
    """Everything a gate may look at: the position before the bar's intent, and the bar."""

    config: PositionConfig
    record: Record
    attempt: Attempt
    blocks: Blocks
    bar: Bar
    value: Decimal
    halt: Halt | None = None

    @property
    def flat(self) -> bool:
        """Less than dust is held."""
        return self.value < self.config.dust_usd


SizeOf = Callable[[], Size]  # sizes cost decimals: only the last gate asks
Gates = Callable[[Moment, SizeOf], Iterator[Gate]]


@lru_cache(maxsize=1024)
def _yes_no(name: str, ok: bool, operand: Operand) -> Gate:
    return Gate(name, ok, ((name, operand),))


@lru_cache(maxsize=4)
def _exit_flag(emergency_exit: bool, exit_position: bool) -> Gate:
    quiet = not (emergency_exit or exit_position)
    return Gate("exit_flag", quiet, (("emergency_exit", emergency_exit), ("exit_position", exit_position)))


def _free(moment: Moment) -> Iterator[Gate]:
    record = moment.record
    yield _yes_no("exiting", record.exiting is None, record.exiting.kind.name if record.exiting else None)
    open_order = record.in_flight or record.cancelled
    yield _yes_no("in_flight", open_order is None, open_order.kind.name if open_order else None)


def _may_buy(moment: Moment, state: State) -> Iterator[Gate]:
    bar, halt = moment.bar, moment.halt
    if halt is not None:  # no gate of the spec: it is named only where it stops a buy
        yield Gate("operator_halt", False, tuple(halt._asdict().items()))
    yield _exit_flag(bar.emergency_exit, bar.exit_position)
    yield from _free(moment)
    yield _yes_no("old_cycle", not moment.record.overdue, moment.record.overdue)
    yield _yes_no("state", bar.state == state, STATE_NAMES.get(bar.state))


def _large_enough(moment: Moment, size: Size) -> Gate:
    least = moment.config.min_notional_usd
    return Gate(
        "min_notional",
        size.notional >= least and size.notional > ZERO,
        (("usd", size.notional), ("min_notional_usd", least)),
        float(size.notional - least),
    )


def s1_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """S1_ENTRY (scaling.md 7.1)."""
    yield from _may_buy(moment, State.S1)
    last = moment.record.last_s1_buy
    yield _yes_no("once_per_cycle", last is None, last.bar_index if last else None)
    yield _yes_no("blocked_s1", not moment.blocks.s1, moment.blocks.s1)
    if moment.config.s1_requires_prior_s2:
        reached = moment.attempt.s2_started_ts != NONE_YET
        yield _yes_no("prior_s2", reached, reached)
    yield _large_enough(moment, size_of())


def s2_pool_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """S2_POOL (scaling.md 7.2): the planner chooses it when the pool is OPEN."""
    yield from _may_buy(moment, State.S2)
    yield _yes_no("blocked_s2", not moment.blocks.s2, moment.blocks.s2)
    pool = moment.record.pool
    yield Gate("pool", pool.status is PoolStatus.OPEN, (("pool", pool.status.name), ("basis", pool.basis)))
    yield _large_enough(moment, size_of())


def s2_flat_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """S2_FLAT (scaling.md 7.2)."""
    yield from _may_buy(moment, State.S2)
    yield _yes_no("blocked_s2", not moment.blocks.s2, moment.blocks.s2)
    status = moment.record.pool.status
    yield _yes_no("pool", status is PoolStatus.EMPTY, status.name)
    dust = moment.config.dust_usd
    yield Gate("flat", moment.flat, (("value_usd", moment.value), ("dust_usd", dust)), float(dust - moment.value))
    yield _large_enough(moment, size_of())


def reclaim_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """RECLAIM (scaling.md 7.4)."""
    yield from _may_buy(moment, State.S3)
    emergency, rule, bar = moment.record.emergency, moment.config.reclaim, moment.bar
    yield _yes_no("exit_value", emergency.exit_value is not None, emergency.exit_value)
    yield _yes_no("rebuy_used", not emergency.rebuy_used, emergency.rebuy_used)
    if not rule.immediate:
        held = bar.bar_index - emergency.reclaim_since + 1
        yield Gate(
            "hold_bars",
            held >= rule.hold_bars,
            (("held_bars", held), ("hold_bars", rule.hold_bars)),
            float(held - rule.hold_bars),
        )
        least = bar.ema_333 + rule.min_distance_atr * bar.atr
        yield Gate("distance", bar.price >= least, (("price", bar.price), ("least", least)), bar.price - least)
    yield _large_enough(moment, size_of())


def dx_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """DX_BUY (scaling.md 7.3)."""
    yield from _may_buy(moment, State.S3)
    pool, bar, rule = moment.record.pool, moment.bar, moment.config.dx
    filled = pool.status is not PoolStatus.EMPTY and pool.basis > ZERO
    yield Gate("pool", filled, (("pool", pool.status.name), ("basis", pool.basis)))
    yield Gate(
        "dx_count",
        pool.dx_count < rule.max_buys,
        (("dx_count", pool.dx_count), ("max_buys", rule.max_buys)),
        float(rule.max_buys - 1 - pool.dx_count),
    )
    arm = pool.next_arm
    reached = arm is None or bar.price <= arm
    yield Gate(
        "next_arm",
        reached,
        (("price", bar.price), ("next_arm", arm)),
        YES_NO if arm is None else arm - bar.price,
    )
    yield Gate("atr", bar.atr > 0.0, (("atr", bar.atr),), bar.atr)
    yield _large_enough(moment, size_of())


def trim_gates(moment: Moment, size_of: SizeOf) -> Iterator[Gate]:
    """TRIM (uptrend-engine.md 8)."""
    yield from _free(moment)
    dust = moment.config.dust_usd
    yield quantity_gate(moment.value, dust)
    level = moment.bar.nearest_level
    yield _yes_no("level", not math.isnan(level), level)
    yield _new_level(moment)
    yield _cooldown(moment)
    yield _large_enough(moment, size_of())


def quantity_gate(value: Decimal, dust: Decimal) -> Gate:
    """A trim needs something to sell."""
    return Gate("quantity", value >= dust, (("value_usd", value), ("dust_usd", dust)), float(value - dust))


def _new_level(moment: Moment) -> Gate:
    rule, bar, record = moment.config.trim, moment.bar, moment.record
    if record.last_trim is None:
        return Gate("new_level", True, (("level", bar.nearest_level), ("last_level", None)))
    levels = record.trimmed_levels if rule.level_memory is LevelMemory.CYCLE else (record.last_trim.level,)
    closest = min(levels, key=lambda level: abs(bar.nearest_level - level))
    change, least = abs(bar.nearest_level - closest), rule.level_change * bar.price
    operands: Operands = (("level", bar.nearest_level), ("last_level", closest), ("least_change", least))
    return Gate("new_level", change > least, operands, change - least)


def _cooldown(moment: Moment) -> Gate:
    rule, last = moment.config.trim, moment.record.last_trim
    if last is None or rule.cooldown_bypass_on_new_level:
        return Gate("cooldown", True, (("bars_since", None), ("cooldown_bars", rule.cooldown_bars)))
    since = moment.bar.bar_index - last.bar_index
    operands: Operands = (("bars_since", since), ("cooldown_bars", rule.cooldown_bars))
    return Gate("cooldown", since >= rule.cooldown_bars, operands, float(since - rule.cooldown_bars))


GATES: dict[OrderKind, Gates] = {
    OrderKind.TRIM: trim_gates,
    OrderKind.S1_ENTRY: s1_gates,
    OrderKind.S2_POOL: s2_pool_gates,
    OrderKind.S2_FLAT: s2_flat_gates,
    OrderKind.RECLAIM: reclaim_gates,
    OrderKind.DX_BUY: dx_gates,
}
