"""What a deployment is: its market, its topics, its share of the work. Section `[live]` of the configuration.

Nothing here changes what a kernel computes; what does is the rest of the configuration. All processes of a deployment
are given the same section.
"""

import re
from dataclasses import dataclass
from typing import Self

from lotus.kernel import number
from lotus.timeframe import Timeframe

_SHARE = re.compile(r"(\d{1,4})/(\d{1,4})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True, slots=True)
class Share:
    """The partitions p of a deployment with p % of == index; written `index/of`."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        """Refuse a share of nothing."""
        if not 0 <= self.index < self.of:
            raise ValueError(f"a share is INDEX/OF with 0 <= INDEX < OF, got {self.index}/{self.of}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0/4`; raises ValueError."""
        found = _SHARE.fullmatch(text)
        if found is None:
            raise ValueError(f"'{text}' is no share: write INDEX/OF, for example 0/4")
        return cls(int(found[1]), int(found[2]))

    def partitions(self, partitions: int) -> tuple[int, ...]:
        """The partitions of this share."""
        return tuple(range(self.index, partitions, self.of))

    @property
    def whole(self) -> bool:
        """Whether nobody else has a part."""
        return self.of == 1

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.index}/{self.of}"


@dataclass(frozen=True)
class LiveConfig:
    """The deployment. A change of tokens, timeframes, partitions or history is another run.

    Times are milliseconds. History files read VENUE:TF=PATH[:TOKENS], as for a replay.
    """

    environment: str = number("live", "exactly-once.md 2")
    run: str = number("live", "market-data.md 12.B")
    topic_prefix: str = number("", "market-data.md 12.B")
    partitions: int = number(8, "exactly-once.md 3")
    venue: str = number("hyperliquid", "market-data.md 1")
    tokens: tuple[str, ...] = number(("BTC", "ETH", "BNB", "SOL", "HYPE"), "market-data.md 3, HL_SYMBOLS")
    timeframes: tuple[Timeframe, ...] = number((Timeframe.M1, Timeframe.M15, Timeframe.H1), "replay.md 2")
    sources: tuple[str, ...] = number(("ingest",), "exactly-once.md 2")
    dominance: tuple[str, ...] = number(("dom:BTC", "dom:USDT"), "market-data.md 11")
    dominance_every_ms: int = number(600_000, "market-data.md 11", "ms")
    history: tuple[str, ...] = number((), "market-data.md 9")
    buckets: str = number("", "market-data.md 12.A")
    at_venue: bool = number(False, "scaling.md 12")  # false: the paper broker fills
    recorded_time: bool = number(False, "exactly-once.md 3")  # event times are not now: topics keep everything
    epoch_ms: int = number(1_000, "architecture.md 5", "ms")
    ahead_ms: int = number(120_000, "exactly-once.md 6", "ms")
    watchdog_ms: int = number(60_000, "reliability.md 4", "ms")

    def __post_init__(self) -> None:
        """Refuse a deployment that could not start."""
        for name in ("environment", "run"):
            if _NAME.fullmatch(getattr(self, name)) is None:
                raise ValueError(f"{name} is a name of letters, digits, '.', '_' and '-', at most 50")
        if _PREFIX.fullmatch(self.topic_prefix) is None:
            raise ValueError("topic_prefix is made of letters, digits, '.', '_' and '-'")
        if not 1 <= self.partitions <= 1024:
            raise ValueError(f"partitions lies in 1..1024, got {self.partitions}")
        if not self.tokens or len(set(self.tokens)) < len(self.tokens):
            raise ValueError("tokens names at least one token, each once")
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names at least one source of heartbeats, each once")
        if not self.timeframes:
            raise ValueError("timeframes names at least one timeframe")
        for name in ("dominance_every_ms", "epoch_ms", "ahead_ms", "watchdog_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
