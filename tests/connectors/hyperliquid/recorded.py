"""Recorded answers of the venue (README.md beside this file) and the times that belong to them."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BACKLOG_TRADES = 30


def lines(name: str) -> list[dict[str, Any]]:
    """The objects of one file."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def texts(channel: str | None = None, src: str | None = None) -> list[str]:
    """Frames as they came over the wire, of one channel and source or of all."""
    return [
        json.dumps(line["frame"])
        for line in lines("frames.jsonl")
        if (channel is None or channel == line["frame"]["channel"]) and (src is None or src == line["src"])
    ]


def candle_answer() -> list[dict[str, Any]]:
    """24 hourly candles of kPEPE."""
    return next(line["response"] for line in lines("rest.jsonl") if line["request"]["type"] == "candleSnapshot")
