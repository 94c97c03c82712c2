"""Which flags a bar could raise, the gates of each and by how much they passed or failed (uptrend-engine.md 7).

S1  s1_buy           zone around EMA60      slopes 60, 144     TS + boost
S2  s2_buy  trim     zone around EMA333     slopes 250, 333    TS + boost
S3  dx_buy  trim     between EMA333, EMA144 slopes 250, 333    TS + boost    DX    no emergency
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Told = dict[str, Any]


class _Buy(NamedTuple):
    flag: str
    anchors: tuple[str, ...]
    slopes: tuple[str, str]


_BUYS = {
    "s1": _Buy("s1_buy", ("ema_60",), ("slope_60", "slope_144")),
    "s2": _Buy("s2_buy", ("ema_333",), ("slope_250", "slope_333")),
    "s3": _Buy("dx_buy", ("ema_333", "ema_144"), ("slope_250", "slope_333")),
}
FLAG_OF = {
    "s1_entry": "s1_buy",
    "s2_pool": "s2_buy",
    "s2_flat": "s2_buy",
    "dx_buy": "dx_buy",
    "trim": "trim",
    "reclaim": "reclaimed_ema333",
    "emergency_exit": "emergency_exit",
    "structural_exit": "exit_position",
}
SCORES_OF = {"s1_buy": ("tsb",), "s2_buy": ("tsb",), "dx_buy": ("score_dx", "dx_threshold"), "trim": ("score_ox",)}


def flags_of(trend: Row) -> list[Told]:
    """The flags of a trend row: those whose gates were evaluated, and the others where they are raised."""
    told = []
    if trend["margin_tsb"] is not None:
        buy = _BUYS[trend["state"]]
        told.append(_flag(trend, buy.flag, [*_buy_gates(trend, buy)]))
    if trend["margin_ox"] is not None:
        told.append(_flag(trend, "trim", [*_trim_gates(trend)]))
    distance = {"price": trend["price"], "ema_333": trend["ema_333"]}
    below = trend["ema_333"] - trend["price"]
    if trend["flag_emergency_exit"] and not trend["flag_exit_position"]:
        told.append(_flag(trend, "emergency_exit", [_gate("below_ema333", below > 0, distance, below)]))
    if trend["flag_reclaimed_ema333"]:
        told.append(_flag(trend, "reclaimed_ema333", [_gate("above_ema333", below <= 0, distance, -below)]))
    if trend["flag_exit_position"]:
        reason = {"exit_reason": trend["exit_reason"]}
        told.append(_flag(trend, "exit_position", [_gate("state_left", True, reason, None)]))
    return told


def _flag(trend: Row, name: str, gates: list[Told]) -> Told:
    return {"flag": name, "raised": trend[f"flag_{name}"], "gates": gates}


def _buy_gates(trend: Row, buy: _Buy) -> Iterator[Told]:
    zone = {name: trend[name] for name in ("price", *buy.anchors, "atr")}
    yield _gate("zone", trend["zone_ok"], zone, trend["margin_zone"])
    slopes = {name: trend[name] for name in buy.slopes}
    yield _gate("slope", trend["slope_ok"], slopes, trend["margin_slope"])
    margin = trend["margin_tsb"]
    yield _gate("tsb", margin >= 0, {"tsb": trend["tsb"], "threshold": trend["tsb"] - margin}, margin)
    if buy.flag == "dx_buy":
        scores = {name: trend[name] for name in ("score_dx", "dx_threshold")}
        yield _gate("dx", trend["margin_dx"] >= 0, scores, trend["margin_dx"])
        emergency = trend["flag_emergency_exit"]
        yield _gate("no_emergency", not emergency, {"emergency_exit": emergency}, None)


def _trim_gates(trend: Row) -> Iterator[Told]:
    margin = trend["margin_ox"]
    yield _gate("ox", margin >= 0, {"score_ox": trend["score_ox"], "threshold": trend["score_ox"] - margin}, margin)
    margin = trend["margin_level"]
    near = {name: trend[name] for name in ("price", "nearest_level", "atr")}
    yield _gate("level", margin is not None and margin >= 0, near, margin)


def _gate(name: str, ok: bool, operands: Told, margin: float | None) -> Told:
    return {"gate": name, "ok": bool(ok), "operands": operands, "margin": margin}
