"""Numbers taken apart: the terms of a score, of A and of E, added again and compared bit for bit (replay.md 7).

Nothing is recomputed from bars: the terms come from the stored operands by the formulas that made the numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lotus.config import Config
from lotus.posture.drivers import Driver, Horizon
from lotus.records import Trend
from lotus.trend import scores
from lotus.trend.scores import Terms

Told = dict[str, Any]
Source = Callable[[Config, Trend], Terms]
SCORES: Mapping[str, Source] = {
    "score_ts": lambda config, trend: scores.ts_terms(config.trend, trend, 0),
    "score_ox": lambda config, trend: scores.ox_terms(config.trend, trend, 0),
    "score_dx": lambda config, trend: scores.dx_terms(config.trend, trend, 0),
    "score_edx": lambda config, trend: scores.edx_terms(config.trend, trend, 0),
    "dx_threshold": lambda config, trend: scores.dx_threshold_terms(config.trend, trend, 0),
    "tsb": lambda config, trend: scores.tsb_terms(config.trend, trend, 0),
}


def score_sums(config: Config, trend: Trend) -> dict[str, Told]:
    """Every score of a record of one row that was evaluated."""
    sums = {}
    for name, source in SCORES.items():
        terms, stored = source(config, trend), float(getattr(trend, name)[0])
        if not np.isnan(stored):
            sums[name] = _sum([{"name": term.name, "value": term.value} for term in terms], stored)
    return sums


def posture_sums(config: Config, row: Mapping[str, Any], terms: list[Told]) -> dict[str, Told]:
    """A and E of a posture row: base, then its terms in the order in which they sum (posture.md 11).

    A term of a driver is itself a product, scale x role x driver x timeframe, and has to come out exactly too.
    """
    a = [{"name": "base", "value": config.posture.base.a}]
    e = [{"name": "base", "value": config.posture.base.e}]
    products = True
    for term in terms:
        if term.get("term") == "stale":
            continue
        told = _driver_term(config, term) if "driver" in term else {"name": term["term"]}
        counts = not term.get("suppressed")
        a.append({**told, "value": term["dA"] if counts else 0.0})
        e.append({**told, "value": term["dE"] if counts else 0.0})
        products = products and _is_product(config, term)
    sums = {"a": _sum(a, row["a"]), "e": _sum(e, row["e"])}
    for told in sums.values():
        told["exact"] = told["exact"] and products
    return sums


def _sum(terms: list[Told], stored: float) -> Told:
    added = 0.0
    for term in terms:
        added += term["value"]
        term["sum"] = added
    return {"value": stored, "exact": added == stored, "terms": terms}


def _driver_term(config: Config, term: Told) -> Told:
    """Which bar of which driver, since when: times are ms UTC."""
    driver, horizon = Driver(term["driver"]), Horizon(term["horizon"])
    timeframe = config.posture.horizons.of(horizon)
    return {
        "name": f"{term['driver']} {term['flag']} {timeframe.value}",
        "series": driver.series("*"),
        "timeframe": timeframe.value,
        "suppressed": term["suppressed"],
        "weights": {"role": term["role_weight"], "driver": term["driver_weight"], "timeframe": term["tf_weight"]},
        "since": term["since"],
        "bar": term["source_bar"],
        "known_at": term["source_bar"] + timeframe.ms,
    }


def _is_product(config: Config, term: Told) -> bool:
    if "driver" not in term:
        return True
    units = term["role_weight"] * term["driver_weight"] * term["tf_weight"]
    scale = config.posture.k
    return bool(abs(term["dA"]) == scale.a * units and abs(term["dE"]) == scale.e * units)
