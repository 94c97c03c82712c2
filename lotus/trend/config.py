"""Every constant of the trend engine, once (uptrend-engine.md 3, 5, 7, 8 and 10).

The levels and EDX keep theirs beside their own kernels. The learning layer may tune only the three `BuyGate`s, the
two halos of S1 and S2 and `threshold.start`; everything else is structural.
"""

from dataclasses import dataclass, fields

from lotus.indicators.volume_z import VolumeZConfig
from lotus.kernel import number
from lotus.levels import LevelsConfig
from lotus.trend.edx import EdxConfig

EMAS = 6


@dataclass(frozen=True)
class Weighted:
    """One line of a score's table: its weight, and the scale its operand is divided by."""

    weight: float
    scale: float

    def __post_init__(self) -> None:
        """A term never counts negative, and its scale is a divisor."""
        if self.weight < 0.0 or self.scale <= 0.0:
            raise ValueError(f"a weight must be at least 0 and a scale above 0: {self}")


@dataclass(frozen=True)
class StrengthConfig:
    """TS: each half is clip((slope + offset) / span, 0, 1) (uptrend-engine.md 5.1)."""

    rsi_offset: float = number(5.0, "uptrend-engine.md 5.1", "points per bar")
    adx_offset: float = number(2.0, "uptrend-engine.md 5.1", "points per bar")
    rsi: Weighted = number(Weighted(0.5, 10.0), "uptrend-engine.md 5.1", "weight, points per bar")
    adx: Weighted = number(Weighted(0.5, 4.0), "uptrend-engine.md 5.1", "weight, points per bar")


@dataclass(frozen=True)
class BoostConfig:
    """Support or resistance near the anchor of a buy gate (uptrend-engine.md 5.2)."""

    boost_max: float = number(0.25, "uptrend-engine.md 10", "score")
    strength_norm: float = number(20.0, "uptrend-engine.md 10", "touches")
    halo_atr: float = number(1.0, "uptrend-engine.md 10", "atr")

    def __post_init__(self) -> None:
        """Norm and halo are divisors."""
        if self.boost_max < 0.0 or self.strength_norm <= 0.0 or self.halo_atr <= 0.0:
            raise ValueError(f"boost: boost_max >= 0, strength_norm > 0 and halo_atr > 0: {self}")


@dataclass(frozen=True)
class OverextensionConfig:
    """OX: eight weighted logistic terms, in S3 raised by decay (uptrend-engine.md 5.3)."""

    rail_fast: Weighted = number(Weighted(0.35, 1.5), "uptrend-engine.md 5.3", "weight, atr")
    rail_mid: Weighted = number(Weighted(0.20, 2.0), "uptrend-engine.md 5.3", "weight, atr")
    rail_144: Weighted = number(Weighted(0.10, 1.5), "uptrend-engine.md 5.3", "weight, atr")
    rail_250: Weighted = number(Weighted(0.10, 2.0), "uptrend-engine.md 5.3", "weight, atr")
    exp_fast: Weighted = number(Weighted(0.10, 0.0015), "uptrend-engine.md 5.3", "weight, share")
    exp_mid: Weighted = number(Weighted(0.05, 0.0010), "uptrend-engine.md 5.3", "weight, share")
    atr_surge: Weighted = number(Weighted(0.05, 1.0), "uptrend-engine.md 5.3", "weight, ratio above 1")
    fragility: Weighted = number(Weighted(0.05, 0.0008), "uptrend-engine.md 5.3", "weight, share per bar")
    decay_gain: float = number(0.33, "uptrend-engine.md 5.3")
    decay_from: float = number(0.5, "uptrend-engine.md 5.3", "EDX")
    decay_span: float = number(0.5, "uptrend-engine.md 5.3", "EDX")


@dataclass(frozen=True)
class DiscountConfig:
    """DX: location in the hall between EMA333 and EMA144, exhaustion, relief, curl (uptrend-engine.md 5.6)."""

    location_weight: float = number(0.45, "uptrend-engine.md 5.6")
    exhaustion_weight: float = number(0.25, "uptrend-engine.md 5.6")
    relief_weight: float = number(0.25, "uptrend-engine.md 5.6")
    curl_weight: float = number(0.05, "uptrend-engine.md 5.6")
    location_decay: float = number(3.0, "uptrend-engine.md 5.6", "per hall")
    comp_gain: float = number(0.3, "uptrend-engine.md 5.6")
    comp_middle: float = number(0.03, "uptrend-engine.md 5.6", "share of price")
    comp_scale: float = number(0.02, "uptrend-engine.md 5.6", "share of price")
    atr_middle: float = number(0.9, "uptrend-engine.md 5.6", "atr over its mean")
    atr: Weighted = number(Weighted(0.5, 0.05), "uptrend-engine.md 5.6", "weight, atr over its mean")
    momentum_weight: float = number(0.5, "uptrend-engine.md 5.6")
    rsi: Weighted = number(Weighted(0.5, 0.5), "uptrend-engine.md 5.6", "weight, points per bar")
    adx: Weighted = number(Weighted(0.5, 0.3), "uptrend-engine.md 5.6", "weight, points per bar")
    adx_floor: float = number(18.0, "uptrend-engine.md 10", "points")
    decay_gain: float = number(0.5, "uptrend-engine.md 5.6")
    decay_from: float = number(0.6, "uptrend-engine.md 5.6", "EDX")
    decay_span: float = number(0.4, "uptrend-engine.md 5.6", "EDX")


