"""The door for what people and venues say: checked, then appended to the token's own partition of the input log.

    fill      executions, rejections and ends of orders of one lane
    command   what an operator wants of one token, or of all: then each gets it in its own partition

A second input beside the log would have another order after a crash (exactly-once.md 1). What is not sound is refused
here, at the door, by name; the flow's reader dead-letters whatever went past it.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from connectors.checks import LATEST_MS, MOST_MONEY
from connectors.kafka.intake import IntakeWriter, LaneText
from lotus.columns import I8, I64, Objects
from lotus.intake import Action, Commands
from lotus.records import Executions, OrderKind

LONGEST_ID = 128
FINEST_EXPONENT = -18
_BUYS = frozenset({OrderKind.S1_ENTRY, OrderKind.S2_POOL, OrderKind.S2_FLAT, OrderKind.RECLAIM, OrderKind.DX_BUY})
ALL = "*"  # every token that is traded here


class GatewayError(ValueError):
    """Refused; the message names the field and what it must be. Nothing was written."""


class Report(NamedTuple):
    """What a venue reports about an order; the fields are those of `Executions`.

    usd, qty, price, fee  all 0 if nothing was executed
    done                  nothing more of this order will follow
    """

    ts: int
    kind: OrderKind
    order_ts: int
    fill_id: str
    usd: Decimal
    qty: Decimal
    price: Decimal
    fee: Decimal
    done: bool


class Order(NamedTuple):
    """What an operator wants; the fields are those of `Commands`."""

    ts: int
    action: Action
    command_id: str
    author: str


class Gateway:
    """Appends to the input log for a known set of lanes."""

    def __init__(self, writer: IntakeWriter, lanes: Collection[LaneText]) -> None:
        """`lanes`: (token, venue, timeframe) of every traded lane."""
        self._writer = writer
        self._lanes = frozenset(lanes)
        self._tokens = frozenset(token for token, _, _ in self._lanes)

    def fill(self, lane: LaneText, reports: Sequence[Report]) -> None:
        """Append what a venue reports about orders of a lane; when this returns the log has it.

        reports  of one order or several, times not descending
        raises   GatewayError, IntakeError
        """
        if lane not in self._lanes:
            known = _listed("|".join(other) for other in self._lanes)
            raise GatewayError(f"lane {'|'.join(lane)} is not traded here; known: {known}")
        for report in reports:
            _check_report(report)
        times = [report.ts for report in reports]
        if not reports or times != sorted(times):
            raise GatewayError("reports must be there, their ts not descending")
        self._writer.write("execution", lane, _executions(reports))
        self._writer.flush()

    def command(self, token: str, order: Order) -> None:
        """Append what an operator wants of a token, or of `ALL`; when this returns the log has it.

        A command for all that fails half-way is sent again as it was: who has its id already ignores it.

        raises  GatewayError, IntakeError
        """
        if token != ALL and token not in self._tokens:
            raise GatewayError(f"token {token} is not traded here; known: {_listed(self._tokens)}, or {ALL} for all")
        _check_time("ts", order.ts)
        if not isinstance(order.action, Action):
            raise GatewayError(f"action must be one of {_listed(Action.__members__)}, not {order.action!r}")
        _check_text("command_id", order.command_id)
        _check_text("author", order.author)
        rows = Commands(
            _integers([order.ts]), _codes([order.action]), _objects([order.command_id]), _objects([order.author])
        )
        for one in sorted(self._tokens) if token == ALL else [token]:
            self._writer.write("command", (one, "", ""), rows)
        self._writer.flush()


def _check_report(report: Report) -> None:
    _check_time("ts", report.ts)
    _check_time("order_ts", report.order_ts)
    if report.order_ts > report.ts:
        raise GatewayError(f"order_ts {report.order_ts} is after ts {report.ts}: no order is filled before its bar")
    if not isinstance(report.kind, OrderKind):
        raise GatewayError(f"kind must be one of {_listed(OrderKind.__members__)}, not {report.kind!r}")
    if not isinstance(report.done, bool):
        raise GatewayError(f"done must be true or false, not {report.done!r}")
    _check_text("fill_id", report.fill_id)
    for name in ("usd", "qty", "price", "fee"):
        _check_money(name, getattr(report, name))
    if not report.qty:
        if report.usd or report.fee or not report.done:
            raise GatewayError("qty 0 says that nothing was executed: then usd and fee are 0, and the order is done")
        return
    for name in ("usd", "price"):
        if not getattr(report, name):
            raise GatewayError(f"{name} must be above 0 where qty is")
    if report.kind in _BUYS and report.fee >= report.usd:
        raise GatewayError(f"fee {report.fee} must be below usd {report.usd}, which holds it")


def _check_money(name: str, value: object) -> None:
    """A finite decimal in [0, MOST), no finer than 1e-18."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise GatewayError(f"{name} must be a finite decimal, not {value!r}")
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "a finite decimal has a number as exponent"
    if value.is_signed() or value >= MOST_MONEY or exponent < FINEST_EXPONENT:
        places = -FINEST_EXPONENT
        raise GatewayError(f"{name} must lie in [0, {MOST_MONEY:f}) with at most {places} places, not {value}")


def _check_time(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < LATEST_MS:
        raise GatewayError(f"{name} must be a time in ms UTC before 2100, not {value!r}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not value.isprintable():
        raise GatewayError(f"{name} must be a text of 1 to {LONGEST_ID} printable characters, not {value!r:.80}")


def _executions(reports: Sequence[Report]) -> Executions:
    return Executions(
        ts=_integers([report.ts for report in reports]),
        kind=_codes([report.kind for report in reports]),
        order_ts=_integers([report.order_ts for report in reports]),
        fill_id=_objects([report.fill_id for report in reports]),
        usd=_objects([report.usd for report in reports]),
        qty=_objects([report.qty for report in reports]),
        price=_objects([report.price for report in reports]),
        fee=_objects([report.fee for report in reports]),
        done=np.array([report.done for report in reports], dtype=np.bool_),
    )


def _integers(values: Sequence[int]) -> I64:
    return np.array(values, dtype=np.int64)


def _codes(values: Sequence[int]) -> I8:
    return np.array(values, dtype=np.int8)


def _objects(values: Sequence[object]) -> Objects:
    found = np.empty(len(values), dtype=np.object_)
    found[:] = values
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"
