"""How values are spelled for people."""

import re
from decimal import Decimal
from typing import Any

from rich.markup import escape

SHORT_DIGITS = 6
DECIMALS = 8
NUMERIC = re.compile(r"-?\d+\.\d+")  # decimals stand in JSON as text


def number(value: Any) -> str:
    """A value in a sentence: doubles short, decimals in full, yes and no, nothing as `none`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{SHORT_DIGITS}g}"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str) and NUMERIC.fullmatch(value):
        return plain(round(Decimal(value), DECIMALS))
    return "none" if value is None else escape(str(value))


def plain(value: Decimal) -> str:
    """A decimal without the zeros that say nothing, never in scientific notation."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float) -> str:
    """A term or a margin."""
    return f"{value + 0.0:+.{SHORT_DIGITS}g}"


def pairs(named: dict[str, Any]) -> str:
    """Operands of a gate."""
    return ", ".join(f"{name} {number(value)}" for name, value in named.items())


def counted(counts: dict[str, int]) -> str:
    """Counts by name."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def verdict(exact: bool, how: str = "sums exactly") -> str:
    """Whether a number comes out of its parts bit for bit."""
    return f"[green]{how}[/green]" if exact else "[red]DOES NOT COME OUT[/red]"


def moment(iso: str) -> str:
    """A time without what is the same everywhere: `2025-05-31 18:02`."""
    return iso.replace("T", " ").removesuffix(":00Z")


def span(story: dict[str, Any]) -> str:
    """The bar of a story: when it opened and when it was known."""
    begin, end = moment(story["bar"]), moment(story["known_at"])
    same_day = begin[:10] == end[:10]
    return f"{begin} - {end[11:] if same_day else end} UTC"
