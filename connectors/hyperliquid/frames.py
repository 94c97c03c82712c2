"""Text frames of the websocket become typed events (market-data.md 2, 4).

Every frame has one outcome, every trade in it is either good or a fault with its reason; nothing is dropped unseen.
Prices and sizes become exact integers of 1e-8, taken from their text.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from connectors.checks import EARLIEST_MS, LATEST_MS
from lotus.columns import ABSENT
from lotus.records import Side

SIDES = {"B": int(Side.BUY), "A": int(Side.SELL)}  # the aggressor bought, sold
DECIMALS = 8
LARGEST = 2**63 - 1
SHOWN_CHARACTERS = 4_096  # of what is refused
_PLAIN = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
_EXACT = Context(prec=100)  # digits of any plain number
_ALREADY = "Already subscribed"
Json = Any


class Outcome(StrEnum):
    """What a frame turned out to be."""

    TRADES = "trades"
    SUBSCRIBED = "subscribed"  # also when the server says that we already were
    PONG = "pong"
    REFUSED = "refused"  # an error frame
    OTHER = "other"  # a channel nobody asked for
    NOT_JSON = "not_json"  # the greeting of old servers, or damage
    MALFORMED = "malformed"  # JSON of another shape


class NumberError(ValueError):
    """A text is no number that fits; the message is the reason."""


class Trade(NamedTuple):
    """One trade as the venue has it; side is -1 where it is not known."""

    token: str
    ts: int
    price_e8: int
    size_e8: int
    side: int
    trade_id: int


class Fault(NamedTuple):
    """A trade that is refused, or a frame that cannot be read: why, and as it came."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame says.

    token   of an answer to a subscription, None where it names no coin
    text    of an error frame; the name of a channel nobody asked for
    """

    outcome: Outcome
    trades: tuple[Trade, ...] = ()
    faults: tuple[Fault, ...] = ()
    token: str | None = None
    text: str = ""


def parse(text: str | bytes) -> Frame:
    """Read one frame; never raises, whatever came."""
    try:
        frame = json.loads(text, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return Frame(Outcome.NOT_JSON, faults=(Fault("not_json", _shown(text)),))
    if not isinstance(frame, dict) or not isinstance(frame.get("channel"), str):
        return Frame(Outcome.MALFORMED, faults=(Fault("no_channel", _shown(text)),))
    payload = frame.get("data")
    match frame["channel"]:
        case "trades":
            return _trades(payload, text)
        case "subscriptionResponse":
            return _answer(payload, text)
        case "pong":
            return Frame(Outcome.PONG)
        case "error":
            return _error(payload)
        case channel:
            return Frame(Outcome.OTHER, text=channel)


def plain(value: Json) -> str:
    """A decimal text as it is, a JSON integer as text; raises NumberError `unreadable` for everything else."""
    text = value if isinstance(value, str) else _plain_int(value)
    if _PLAIN.fullmatch(text) is None:
        raise NumberError("unreadable")
    return text


def to_e8(value: Json) -> int:
    """An exact integer of 1e-8 from a decimal text (or a JSON integer).

    raises  NumberError: `unreadable`, `precision` (more than 8 decimals), `too_large` (more than 63 bits)
    """
    whole, _, fraction = plain(value).partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > DECIMALS:
        raise NumberError("precision")
    return _bounded(int(whole + fraction.ljust(DECIMALS, "0")))


def nearest_e8(value: Json) -> int:
    """The same, but further decimals are rounded half to even: a candle's volume is a printed double.

    raises  NumberError: `unreadable`, `too_large`
    """
    units = Decimal(plain(value)).scaleb(DECIMALS, _EXACT).to_integral_value(ROUND_HALF_EVEN, _EXACT)
    return _bounded(int(units))


def to_ms(value: Json) -> int:
    """A time in ms UTC; raises NumberError: `unreadable`, `out_of_range`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise NumberError("unreadable")
    if not EARLIEST_MS <= value <= LATEST_MS:
        raise NumberError("out_of_range")
    return value


