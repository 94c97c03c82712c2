"""Fills: the only thing that moves money and gates (scaling.md 12).

    order in flight --fill > 0--> amounts follow the fill, the gate is consumed
                    --fill 0, done (a rejection)--> nothing but the end of the order
                    --an id seen before--> nothing
                    --no such order open, or more sold than held--> refused

Paper fills and fills of a venue pass through the same function. Records are written from the kind and state of the
order, never guessed.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from lotus.paper import ZERO, Execution
from lotus.position.config import LevelMemory, PoolOnFullExit, PositionConfig
from lotus.position.pool import Fuel, PoolEvent, moved
from lotus.position.record import NONE_YET, SELLS, Bought, Order, Record, Trimmed
from lotus.records import OrderKind, PoolStatus

SETTLED_IDS_KEPT = 64  # bound of the memory for duplicates of finished orders


class Unbookable(StrEnum):
    """Why a report of a venue cannot be booked."""

    ORDER_NOT_OPEN = "order_not_open"
    SOLD_TOO_MUCH = "sold_too_much"


class UnbookableError(ValueError):
    """A fill that no order of the record explains; nothing has changed."""

    def __init__(self, reason: Unbookable, text: str) -> None:
        """`reason` is a word of docs/bad-input.md, `text` says more."""
        super().__init__(text)
        self.reason = reason


class Fill(NamedTuple):
    """One report about an order.

    order_ts  open time of the bar on which the order was decided
    done      nothing more of this order will follow; with an empty execution: rejected or cancelled
    """

    kind: OrderKind
    order_ts: int
    fill_id: str
    execution: Execution
    done: bool


class Booked(NamedTuple):
    """The record after a fill; `order` as it was decided, None if the fill was a duplicate."""

    record: Record
    order: Order | None


class _Posting(NamedTuple):
    config: PositionConfig
    order: Order
    execution: Execution
    late: bool  # the order was cancelled by an exit


def apply_fill(config: PositionConfig, record: Record, fill: Fill) -> Booked:
    """The record after a fill.

    raises  UnbookableError for a fill of an order that is not open, or one that sells more than is held
    source  scaling.md 12
    """
    order, late = _order_of(record, fill)
    if order is None or fill.fill_id in order.fill_ids:
        return Booked(record, None)
    execution = fill.execution
    if execution.qty > ZERO:
        posting = _Posting(config, order, execution, late)
        record = POSTINGS[order.kind](_cash(record, posting), posting)
    fills = order.fills + (execution.qty > ZERO)
    updated = order._replace(fills=fills, fill_ids=(*order.fill_ids, fill.fill_id))
    return Booked(_resolved(record, updated, late=late, done=fill.done), order)


def _order_of(record: Record, fill: Fill) -> tuple[Order | None, bool]:
    for order, late in ((record.in_flight, False), (record.cancelled, True)):
        if order is not None and (order.kind, order.ts) == (fill.kind, fill.order_ts):
            return order, late
    if fill.fill_id in record.settled:
        return None, False
    text = f"fill {fill.fill_id}: no open {fill.kind.name} order of {fill.order_ts}"
    raise UnbookableError(Unbookable.ORDER_NOT_OPEN, text)


def _resolved(record: Record, order: Order, *, late: bool, done: bool) -> Record:
    if done:
        settled = (*record.settled, *order.fill_ids)[-SETTLED_IDS_KEPT:]
        if late:
            return record._replace(cancelled=None, cancelled_by=None, settled=settled)
        return record._replace(in_flight=None, settled=settled)
    return record._replace(cancelled=order) if late else record._replace(in_flight=order)


def _cash(record: Record, posting: _Posting) -> Record:
    order, execution, late = posting.order, posting.execution, posting.late
    if order.kind in SELLS:
        qty = record.qty - execution.qty
        if qty < ZERO:
            text = f"{order.kind.name} sold {execution.qty}, held were {record.qty}"
            raise UnbookableError(Unbookable.SOLD_TOO_MUCH, text)
        # "0" and not "0E-12": an empty position has one spelling
        return record._replace(qty=qty or ZERO, sells=record.sells + execution.usd)
    general = order.kind in (OrderKind.S1_ENTRY, OrderKind.S2_FLAT)
    return record._replace(
        qty=record.qty + execution.qty,
        buys=record.buys + execution.usd,
        general_buys=record.general_buys + execution.usd if general else record.general_buys,
        exiting=record.exiting or record.cancelled_by if late else record.exiting,
    )


def _bought(last: Bought | None, posting: _Posting) -> Bought:
    order, execution = posting.order, posting.execution
    before = last.usd if last is not None and order.fills else ZERO
    return Bought(order.bar_index, execution.price, before + execution.usd, order.kind, order.state)


def _s1_entry(record: Record, posting: _Posting) -> Record:
    return record._replace(last_s1_buy=_bought(record.last_s1_buy, posting))


def _s2_flat(record: Record, posting: _Posting) -> Record:
    return record._replace(last_s2_buy=_bought(record.last_s2_buy, posting))


def _s2_pool(record: Record, posting: _Posting) -> Record:
    record = record._replace(last_s2_buy=_bought(record.last_s2_buy, posting))
    return _drawn(record, posting, PoolEvent.S2_FILL)


def _dx_buy(record: Record, posting: _Posting) -> Record:
    record = record._replace(last_dx_buy=_bought(record.last_dx_buy, posting))
    pool, execution = record.pool, posting.execution
    if posting.order.fills and pool.status is PoolStatus.RECOVERING:
        arm = float(execution.price) - _rung(posting)
        redeployed = pool.redeployed + execution.usd
        pool = pool._replace(redeployed=redeployed, last_fill=execution.price, next_arm=arm)
        return record._replace(pool=pool)
    return _drawn(record, posting, PoolEvent.DX_FILL)


def _drawn(record: Record, posting: _Posting, event: PoolEvent) -> Record:
    """A recovery buy takes its money out of the pool, or out of what was locked when its pool has already closed."""
    if posting.order.fills or record.pool.status is PoolStatus.EMPTY:
        return record._replace(locked=record.locked - posting.execution.usd)
    execution = posting.execution
    fuel = Fuel(execution.usd, execution.price, _rung(posting), posting.config.dx.max_buys)
    pool, locked = moved(record.pool, event, fuel)
    return record._replace(pool=pool, locked=record.locked + locked)


def _rung(posting: _Posting) -> float:
    return posting.config.dx.atr_mult * posting.order.atr


def _reclaim(record: Record, posting: _Posting) -> Record:
    return record._replace(
        emergency=record.emergency._replace(rebuy_used=True, reclaim_since=NONE_YET),
        last_reclaim_buy=_bought(record.last_reclaim_buy, posting),
    )


def _trim(record: Record, posting: _Posting) -> Record:
    order, execution, config = posting.order, posting.execution, posting.config
    before = record.last_trim.usd if record.last_trim is not None and order.fills else ZERO
    last = Trimmed(order.bar_index, execution.price, before + execution.usd, order.level)
    levels = record.trimmed_levels if config.trim.level_memory is LevelMemory.CYCLE else ()
    if not levels or levels[-1] != order.level:
        levels = (*levels, order.level)
    if posting.late and config.pool_on_full_exit is PoolOnFullExit.CLOSE:
        pool, locked = record.pool, execution.usd  # the exit that cancelled it closes the pool for good
    else:
        pool, locked = moved(record.pool, PoolEvent.TRIM, Fuel(execution.usd))
    return record._replace(last_trim=last, trimmed_levels=levels, pool=pool, locked=record.locked + locked)


def _exit(record: Record, posting: _Posting) -> Record:
    order, emergency = posting.order, record.emergency
    if order.exit_value is not None and not emergency.event_executed:
        emergency = emergency._replace(event_executed=True, exit_value=order.exit_value, rebuy_used=False)
    pool, locked = record.pool, ZERO
    if posting.config.pool_on_full_exit is PoolOnFullExit.CLOSE:
        pool, locked = moved(pool, PoolEvent.CLOSE, Fuel())
    return record._replace(
        emergency=emergency,
        pool=pool,
        locked=record.locked + locked,
        exiting=record.exiting if record.qty else None,
    )


POSTINGS: dict[OrderKind, Callable[[Record, _Posting], Record]] = {
    OrderKind.STRUCTURAL_EXIT: _exit,
    OrderKind.EMERGENCY_EXIT: _exit,
    OrderKind.TRIM: _trim,
    OrderKind.S1_ENTRY: _s1_entry,
    OrderKind.S2_POOL: _s2_pool,
    OrderKind.S2_FLAT: _s2_flat,
    OrderKind.RECLAIM: _reclaim,
    OrderKind.DX_BUY: _dx_buy,
}
