"""The configuration of a run: one frozen section per stage, each declared beside its kernel."""

from dataclasses import dataclass, field

from lotus.bar import BarConfig
from lotus.kernel import number
from lotus.paper import PaperConfig
from lotus.position.config import PositionConfig
from lotus.posture.config import PostureConfig
from lotus.trend.config import TrendConfig


@dataclass(frozen=True)
class DriversConfig:
    """Which series the posture reads, and how its indices are formed."""

    venue: str = number("", "replay.md 5")  # empty: the only venue of the run
    alt_members: tuple[str, ...] = number(("SOL", "ETH", "BNB", "HYPE"), "posture.md 6.4")
    alt_minimum: int = number(3, "posture.md 6.4", "members")
    bucket_minimum: int = number(5, "posture.md 6.4", "members")
    bucket_largest: int = number(64, "posture.md 6.4", "members")
    bucketless: tuple[str, ...] = number(("BTC", "ETH", "BNB", "SOL", "HYPE"), "replay.md 5")
    btc_dominance_jump: float = number(2.0, "market-data.md 11", "percentage points")
    usdt_dominance_jump: float = number(0.5, "market-data.md 11", "percentage points")
    dominance_jump_within_ms: int = number(3_600_000, "replay.md 5", "ms")

    def __post_init__(self) -> None:
        """Refuse indices that could not be formed."""
        if self.alt_minimum < 1 or self.bucket_minimum < 1:
            raise ValueError("an index has at least one member")
        if self.bucket_largest < self.bucket_minimum:
            raise ValueError("bucket_largest is below bucket_minimum: no bucket index could be formed")
        if self.btc_dominance_jump <= 0 or self.usdt_dominance_jump <= 0:
            raise ValueError("a dominance jump is more than 0 percentage points")
        if self.dominance_jump_within_ms < 0:
            raise ValueError("dominance_jump_within_ms must not be negative")


@dataclass(frozen=True)
class Config:
    """Everything that can be set; the defaults are the specs'."""

    bar: BarConfig = field(default_factory=BarConfig)
    drivers: DriversConfig = field(default_factory=DriversConfig)
    trend: TrendConfig = field(default_factory=TrendConfig)
    posture: PostureConfig = field(default_factory=PostureConfig)
    position: PositionConfig = field(default_factory=PositionConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)
