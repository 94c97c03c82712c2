"""The constants of the engine as compiled code reads them: flat, built once from `TrendConfig`."""

from dataclasses import astuple
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lotus.columns import F64
from lotus.indicators.ema import ema_alpha
from lotus.indicators.volume_z import VolumeZParams, volume_z_params
from lotus.levels import LevelsParams, levels_params
from lotus.trend.config import BuyGate, OverextensionConfig, TrendConfig, Weighted
from lotus.trend.edx import EdxParams, edx_params


class ReadingParams(NamedTuple):
    """Sizes and weights of the indicators."""

    alphas: F64  # float64[6], of the EMAs, short to long
    slope_span: int
    delta_lag: int
    separation_lag: int
    period: int
    atr_mean: int


class StrengthParams(NamedTuple):
    """TS (5.1)."""

    rsi_offset: float
    rsi_span: float
    rsi_weight: float
    adx_offset: float
    adx_span: float
    adx_weight: float


class OverextensionParams(NamedTuple):
    """OX (5.3): weights and scales in table order."""

    weights: F64
    scales: F64
    decay_gain: float
    decay_from: float
    decay_span: float


class DiscountParams(NamedTuple):
    """DX (5.6)."""

    location_weight: float
    exhaustion_weight: float
    relief_weight: float
    curl_weight: float
    location_decay: float
    comp_gain: float
    comp_middle: float
    comp_scale: float
    atr_middle: float
    atr_weight: float
    atr_scale: float
    momentum_weight: float
    rsi_weight: float
    rsi_scale: float
    adx_weight: float
    adx_scale: float
    adx_floor: float
    decay_gain: float
    decay_from: float
    decay_span: float


class ThresholdParams(NamedTuple):
    """Threshold of DX (5.7)."""

    start: float
    decayed_from: float
    decayed: float
    decaying_from: float
    decaying_gain: float
    at_ema333: float
    at_ema144: float


class BuyParams(NamedTuple):
    """Gates shared by the buy flags (7.1)."""

    slope_fast_min: float
    slope_slow_min: float
    ts_threshold: float


class GateParams(NamedTuple):
    """Flags and the levels they look at (5.2, 7.1, 8)."""

    s1: BuyParams
    s2: BuyParams
    s3: BuyParams
    s1_halo: float
    s2_halo: float
    ox_trim: float
    trim_halo: float
    boost_max: float
    strength_norm: float
    boost_halo: float
    extreme_min_age: int


class TrendParams(NamedTuple):
    """All of it."""

    min_bars: int
    readings: ReadingParams
    volume: VolumeZParams
    strength: StrengthParams
    ox: OverextensionParams
    dx: DiscountParams
    threshold: ThresholdParams
    gates: GateParams
    levels: LevelsParams
    edx: EdxParams


@lru_cache
def trend_params(config: TrendConfig) -> TrendParams:
    """The constants of a configuration for compiled code."""
    return TrendParams(
        config.min_bars,
        ReadingParams(
            np.array([ema_alpha(span) for span in config.ema_spans_bars]),
            config.slope_span_bars,
            config.slope_delta_lag_bars,
            config.separation_lag_bars,
            config.period_bars,
            config.atr_mean_bars,
        ),
        volume_z_params(config.volume),
        strength_params(config),
        overextension_params(config.ox),
        discount_params(config),
        ThresholdParams(*astuple(config.threshold)),
        gate_params(config),
        levels_params(config.levels),
        edx_params(config.edx),
    )


def strength_params(config: TrendConfig) -> StrengthParams:
    """TS."""
    ts = config.strength
    return StrengthParams(ts.rsi_offset, ts.rsi.scale, ts.rsi.weight, ts.adx_offset, ts.adx.scale, ts.adx.weight)


@lru_cache
def overextension_params(config: OverextensionConfig) -> OverextensionParams:
    """OX; the lines of the table in the order in which the configuration declares them."""
    lines = [getattr(config, name) for name in OX_LINES]
    return OverextensionParams(
        np.array([line.weight for line in lines]),
        np.array([line.scale for line in lines]),
        config.decay_gain,
        config.decay_from,
        config.decay_span,
    )


OX_LINES = tuple(name for name, value in vars(OverextensionConfig()).items() if isinstance(value, Weighted))


def discount_params(config: TrendConfig) -> DiscountParams:
    """DX."""
    dx = config.dx
    return DiscountParams(
        dx.location_weight,
        dx.exhaustion_weight,
        dx.relief_weight,
        dx.curl_weight,
        dx.location_decay,
        dx.comp_gain,
        dx.comp_middle,
        dx.comp_scale,
        dx.atr_middle,
        dx.atr.weight,
        dx.atr.scale,
        dx.momentum_weight,
        dx.rsi.weight,
        dx.rsi.scale,
        dx.adx.weight,
        dx.adx.scale,
        dx.adx_floor,
        dx.decay_gain,
        dx.decay_from,
        dx.decay_span,
    )


def gate_params(config: TrendConfig) -> GateParams:
    """Flags."""
    return GateParams(
        _buy(config.s1),
        _buy(config.s2),
        _buy(config.s3),
        config.s1_halo_atr,
        config.s2_halo_atr,
        config.ox_trim,
        config.trim_halo_atr,
        config.boost.boost_max,
        config.boost.strength_norm,
        config.boost.halo_atr,
        config.extreme_min_age_bars,
    )


def _buy(gate: BuyGate) -> BuyParams:
    return BuyParams(gate.slope_fast_min, gate.slope_slow_min, gate.ts_threshold)
