"""The scores as weighted terms whose left-to-right sum *is* the score (uptrend-engine.md 5, replay.md 7).

Each function reads its operands from a record's float vector, writes its terms in table order and returns their sum;
a multiplier or a clip is one more term, new - old. The engine and the explanation of a stored record call the same
compiled function, so an explained score sums to the stored one bit for bit.
"""

from math import exp

from lotus.columns import F64
from lotus.compiled import lean
from lotus.indicators.formulas import clip, logistic
from lotus.trend.params import DiscountParams, OverextensionParams, StrengthParams, ThresholdParams
from lotus.trend.row import (
    ADX,
    ADX_SLOPE,
    ATR,
    ATR_MEAN20,
    DSEP_FAST,
    DSEP_MID,
    DSLOPE_144,
    EMA_20,
    EMA_60,
    EMA_144,
    EMA_250,
    EMA_333,
    PRICE,
    RSI_SLOPE,
    SCORE_EDX,
    SLOPE_20,
    VO_Z,
)

TERMS_MAX = 10


@lean
def atr_ratio(row: F64) -> float:
    """atr / atr_mean20, 1 where the mean is 0 (3.3)."""
    ratio: float = row[ATR] / row[ATR_MEAN20] if row[ATR_MEAN20] != 0.0 else 1.0
    return ratio


@lean
def added(terms: F64, count: int, total: float, value: float) -> float:
    """Write the term that turns `total` into `value` at place `count`; the new total."""
    change: float = value - total
    terms[count] = change
    return total + change


@lean
def strength_terms(params: StrengthParams, row: F64, terms: F64) -> float:
    """TS from two terms: the halves of RSI slope and ADX slope (5.1)."""
    terms[0] = params.rsi_weight * clip((row[RSI_SLOPE] + params.rsi_offset) / params.rsi_span, 0.0, 1.0)
    terms[1] = params.adx_weight * clip((row[ADX_SLOPE] + params.adx_offset) / params.adx_span, 0.0, 1.0)
    score: float = terms[0] + terms[1]
    return score


@lean
def overextension_terms(params: OverextensionParams, row: F64, in_s3: bool, terms: F64) -> float:
    """OX from ten terms: the eight lines of the table, decay (0 in S2), clip (5.3)."""
    p, atr, scales = row[PRICE], row[ATR], params.scales
    terms[0] = _rail(p - row[EMA_20], scales[0] * atr)
    terms[1] = _rail(p - row[EMA_60], scales[1] * atr)
    terms[2] = _rail(p - row[EMA_144], scales[2] * atr)
    terms[3] = _rail(p - row[EMA_250], scales[3] * atr)
    terms[4] = logistic(row[DSEP_FAST] / scales[4])
    terms[5] = logistic(row[DSEP_MID] / scales[5])
    terms[6] = logistic((atr_ratio(row) - 1.0) / scales[6])
    terms[7] = logistic(-row[SLOPE_20] / scales[7])
    total = 0.0
    for k in range(8):
        terms[k] *= params.weights[k]
        total += terms[k]
    factor = 1.0
    if in_s3:
        decay = clip(row[SCORE_EDX] - params.decay_from, 0.0, params.decay_span)
        factor = 1.0 + params.decay_gain * decay
    total = added(terms, 8, total, total * factor)
    return added(terms, 9, total, clip(total, 0.0, 1.0))


@lean
def _rail(distance: float, scale: float) -> float:
    return logistic(distance / scale) if scale > 0.0 else 0.0


@lean
def discount_terms(params: DiscountParams, row: F64, terms: F64) -> float:
    """DX from six terms: location, exhaustion, relief, curl, decay, clip (5.6)."""
    terms[0] = params.location_weight * location(params, row)
    terms[1] = params.exhaustion_weight * logistic(-row[VO_Z])
    terms[2] = params.relief_weight * relief(params, row)
    terms[3] = params.curl_weight if row[DSLOPE_144] > 0.0 else 0.0
    total = terms[0] + terms[1] + terms[2] + terms[3]
    decay = clip(row[SCORE_EDX] - params.decay_from, 0.0, params.decay_span)
    total = added(terms, 4, total, total * (1.0 - params.decay_gain * decay))
    return added(terms, 5, total, clip(total, 0.0, 1.0))


@lean
def location(params: DiscountParams, row: F64) -> float:
    """How close the price is to EMA333 inside the hall up to EMA144; 0 without a hall."""
    p, floor = row[PRICE], row[EMA_333]
    hall = row[EMA_144] - floor
    if hall <= 0.0:
        return 0.0
    narrow = logistic((params.comp_middle - hall / p) / params.comp_scale)
    x = clip((p - floor) / hall, 0.0, 1.0)
    return exp(-params.location_decay * x) * (1.0 + params.comp_gain * narrow)


@lean
def relief(params: DiscountParams, row: F64) -> float:
    """How far volatility and momentum have let go."""
    calm = logistic((atr_ratio(row) - params.atr_middle) / params.atr_scale)
    rsi = logistic(row[RSI_SLOPE] / params.rsi_scale)
    adx = logistic(row[ADX_SLOPE] / params.adx_scale) if row[ADX] >= params.adx_floor else 0.0
    momentum = params.rsi_weight * rsi + params.adx_weight * adx
    return params.atr_weight * calm + params.momentum_weight * momentum


@lean
def threshold_terms(params: ThresholdParams, row: F64, terms: F64) -> float:
    """Threshold of DX from four terms: start, suppression, position boost (negative eases), clip at 0 (5.7)."""
    edx = row[SCORE_EDX]
    terms[0] = params.start
    terms[1] = 0.0
    if edx >= params.decayed_from:
        terms[1] = params.decayed
    elif edx >= params.decaying_from:
        terms[1] = params.decaying_gain * (edx - params.decaying_from)
    terms[2] = -position_boost(params, row)
    total = terms[0] + terms[1] + terms[2]
    return added(terms, 3, total, max(0.0, total))


@lean
def position_boost(params: ThresholdParams, row: F64) -> float:
    """Easing of the threshold: positive near EMA333, negative near EMA144, 0 outside the open zone."""
    p, roof, floor = row[PRICE], row[EMA_144], row[EMA_333]
    if not floor < p < roof:
        return 0.0
    q = (roof - p) / (roof - floor)
    easing: float = params.at_ema333 * q - params.at_ema144 * (1.0 - q)
    return easing
