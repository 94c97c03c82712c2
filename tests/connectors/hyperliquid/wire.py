"""Frames as the venue sends them, made by hand."""

import json
from typing import Any

PONG = '{"channel":"pong"}'
GREETING = "Websocket connection established."
T0 = 1_767_225_600_000  # 2026-01-01 00:00 UTC, a minute and a day


def framed(channel: str, payload: Any) -> str:
    """A frame."""
    return json.dumps({"channel": channel, "data": payload})


def answer(coin: str | None, method: str = "subscribe", kind: str = "trades") -> str:
    """The answer to a subscription."""
    subscription = {"type": kind} if coin is None else {"type": kind, "coin": coin}
    return framed("subscriptionResponse", {"method": method, "subscription": subscription})


def already(coin: str) -> str:
    """The answer to a second subscription of the same coin."""
    return framed("error", "Already subscribed: " + json.dumps({"type": "trades", "coin": coin}))


def refusal(coin: str) -> str:
    """The answer to a subscription that is not possible."""
    request = {"method": "subscribe", "subscription": {"type": "trades", "coin": coin}}
    return framed("error", "Invalid subscription " + json.dumps(request))


def trade(
    ts: int, tid: int, coin: str = "BTC", px: str = "88900.0", sz: str = "0.00100", side: str = "B"
) -> dict[str, Any]:
    """One trade."""
    return {"coin": coin, "side": side, "px": px, "sz": sz, "time": ts, "hash": "0x5fa1", "tid": tid}


def trades(*found: dict[str, Any]) -> str:
    """A frame of trades."""
    return framed("trades", list(found))
