"""How much: the size of a decision multiplied out again, exactly, from the factors and limits it lists (replay.md 7).

buy   usd = min(round(base x fraction / parts), headroom)
trim  fraction = min(fraction x multiplier, max_frac),  sell = round_down(qty x fraction)
exit  everything
"""

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Any

from lotus.paper import CONTEXT, ONE, exact, round_qty, round_usd

Row = Mapping[str, Any]
Told = dict[str, Any]


def size_of(decision: Row, reasons: Row) -> Told:
    """The size of a decision row with its parsed `reasons`: formula, factors, limits, whether it comes out exactly."""
    with localcontext(CONTEXT):
        told = _buy(decision, reasons) if decision["usd"] is not None else _sale(decision, reasons)
    return {**told, "factors": reasons["size"], "limits": reasons["limits"], "notional_usd": reasons["notional_usd"]}


def _buy(decision: Row, reasons: Row) -> Told:
    factors = _decimals(reasons["size"])
    name, base = next(iter(factors.items()))
    fraction, parts = factors["fraction"], factors["parts"]
    share = f"{fraction} (A {decision['mode_a']})" + ("" if parts == 1 else f" / {parts}")
    usd = round_usd(base * fraction / parts)
    formula = f"{name} {base} x {share} = {usd:f}"
    limit = _decimals(reasons["limits"]).get("headroom")
    if limit is not None:
        usd = min(usd, limit)
        formula += f", at most headroom {limit:f}"
    stored, notional = decision["usd"], Decimal(reasons["notional_usd"])
    return {
        "unit": "USD",
        "formula": formula,
        "value": f"{usd:f}",
        "stored": f"{stored:f}",
        "exact": usd == stored == factors["usd"] == notional,
    }


def _sale(decision: Row, reasons: Row) -> Told:
    factors = _decimals(reasons["size"])
    qty, share, limit = factors["qty"], factors["fraction"], _decimals(reasons["limits"]).get("max_frac", ONE)
    times = factors.get("multiplier", ONE)
    fraction = min(share * times, limit)
    sell = round_qty(qty * fraction) if "multiplier" in factors else qty
    formula = f"qty {qty:f} x {share}"
    if "multiplier" in factors:
        formula += f" (E {decision['mode_e']})"
        formula += f" x {times}"
        formula += f" (at most {limit})" if share * times > limit else ""
    stored, notional = decision["fraction"], Decimal(reasons["notional_usd"])
    worth = round_usd(sell * exact(decision["price"]))
    return {
        "unit": "share of the quantity",
        "formula": f"{formula} = sell {sell:f}",
        "value": f"{fraction:f}",
        "stored": f"{stored:f}",
        "exact": fraction == stored and sell == factors["sell"] and worth == notional,
    }


def _decimals(named: Row) -> dict[str, Decimal]:
    return {name: Decimal(str(value)) for name, value in named.items() if value is not None}
