"""The position record of one (token, venue, timeframe): everything a cycle remembers (scaling.md 2, 13).

    WATCH --S0 -> S1--> IN_CYCLE_FLAT --buy--> LONG --exit sent--> EXITING --flat--> IN_CYCLE_FLAT
      ^                       |                                                          |
      +------ CLOSED <--------+----------------- S0 and flat ----------------------------+

A fresh record is `Record()`; the end of a cycle puts it back, so nothing per cycle can survive by accident.
"""

from decimal import Decimal
from typing import NamedTuple

from lotus.paper import ONE, ZERO, exact
from lotus.position.pool import EMPTY_POOL, Pool
from lotus.records import OrderKind, State, Status

EXITS = (OrderKind.STRUCTURAL_EXIT, OrderKind.EMERGENCY_EXIT)
SELLS = (*EXITS, OrderKind.TRIM)
NONE_YET = -1


class Bought(NamedTuple):
    """The last buy of a kind; later fills of the same order are added to it."""

    bar_index: int
    price: Decimal
    usd: Decimal
    kind: OrderKind
    state: State


class Trimmed(NamedTuple):
    """The last trim; the trim gate measures from it."""

    bar_index: int
    price: Decimal
    usd: Decimal
    level: float


class Emergency(NamedTuple):
    """The emergency event and the re-buy right of the last executed emergency exit (scaling.md 9).

    event_on       price is below EMA333 in S3
    event_value    value at which this event's exit was decided, USD
    exit_value     value at which the last executed emergency exit was decided, USD: base of the re-buy
    reclaim_since  bar_index on which the price came back, -1: not, or used
    """

    event_on: bool = False
    event_value: Decimal | None = None
    event_executed: bool = False
    exit_value: Decimal | None = None
    rebuy_used: bool = False
    reclaim_since: int = NONE_YET


class Order(NamedTuple):
    """An intent on its way.

    qty         tokens to sell; None for a buy
    usd         USD to spend; None for a sell
    level       nearest level at the decision, quote
    attempt_ts  attempt in which it was decided
    exit_value  of an emergency exit: the value that its first fill turns into a re-buy right
    fills       number of fills above zero so far
    """

    kind: OrderKind
    ts: int
    state: State
    bar_index: int
    atr: float
    level: float
    attempt_ts: int
    usd: Decimal | None = None
    qty: Decimal | None = None
    exit_value: Decimal | None = None
    fills: int = 0
    fill_ids: tuple[str, ...] = ()

    @property
    def is_exit(self) -> bool:
        """Whether it sells everything."""
        return self.kind in EXITS


class Owed(NamedTuple):
    """A full exit that was decided and is retried until the position is flat; `state` is the state left."""

    kind: OrderKind
    state: State


class Record(NamedTuple):
    """One position in one cycle.

    overdue         a new attempt began before this cycle could close; buys wait until it has
    general_buys    G: USD spent on S1 and flat S2
    trimmed_levels  levels trimmed in this cycle, oldest first; only the last one unless `level_memory = cycle`
    cancelled       an order that an exit cancelled and that may still fill
    cancelled_by    that exit: a buy that fills nevertheless is sold with it
    settled         ids of the last fills of finished orders
    """

    cycle: bool = False
    overdue: bool = False
    qty: Decimal = ZERO
    general_buys: Decimal = ZERO
    buys: Decimal = ZERO
    sells: Decimal = ZERO
    locked: Decimal = ZERO
    pool: Pool = EMPTY_POOL
    last_s1_buy: Bought | None = None
    last_s2_buy: Bought | None = None
    last_dx_buy: Bought | None = None
    last_reclaim_buy: Bought | None = None
    last_trim: Trimmed | None = None
    trimmed_levels: tuple[float, ...] = ()
    emergency: Emergency = Emergency()
    exiting: Owed | None = None
    in_flight: Order | None = None
    cancelled: Order | None = None
    cancelled_by: Owed | None = None
    settled: tuple[str, ...] = ()

    @property
    def unresolved(self) -> bool:
        """Whether a fill may still arrive."""
        return self.in_flight is not None or self.cancelled is not None

    def value(self, price: float) -> Decimal:
        """What the tokens are worth, USD."""
        return self.qty * exact(price) if self.qty else ZERO

    def remaining(self, cap: Decimal) -> Decimal:
        """Allocation never yet deployed in this cycle, USD: trims do not refill it."""
        return max(ZERO, cap - self.general_buys)

    def headroom(self, cap: Decimal) -> Decimal:
        """Cap minus net cash in the trade, USD: the safety cap of recovery buys."""
        return max(ZERO, cap - (self.buys - self.sells))

    def deployed_ratio(self, cap: Decimal) -> Decimal:
        """Net cash in the trade over the cap, 0..1; 0 without a cap."""
        if cap <= ZERO:
            return ZERO
        return min(ONE, max(ZERO, (self.buys - self.sells) / cap))

    def status(self, *, flat: bool) -> Status:
        """Status of scaling.md 13; CLOSED exists only in the row of the closing bar."""
        if self.exiting is not None:
            return Status.EXITING
        if not flat:
            return Status.LONG
        return Status.IN_CYCLE_FLAT if self.cycle else Status.WATCH


FRESH = Record()
STARTED = FRESH._replace(cycle=True)
