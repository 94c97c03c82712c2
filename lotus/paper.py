"""Money and the paper broker (replay.md 6).

                 close * (1 + slippage)                     close * (1 - slippage)
    buy:  usd ---- fee ----> qty = (usd - fee) / price    sell:  qty ----> usd = qty * price - fee

Money is decimal: 28 digits, half-even; a double enters by its shortest text; USD are kept to 1e-8, quantities to
1e-12 rounded down. Measured things - prices in gates, scores, ratios - stay doubles elsewhere.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import NamedTuple

from lotus.kernel import number

CONTEXT = Context(
    prec=28, rounding=ROUND_HALF_EVEN, capitals=1, clamp=0, traps=[DivisionByZero, InvalidOperation, Overflow]
)
ZERO = Decimal(0)
ONE = Decimal(1)
BASIS_POINTS = Decimal(10_000)
_USD_STEP = Decimal("1e-8")
_QTY_STEP = Decimal("1e-12")


class Execution(NamedTuple):
    """What an order brought: cash out of a buy or into a sell, fee included, and the tokens that moved."""

    usd: Decimal
    qty: Decimal
    price: Decimal
    fee: Decimal


@dataclass(frozen=True)
class PaperConfig:
    """Costs of a paper fill.

    fee_bps       taken from the cash of every fill, >= 0
    slippage_bps  added to the close when buying, subtracted when selling, 0..10000
    """

    fee_bps: Decimal = number(Decimal(5), "replay.md 6", "bps")
    slippage_bps: Decimal = number(Decimal(2), "replay.md 6", "bps")

    def __post_init__(self) -> None:
        """Check that costs cost and leave something."""
        for name, value in (("fee_bps", self.fee_bps), ("slippage_bps", self.slippage_bps)):
            if not ZERO <= value < BASIS_POINTS:
                raise ValueError(f"{name} must lie in [0, 10000), got {value}")


def exact(value: float) -> Decimal:
    """A double as the decimal that its shortest text names."""
    return Decimal(repr(value))


def round_usd(value: Decimal) -> Decimal:
    """USD to 1e-8, half-even."""
    return value.quantize(_USD_STEP, rounding=ROUND_HALF_EVEN, context=CONTEXT)


def round_qty(value: Decimal) -> Decimal:
    """Tokens to 1e-12, rounded down: never more than was paid for or is held."""
    return value.quantize(_QTY_STEP, rounding=ROUND_DOWN, context=CONTEXT)


def buy(config: PaperConfig, usd: Decimal, close: float) -> Execution:
    """Spend `usd`, fee included, at the close raised by the slippage.

    usd      cash to spend, quote, > 0
    close    close of the decision bar, quote, > 0
    source   replay.md 6
    """
    price = CONTEXT.multiply(exact(close), _factor(config.slippage_bps))
    fee = round_usd(CONTEXT.multiply(usd, _share(config.fee_bps)))
    qty = round_qty(CONTEXT.divide(CONTEXT.subtract(usd, fee), price))
    return Execution(usd, qty, price, fee)


def sell(config: PaperConfig, qty: Decimal, close: float) -> Execution:
    """Sell exactly `qty` at the close lowered by the slippage; `usd` is what is left after the fee.

    qty      tokens to sell, > 0
    close    close of the decision bar, quote, > 0
    source   replay.md 6
    """
    price = CONTEXT.multiply(exact(close), _factor(-config.slippage_bps))
    gross = CONTEXT.multiply(qty, price)
    fee = round_usd(CONTEXT.multiply(gross, _share(config.fee_bps)))
    return Execution(round_usd(CONTEXT.subtract(gross, fee)), qty, price, fee)


def _share(bps: Decimal) -> Decimal:
    return CONTEXT.divide(bps, BASIS_POINTS)


def _factor(bps: Decimal) -> Decimal:
    return CONTEXT.add(ONE, _share(bps))
