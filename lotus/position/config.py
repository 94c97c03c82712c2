"""Every number of scaling in and out, each stated once (scaling.md 14, 15; replay.md 6)."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotus.kernel import number
from lotus.paper import ONE, ZERO
from lotus.records import Mode

DX_ATR_MULT_RANGE = (2.0, 12.0)


class TrimPolicy(StrEnum):
    """What multiplies a trim (scaling.md 4, 15)."""

    SEED_CROWDING = "seed_crowding"
    EXTRACTION_CURVE = "extraction_curve"


class LevelMemory(StrEnum):
    """Which trimmed levels stay closed to another trim (uptrend-engine.md 8)."""

    LAST = "last"
    CYCLE = "cycle"


class PoolOnFullExit(StrEnum):
    """What a full exit does to the trim pool (scaling.md 8.2, 15)."""

    CLOSE = "close"
    KEEP = "keep"


class BlockScope(StrEnum):
    """How far a block reaches (scaling.md 10.4, 15)."""

    ONE_TIMEFRAME = "token_timeframe"
    ALL_TIMEFRAMES = "token"


@dataclass(frozen=True)
class ByMode:
    """One share per mode, each in 0..1, rising with the mode."""

    patient: Decimal
    normal: Decimal
    aggressive: Decimal

    def __post_init__(self) -> None:
        """Check order and range."""
        if not ZERO <= self.patient <= self.normal <= self.aggressive <= ONE:
            raise ValueError(
                "shares must satisfy 0 <= patient <= normal <= aggressive <= 1, "
                f"got {self.patient}, {self.normal}, {self.aggressive}"
            )

    def of(self, mode: Mode) -> Decimal:
        """The share of a mode."""
        return (self.patient, self.normal, self.aggressive)[mode]


def _by_mode(patient: str, normal: str, aggressive: str) -> ByMode:
    return ByMode(Decimal(patient), Decimal(normal), Decimal(aggressive))


@dataclass(frozen=True)
class SizingConfig:
    """What the allocator grants until it exists: the same for every (token, venue, timeframe)."""

    cap_usd: Decimal = number(Decimal(1000), "replay.md 6", "USD")

    def __post_init__(self) -> None:
        """Check the sign."""
        if self.cap_usd < ZERO:
            raise ValueError(f"cap_usd must not be negative, got {self.cap_usd}")


@dataclass(frozen=True)
class DxConfig:
    """Discount buys: `max_buys` equal parts of `total_frac` of the pool, rungs `atr_mult` ATR apart."""

    max_buys: int = number(3, "scaling.md 4", "buys")
    total_frac: ByMode = number(_by_mode("0.10", "0.30", "0.60"), "scaling.md 4", "share of pool.basis")
    atr_mult: float = number(6.0, "scaling.md 7.3", "ATR")

    def __post_init__(self) -> None:
        """Check the bounds of scaling.md 7.3."""
        low, high = DX_ATR_MULT_RANGE
        if not low <= self.atr_mult <= high:
            raise ValueError(f"dx.atr_mult must lie in [{low}, {high}], got {self.atr_mult}")
        if self.max_buys < 1:
            raise ValueError(f"dx.max_buys must be at least 1, got {self.max_buys}")


@dataclass(frozen=True)
class ReclaimConfig:
    """Re-buy after an emergency exit, with its optional confirmation."""

    frac: ByMode = number(_by_mode("0.10", "0.30", "0.60"), "scaling.md 4", "share of exit_value")
    hold_bars: int = number(1, "scaling.md 7.4", "bars")
    min_distance_atr: float = number(0.0, "scaling.md 7.4", "ATR")

    def __post_init__(self) -> None:
        """Check the signs."""
        if self.hold_bars < 1 or not self.min_distance_atr >= 0.0:
            raise ValueError(
                "reclaim needs hold_bars >= 1 and min_distance_atr >= 0, "
                f"got {self.hold_bars} and {self.min_distance_atr}"
            )

    @property
    def immediate(self) -> bool:
        """No confirmation: the re-buy happens on the bar of the reclaim or never (replay.md 6)."""
        return self.hold_bars == 1 and self.min_distance_atr == 0.0


@dataclass(frozen=True)
class ExtractionStep:
    """Multiplier of a trim while sells / buys of the cycle is below `below` (scaling.md 15)."""

    below: Decimal
    multiplier: Decimal


@dataclass(frozen=True)
class TrimConfig:
    """Trims: shares, crowding, the gate of uptrend-engine.md 8 and its named policies.

    extraction      steps of `extraction_curve` in rising order; from the last one's end on, `extraction_rest`
    """

    frac: ByMode = number(_by_mode("0.15", "0.30", "0.60"), "scaling.md 4", "share of qty")
    crowding_threshold: Decimal = number(Decimal("0.8"), "scaling.md 4", "deployed ratio")
    crowding_tolerance: Decimal = number(Decimal("1e-9"), "scaling.md 4", "deployed ratio")
    crowding_mult: Decimal = number(Decimal("1.5"), "scaling.md 4", "times")
    max_frac: Decimal = number(Decimal("0.9"), "scaling.md 4", "share of qty")
    cooldown_bars: int = number(3, "uptrend-engine.md 8", "bars")
    level_change: float = number(0.01, "uptrend-engine.md 8", "share of price")
    policy: TrimPolicy = number(TrimPolicy.SEED_CROWDING, "scaling.md 15")
    extraction: tuple[ExtractionStep, ...] = number(
        (
            ExtractionStep(Decimal("0.5"), Decimal("1.5")),
            ExtractionStep(Decimal(1), Decimal(1)),
            ExtractionStep(Decimal(3), Decimal("0.3")),
        ),
        "scaling.md 15",
        "sells / buys",
    )
    extraction_rest: Decimal = number(Decimal("0.1"), "scaling.md 15", "times")
    cooldown_bypass_on_new_level: bool = number(False, "scaling.md 15")
    level_memory: LevelMemory = number(LevelMemory.LAST, "uptrend-engine.md 8")

    def __post_init__(self) -> None:
        """Check ranges and the order of the steps."""
        if not ZERO < self.max_frac <= ONE:
            raise ValueError(f"trim.max_frac must lie in (0, 1], got {self.max_frac}")
        if self.cooldown_bars < 0 or not self.level_change >= 0.0:
            raise ValueError("trim.cooldown_bars and trim.level_change must not be negative")
        edges = [step.below for step in self.extraction]
        if edges != sorted(edges):
            raise ValueError(f"trim.extraction steps must rise, got {edges}")


@dataclass(frozen=True)
class BlockConfig:
    """What a failed attempt blocks."""

    scope: BlockScope = number(BlockScope.ONE_TIMEFRAME, "scaling.md 10.4")
    requires_loss: bool = number(False, "scaling.md 15")


@dataclass(frozen=True)
class PositionConfig:
    """All numbers and named policies of a position.

    s2_flat_legacy   use `s2_flat_legacy_frac` for flat S2 entries
    dust_usd         a position worth less counts as flat, > 0
    min_notional_usd smaller orders are not sent, >= 0
    """

    sizing: SizingConfig = number(SizingConfig(), "replay.md 6")
    s1_frac: ByMode = number(_by_mode("0.30", "0.60", "0.90"), "scaling.md 4", "share of remaining")
    s2_flat_frac: ByMode = number(_by_mode("0.10", "0.30", "0.60"), "scaling.md 4", "share of remaining")
    s2_flat_legacy: bool = number(False, "scaling.md 15")
    s2_flat_legacy_frac: ByMode = number(_by_mode("0.05", "0.15", "0.25"), "scaling.md 15", "share of remaining")
    s2_pool_frac: ByMode = number(_by_mode("0.10", "0.30", "0.60"), "scaling.md 4", "share of pool.basis")
    dx: DxConfig = number(DxConfig(), "scaling.md 7.3")
    reclaim: ReclaimConfig = number(ReclaimConfig(), "scaling.md 7.4")
    trim: TrimConfig = number(TrimConfig(), "scaling.md 8.1")
    pool_on_full_exit: PoolOnFullExit = number(PoolOnFullExit.CLOSE, "scaling.md 8.2")
    blocks: BlockConfig = number(BlockConfig(), "scaling.md 10")
    s1_requires_prior_s2: bool = number(False, "scaling.md 15")
    dust_usd: Decimal = number(ONE, "scaling.md 2", "USD")
    min_notional_usd: Decimal = number(ONE, "scaling.md 4", "USD")

    def __post_init__(self) -> None:
        """Check the signs."""
        if not self.dust_usd > ZERO or self.min_notional_usd < ZERO:
            raise ValueError(
                "dust_usd must be positive and min_notional_usd not negative, "
                f"got {self.dust_usd} and {self.min_notional_usd}"
            )
