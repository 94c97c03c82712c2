"""Scores in plain floats, word for word from uptrend-engine.md 5.1-5.3, 5.6 and 5.7. Slow on purpose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.plain.indicators import clip, sg
from tests.plain.levels_plain import Level

OX_WEIGHTS = {
    "rail_fast": 0.35,
    "rail_mid": 0.20,
    "rail_144": 0.10,
    "rail_250": 0.10,
    "exp_fast": 0.10,
    "exp_mid": 0.05,
    "atr_surge": 0.05,
    "fragility": 0.05,
}


@dataclass(frozen=True)
class Operands:
    """What the scores of one bar read. `emas` is keyed by span."""

    price: float
    emas: Mapping[int, float]
    atr: float
    atr_mean20: float
    dsep_fast: float = 0.0
    dsep_mid: float = 0.0
    slope_20: float = 0.0
    vo_z: float = 0.0
    rsi_slope: float = 0.0
    adx: float = 0.0
    adx_slope: float = 0.0
    dslope_144: float = 0.0

    @property
    def atr_ratio(self) -> float:
        """atr / atr_mean20, 1 where the mean is 0 (3.3)."""
        return self.atr / self.atr_mean20 if self.atr_mean20 != 0 else 1.0


def ts_score(rsi_slope: float, adx_slope: float) -> float:
    """TS (5.1)."""
    return (clip((rsi_slope + 5) / 10, 0.0, 1.0) + clip((adx_slope + 2) / 4, 0.0, 1.0)) / 2


def sr_boost(levels: Sequence[Level], anchor: float, atr: float) -> float:
    """Boost of the levels near an anchor (5.2)."""
    if atr <= 0:
        return 0.0
    best = 0.0
    for level in levels:
        d = abs(level.price - anchor)
        if d <= 1.0 * atr:
            best = max(best, 0.25 * (level.strength / 20) * (1 - d / atr))
    return min(0.25, best)


def ox_terms(of: Operands) -> dict[str, float]:
    """The unweighted terms of OX (5.3)."""
    p, e, atr = of.price, of.emas, of.atr
    terms = dict.fromkeys(OX_WEIGHTS, 0.0)
    if atr > 0:
        terms["rail_fast"] = sg((p - e[20]) / (1.5 * atr))
        terms["rail_mid"] = sg((p - e[60]) / (2.0 * atr))
        terms["rail_144"] = sg((p - e[144]) / (1.5 * atr))
        terms["rail_250"] = sg((p - e[250]) / (2.0 * atr))
    terms["exp_fast"] = sg(of.dsep_fast / 0.0015)
    terms["exp_mid"] = sg(of.dsep_mid / 0.0010)
    terms["atr_surge"] = sg(of.atr_ratio - 1)
    terms["fragility"] = sg(-of.slope_20 / 0.0008)
    return terms


def ox_base(of: Operands) -> float:
    """OX before the factor of S3 and the clip (5.3)."""
    total = 0.0
    for name, term in ox_terms(of).items():
        total += OX_WEIGHTS[name] * term
    return total


def ox_score(of: Operands, edx: float | None) -> float:
    """OX of S2 (edx None) or S3 (5.3)."""
    base = ox_base(of)
    if edx is not None:
        base *= 1 + 0.33 * clip(edx - 0.5, 0.0, 0.5)
    return clip(base, 0.0, 1.0)


def dx_terms(of: Operands) -> dict[str, float]:
    """The parts of DX (5.6)."""
    p, e333 = of.price, of.emas[333]
    hall = of.emas[144] - e333
    comp_mult = sg((0.03 - hall / p) / 0.02)
    x = clip((p - e333) / hall, 0.0, 1.0) if hall > 0 else math.nan
    atr_relief = sg((of.atr_ratio - 0.9) / 0.05)
    rsi_relief = sg(of.rsi_slope / 0.5)
    adx_relief = sg(of.adx_slope / 0.3) if of.adx >= 18 else 0.0
    return {
        "x": x,
        "comp_mult": comp_mult,
        "location": math.exp(-3 * x) * (1 + 0.3 * comp_mult) if hall > 0 else 0.0,
        "exhaustion": sg(-of.vo_z),
        "atr_relief": atr_relief,
        "rsi_relief": rsi_relief,
        "adx_relief": adx_relief,
        "relief": 0.5 * atr_relief + 0.5 * (0.5 * rsi_relief + 0.5 * adx_relief),
        "curl": 1.0 if of.dslope_144 > 0 else 0.0,
    }


def dx_score(of: Operands, edx: float) -> float:
    """DX (5.6)."""
    t = dx_terms(of)
    base = 0.45 * t["location"] + 0.25 * t["exhaustion"] + 0.25 * t["relief"] + 0.05 * t["curl"]
    return clip(base * (1 - 0.5 * clip(edx - 0.6, 0.0, 0.4)), 0.0, 1.0)


def dx_threshold(of: Operands, edx: float) -> tuple[float, float, float]:
    """Threshold of DX with its suppression and position boost (5.7)."""
    suppression = 0.15 if edx >= 0.7 else 0.5 * (edx - 0.5) if edx >= 0.5 else 0.0
    e144, e333 = of.emas[144], of.emas[333]
    position_boost = 0.0
    if e333 < of.price < e144:
        q = (e144 - of.price) / (e144 - e333)
        position_boost = 0.10 * q - 0.05 * (1 - q)
    return max(0.0, 0.60 + suppression - position_boost), suppression, position_boost