def substitute_id(token: str, ts: int, price: str, size: str, side: str, index: int) -> int:
    """Identity of a trade that has none: 63 bits of a hash of what it says (market-data.md 4)."""
    words = "\x1f".join((token, str(ts), price, size, side, str(index)))
    return int.from_bytes(hashlib.blake2b(words.encode(errors="backslashreplace"), digest_size=8).digest(), "big") >> 1


def _bounded(units: int) -> int:
    if abs(units) > LARGEST:
        raise NumberError("too_large")
    return units


def _plain_int(value: Json) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST else ""


def _trades(payload: Json, text: str | bytes) -> Frame:
    if not isinstance(payload, list):
        return Frame(Outcome.MALFORMED, faults=(Fault("trades_no_list", _shown(text)),))
    good: list[Trade] = []
    faults: list[Fault] = []
    for index, item in enumerate(payload):
        try:
            good.append(_trade(item, index))
        except NumberError as error:
            faults.append(Fault(str(error), _dumped(item)))
    return Frame(Outcome.TRADES, tuple(good), tuple(faults))


def _trade(item: Json, index: int) -> Trade:
    """One trade; raises NumberError with the reason of a reject."""
    if not isinstance(item, dict):
        raise NumberError("trade_unreadable")
    token = item.get("coin")
    if not isinstance(token, str) or not token:
        raise NumberError("token_missing")
    ts = _named("time", to_ms, item.get("time"))
    price = _positive("price", item.get("px"))
    size = _positive("size", item.get("sz"))
    letter = item.get("side")
    side = SIDES.get(letter, ABSENT) if isinstance(letter, str) else ABSENT
    tid = item.get("tid")
    if tid is None:
        tid = substitute_id(token, ts, str(item["px"]), str(item["sz"]), str(letter), index)
    elif not isinstance(tid, int) or isinstance(tid, bool) or not 0 <= tid <= LARGEST:
        raise NumberError("trade_id_unreadable")
    return Trade(token, ts, price, size, side, tid)


def _positive(name: str, value: Json) -> int:
    units = _named(name, to_e8, value)
    if units <= 0:
        raise NumberError(f"{name}_not_positive")
    return units


def _named(name: str, read: Callable[[Json], int], value: Json) -> int:
    try:
        return read(value)
    except NumberError as error:
        raise NumberError(f"{name}_{error}") from None


def _error(payload: Json) -> Frame:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    try:
        token = _coin(json.loads(text[text.index("{") :]))
    except (ValueError, RecursionError):
        token = None
    outcome = Outcome.SUBSCRIBED if text.startswith(_ALREADY) else Outcome.REFUSED
    return Frame(outcome, token=token, text=text)


def _answer(payload: Json, text: str | bytes) -> Frame:
    """The answer to a subscription; those to others than trades and to unsubscribing are nothing we asked for."""
    subscription = payload.get("subscription") if isinstance(payload, dict) else None
    if not isinstance(subscription, dict):
        return Frame(Outcome.MALFORMED, faults=(Fault("no_subscription", _shown(text)),))
    if subscription.get("type") != "trades" or payload.get("method", "subscribe") != "subscribe":
        return Frame(Outcome.OTHER, text="subscriptionResponse")
    token = _coin(subscription)
    if token is None:
        return Frame(Outcome.MALFORMED, faults=(Fault("no_coin", _shown(text)),))
    return Frame(Outcome.SUBSCRIBED, token=token)


def _coin(payload: Json) -> str | None:
    """The coin that a subscription names, itself or inside the request around it."""
    if isinstance(payload, dict) and isinstance(payload.get("subscription"), dict):
        payload = payload["subscription"]
    coin = payload.get("coin") if isinstance(payload, dict) else None
    return coin if isinstance(coin, str) else None


def _dumped(item: Json) -> str:
    """A trade as JSON; what is nested too deeply for that has no text worth keeping."""
    try:
        return json.dumps(item, sort_keys=True)[:SHOWN_CHARACTERS]
    except RecursionError:
        return "too deeply nested"


def _shown(text: str | bytes) -> str:
    """A frame as text, its beginning where it is long: what is kept of damage is bounded."""
    return (text.decode(errors="replace") if isinstance(text, bytes) else text)[:SHOWN_CHARACTERS]