@dataclass(frozen=True)
class ThresholdConfig:
    """What DX has to reach (uptrend-engine.md 5.7)."""

    start: float = number(0.60, "uptrend-engine.md 10", "score")
    decayed_from: float = number(0.7, "uptrend-engine.md 5.7", "EDX")
    decayed: float = number(0.15, "uptrend-engine.md 5.7", "score")
    decaying_from: float = number(0.5, "uptrend-engine.md 5.7", "EDX")
    decaying_gain: float = number(0.5, "uptrend-engine.md 5.7")
    at_ema333: float = number(0.10, "uptrend-engine.md 5.7", "score")
    at_ema144: float = number(0.05, "uptrend-engine.md 5.7", "score")


@dataclass(frozen=True)
class BuyGate:
    """Gates that every buy flag shares (uptrend-engine.md 7.1): the faster slope > or the slower >= its minimum; TS."""

    slope_fast_min: float = number(0.0, "uptrend-engine.md 7.1", "share per bar")
    slope_slow_min: float = number(0.0, "uptrend-engine.md 7.1", "share per bar")
    ts_threshold: float = number(0.60, "uptrend-engine.md 10", "score")


@dataclass(frozen=True)
class TrendConfig:
    """Constants of the trend engine.

    extreme_min_age_bars   named policy of section 8: `nearest_level` ignores ATH, ATL and the 0 and 1 retracements
                           that are younger; the flag `trim` sees them all the same
    """

    ema_spans_bars: tuple[int, ...] = number((20, 30, 60, 144, 250, 333), "uptrend-engine.md 10", "bars")
    min_bars: int = number(333, "uptrend-engine.md 10", "bars")
    slope_span_bars: int = number(10, "uptrend-engine.md 10", "bars")
    slope_delta_lag_bars: int = number(10, "uptrend-engine.md 10", "bars")
    separation_lag_bars: int = number(5, "uptrend-engine.md 3.7", "bars")
    period_bars: int = number(14, "uptrend-engine.md 10", "bars of ATR, RSI and ADX")
    atr_mean_bars: int = number(20, "uptrend-engine.md 10", "bars")
    volume: VolumeZConfig = VolumeZConfig()
    strength: StrengthConfig = StrengthConfig()
    boost: BoostConfig = BoostConfig()
    ox: OverextensionConfig = OverextensionConfig()
    dx: DiscountConfig = DiscountConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    s1: BuyGate = BuyGate()
    s2: BuyGate = BuyGate()
    s3: BuyGate = BuyGate()
    s1_halo_atr: float = number(1.0, "uptrend-engine.md 10", "atr")
    s2_halo_atr: float = number(0.5, "uptrend-engine.md 10", "atr")
    ox_trim: float = number(0.65, "uptrend-engine.md 10", "score")
    trim_halo_atr: float = number(1.0, "uptrend-engine.md 10", "atr")
    extreme_min_age_bars: int = number(0, "uptrend-engine.md 8", "bars")
    levels: LevelsConfig = LevelsConfig()
    edx: EdxConfig = EdxConfig()

    def __post_init__(self) -> None:
        """Check the spans, and that no halo or age is negative."""
        spans = self.ema_spans_bars
        if len(spans) != EMAS or list(spans) != sorted(set(spans)) or spans[0] < 1:
            raise ValueError(f"ema_spans_bars must be {EMAS} ascending positive spans: {spans}")
        lengths = [item.name for item in fields(self) if item.name.endswith("_bars") and item.name != "ema_spans_bars"]
        for name in lengths:
            if getattr(self, name) < (0 if name == "extreme_min_age_bars" else 1):
                raise ValueError(f"{name} is too small: {getattr(self, name)}")
        for name in ("s1_halo_atr", "s2_halo_atr", "trim_halo_atr"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
