"""How gates, sizes and pools are written down: JSON texts with one spelling per value.

Doubles stand by their shortest text, decimals as strings of all their digits, absent numbers as null.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from json import dumps
from typing import Any

Operand = float | int | str | bool | Decimal | None
Operands = tuple[tuple[str, Operand], ...]


def operands_text(operands: Operands) -> str:
    """A JSON object of the named operands in their order."""
    return "{" + ", ".join([f"{_quoted(name)}: {value_text(value)}" for name, value in operands]) + "}"


def value_text(value: Operand) -> str:
    """One JSON value."""
    return _TEXTS[type(value)](value)


def _double_text(value: float) -> str:
    return repr(value) if math.isfinite(value) else "null"


def list_text(items: Iterable[str]) -> str:
    """A JSON list of JSON texts."""
    return "[" + ", ".join(items) + "]"


def object_text(items: Sequence[tuple[str, str]]) -> str:
    """A JSON object of names and JSON texts."""
    return "{" + ", ".join([f"{_quoted(name)}: {text}" for name, text in items]) + "}"


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return dumps(text)


_TEXTS: dict[type, Callable[[Any], str]] = {
    float: _double_text,
    int: str,
    bool: lambda value: "true" if value else "false",
    str: _quoted,
    Decimal: lambda value: f'"{value:f}"',
    type(None): lambda _: "null",
}
