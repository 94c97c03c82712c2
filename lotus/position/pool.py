"""The trim pool: the only bridge from trims to S2 re-buys and DX buys (scaling.md 8.2).

                       +--trim--+
                       v        |
    EMPTY ---trim---> OPEN -----+---dx---> RECOVERING --+
      ^                 |  ^                 |   |  ^   | dx (not the last)
      |                 |  +------trim-------+   |  +---+
      +---s2, close-----+                        |
      +---last dx, close-------------------------+

- Trims accumulate until a recovery has begun; a trim during a recovery ends it and starts a fresh pool.
- Whatever of a basis can no longer be redeployed is locked: a step returns it beside the new pool.
- EMPTY meets no S2 or DX fill: their gates forbid it.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from lotus.paper import ZERO
from lotus.records import PoolStatus


class PoolEvent(Enum):
    """What happens to a pool."""

    TRIM = "trim"
    S2_FILL = "s2_fill"
    DX_FILL = "dx_fill"
    CLOSE = "close"  # a filled full exit, or the end of the cycle


class Pool(NamedTuple):
    """Trim proceeds that are open to recovery.

    basis       USD, 0 while EMPTY
    redeployed  USD spent by DX buys of this pool
    last_fill   price of the last DX fill, quote
    next_arm    highest price of the next DX rung, quote
    """

    status: PoolStatus = PoolStatus.EMPTY
    basis: Decimal = ZERO
    redeployed: Decimal = ZERO
    dx_count: int = 0
    last_fill: Decimal | None = None
    next_arm: float | None = None

    @property
    def unspent(self) -> Decimal:
        """What a recovery could still redeploy, USD."""
        return self.basis - self.redeployed


EMPTY_POOL = Pool()


class Fuel(NamedTuple):
    """What an event brings: USD of the fill; for DX the price, the rung distance and the number of rungs."""

    usd: Decimal = ZERO
    price: Decimal = ZERO
    rung: float = 0.0
    max_buys: int = 0


Moved = tuple[Pool, Decimal]  # the new pool, and what became locked


def moved(pool: Pool, event: PoolEvent, fuel: Fuel) -> Moved:
    """The pool after an event, and the USD that became locked by it.

    raises  ValueError where the table has no line
    source  scaling.md 8.2
    """
    effect = TABLE.get((pool.status, event))
    if effect is None:
        raise ValueError(f"a pool that is {pool.status.name} cannot meet {event.name}")
    return effect(pool, fuel)


def _fresh(pool: Pool, fuel: Fuel) -> Moved:
    return Pool(PoolStatus.OPEN, fuel.usd), pool.unspent


def _accumulated(pool: Pool, fuel: Fuel) -> Moved:
    return pool._replace(basis=pool.basis + fuel.usd), ZERO


def _spent_at_once(pool: Pool, fuel: Fuel) -> Moved:
    return EMPTY_POOL, pool.basis - fuel.usd


def _rung(pool: Pool, fuel: Fuel) -> Moved:
    redeployed, count = pool.redeployed + fuel.usd, pool.dx_count + 1
    if count >= fuel.max_buys:
        return EMPTY_POOL, pool.basis - redeployed
    arm = float(fuel.price) - fuel.rung
    return Pool(PoolStatus.RECOVERING, pool.basis, redeployed, count, fuel.price, arm), ZERO


def _closed(pool: Pool, _: Fuel) -> Moved:
    return EMPTY_POOL, pool.unspent


TABLE: dict[tuple[PoolStatus, PoolEvent], Callable[[Pool, Fuel], Moved]] = {
    (PoolStatus.EMPTY, PoolEvent.TRIM): _fresh,
    (PoolStatus.EMPTY, PoolEvent.CLOSE): _closed,
    (PoolStatus.OPEN, PoolEvent.TRIM): _accumulated,
    (PoolStatus.OPEN, PoolEvent.S2_FILL): _spent_at_once,
    (PoolStatus.OPEN, PoolEvent.DX_FILL): _rung,
    (PoolStatus.OPEN, PoolEvent.CLOSE): _closed,
    (PoolStatus.RECOVERING, PoolEvent.TRIM): _fresh,
    (PoolStatus.RECOVERING, PoolEvent.DX_FILL): _rung,
    (PoolStatus.RECOVERING, PoolEvent.CLOSE): _closed,
}
