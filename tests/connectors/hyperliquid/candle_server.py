"""A REST interface with candles as the venue has it: in pages, beginning with the candle that contains the start."""

from typing import Any

from lotus.timeframe import Timeframe
from tests.connectors.hyperliquid.stand_ins import Reply


def candle(ts: int, timeframe: Timeframe, coin: str) -> dict[str, Any]:
    """A candle whose numbers follow from its time."""
    step = ts // timeframe.ms % 1_000
    return {
        "t": ts,
        "T": ts + timeframe.ms - 1,
        "s": coin,
        "i": str(timeframe),
        "n": step % 7,
        "o": f"{100 + step}.1",
        "h": f"{100 + step}.9",
        "l": f"{99 + step}.05",
        "c": f"{100 + step}.25",
        "v": f"{step}.125",
    }


class CandleServer:
    """Answers `meta` and `candleSnapshot`; times in `holes` have no candle, `plan` overrides the next answers."""

    def __init__(self, first_ms: int, *, coins: tuple[str, ...] = ("BTC", "ETH"), page: int = 5_000) -> None:
        self.first_ms = first_ms
        self.coins = coins
        self.page = page
        self.holes: set[int] = set()
        self.plan: list[Reply] = []

    def __call__(self, path: str, body: Any) -> Reply:
        assert path == "/"
        if self.plan:
            return self.plan.pop(0)
        if body["type"] == "meta":
            return Reply({"universe": [{"name": coin} for coin in self.coins]})
        req = body["req"]
        timeframe = Timeframe(req["interval"])
        start = max(self.first_ms, req["startTime"] // timeframe.ms * timeframe.ms)
        times = [ts for ts in range(start, req["endTime"] + 1, timeframe.ms) if ts not in self.holes]
        return Reply([candle(ts, timeframe, req["coin"]) for ts in times[: self.page]])
