"""What a stored score is made of: named terms whose left-to-right double sum is the score, bit for bit (replay.md 7).

    total(ts_terms(config, trend, row)) == trend.score_ts[row]

and likewise OX, DX, its threshold, TSB and EDX. The terms come from the operands in the record, by the same compiled
formulas that made the score. An absent score has no terms.
"""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import numpy as np

from lotus.records import State, Trend
from lotus.trend.config import TrendConfig
from lotus.trend.edx import edx_terms as decay_terms
from lotus.trend.formulas import (
    TERMS_MAX,
    discount_terms,
    overextension_terms,
    strength_terms,
    threshold_terms,
)
from lotus.trend.params import OX_LINES, trend_params
from lotus.trend.row import float_row

TS_TERMS = ("rsi_slope", "adx_slope")
OX_TERMS = (*OX_LINES, "decay", "clip")
DX_TERMS = ("location", "exhaustion", "relief", "curl", "decay", "clip")
THRESHOLD_TERMS = ("start", "suppression", "position_boost", "clip")
TSB_TERMS = ("ts", "boost")


class Term(NamedTuple):
    """One addend of a score."""

    name: str
    value: float


Terms = tuple[Term, ...]


def total(terms: Sequence[Term]) -> float:
    """The score: the terms added from left to right."""
    value = 0.0
    for term in terms:
        value += term.value
    return value


def ts_terms(config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `score_ts` of one record (uptrend-engine.md 5.1)."""
    terms = np.zeros(TERMS_MAX)
    strength_terms(trend_params(config).strength, float_row(trend, row), terms)
    return _named(TS_TERMS, terms.tolist(), trend.score_ts[row])


def ox_terms(config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `score_ox` of one record in S2 or S3 (uptrend-engine.md 5.3); `decay` is 0 in S2."""
    terms = np.zeros(TERMS_MAX)
    in_s3 = bool(trend.state[row] == State.S3)
    overextension_terms(trend_params(config).ox, float_row(trend, row), in_s3, terms)
    return _named(OX_TERMS, terms.tolist(), trend.score_ox[row])


def dx_terms(config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `score_dx` of one record in S3 (uptrend-engine.md 5.6)."""
    terms = np.zeros(TERMS_MAX)
    discount_terms(trend_params(config).dx, float_row(trend, row), terms)
    return _named(DX_TERMS, terms.tolist(), trend.score_dx[row])


def dx_threshold_terms(config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `dx_threshold` of one record in S3 (uptrend-engine.md 5.7); the position boost counts negative."""
    terms = np.zeros(TERMS_MAX)
    threshold_terms(trend_params(config).threshold, float_row(trend, row), terms)
    return _named(THRESHOLD_TERMS, terms.tolist(), trend.dx_threshold[row])


def tsb_terms(_config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `tsb` of one record whose buy gate was evaluated (uptrend-engine.md 5.2)."""
    return _named(TSB_TERMS, [float(trend.score_ts[row]), float(trend.boost[row])], trend.tsb[row])


def edx_terms(config: TrendConfig, trend: Trend, row: int) -> Terms:
    """Terms of `score_edx` of one record in S3: weighted components and clip, or `neutral` while S3 is young (5.4)."""
    parts = [float(column[row]) for column in (trend.edx_slow, trend.edx_struct, trend.edx_part, trend.edx_comp)]
    named = decay_terms(config.edx, *parts)
    return _named([name for name, _ in named], [value for _, value in named], trend.score_edx[row])


def _named(names: Sequence[str], values: Sequence[float], score: float) -> Terms:
    if isnan(score):
        return ()
    return tuple(Term(name, value) for name, value in zip(names, values, strict=False))
