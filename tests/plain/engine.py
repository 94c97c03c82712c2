"""The whole trend engine in plain lists, word for word from uptrend-engine.md. Slow on purpose: the judge.

Indicators of a bar depend on nothing after it, so they are computed once over the series and read up to the bar;
only the first bars, where the front fill still changes, are computed on their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lotus.records import ExitReason, State, Trend
from lotus.timeframe import Timeframe
from tests.plain import indicators as plain
from tests.plain.edx_plain import Decay, edx
from tests.plain.levels_plain import Level, LevelBook, nearest
from tests.plain.scores import Operands, dx_score, dx_threshold, ox_score, sr_boost, ts_score

Emas = Mapping[int, float]
Record = dict[str, Any]

SPANS = (20, 30, 60, 144, 250, 333)
MIN_BARS = 333
SETTLED_BARS = 32  # from here on no front fill moves any more


@dataclass(frozen=True)
class Prefix:
    """Indicator lists of the bars known at a moment; longer ones are cut when they are read."""

    emas: dict[int, list[float]]
    atr: list[float]
    adx: list[float]
    rsi: list[float]

    @staticmethod
    def of(high: list[float], low: list[float], close: list[float]) -> "Prefix":
        """All lists over all these bars."""
        emas = {span: plain.ema(close, span) for span in SPANS}
        rsi = [plain.rsi(close, k) for k in range(len(close))]
        return Prefix(emas, plain.atr(high, low, close), plain.adx(high, low, close), rsi)


def fast_up(e: Emas) -> bool:
    """FAST_UP (6.1)."""
    return e[20] > e[60] and e[30] > e[60]


def bear(e: Emas) -> bool:
    """BEAR (6.1)."""
    return e[20] < e[60] and e[30] < e[60] and e[60] < e[144] < e[250] < e[333]


def bull(e: Emas) -> bool:
    """BULL (6.1)."""
    return fast_up(e) and e[60] > e[144] > e[250] > e[333]


def all_below(e: Emas) -> bool:
    """ALL_BELOW (6.1)."""
    return all(e[span] < e[333] for span in (20, 30, 60, 144, 250))


def transition(before: State | None, p: float, e: Emas) -> tuple[State, ExitReason | None]:
    """State after a bar, and why the position must be left if it must (6.3)."""
    match before:
        case None | State.S4:
            return (State.S0 if bear(e) else State.S4), None
        case State.S0:
            return (State.S1 if fast_up(e) and p > e[60] else State.S0), None
        case State.S1:
            if bear(e):
                return State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER
            return (State.S2 if p > e[333] else State.S1), None
        case State.S2:
            if p < e[333]:
                return State.S1, None
            return (State.S3 if bull(e) else State.S2), None
        case State.S3:
            if all_below(e):
                return State.S0, ExitReason.ALL_EMAS_BELOW_333
            return State.S3, None
    raise ValueError(f"{before} is never entered")


def exit_flags(
    before: State | None, state: State, p: float, e333: float, reason: ExitReason | None, was_emergency: bool
) -> dict[str, bool]:
    """emergency_exit, reclaimed_ema333 and exit_position (7.1)."""
    reclaimed = state == before == State.S3 and was_emergency and p >= e333
    return {
        "flag_emergency_exit": (state is State.S3 and p < e333) or reason is not None,
        "flag_reclaimed_ema333": reclaimed,
        "flag_exit_position": reason is not None,
    }


def buy_gate(state: State, before: State | None, r: Record) -> tuple[str, float, float, float] | None:
    """Flag, anchor, halo and larger slope of the buy gate that is evaluated on this bar, if any (7.1)."""
    if state is State.S1 and before in (State.S0, State.S1):
        return "flag_s1_buy", r["ema_60"], 1.0 * r["atr"], max(r["slope_60"], r["slope_144"])
    if state is State.S2 and before is State.S2:
        return "flag_s2_buy", r["ema_333"], 0.5 * r["atr"], max(r["slope_250"], r["slope_333"])
    if state is State.S3:
        return "flag_dx_buy", r["ema_333"], 0.0, max(r["slope_250"], r["slope_333"])
    return None


def judge_buy(r: Record, state: State, before: State | None, levels: Sequence[Level]) -> None:
    """Fill in the buy gate of the bar: flag, boost, margins (7.1, 9)."""
    gate = buy_gate(state, before, r)
    if gate is None:
        return
    flag, anchor, halo, r["margin_slope"] = gate
    p = r["price"]
    r["boost"] = sr_boost(levels, anchor, r["atr"])
    r["tsb"] = r["score_ts"] + r["boost"]
    r["margin_tsb"] = r["tsb"] - 0.60
    if state is State.S1:
        r["slope_ok"] = r["slope_60"] > 0 or r["slope_144"] >= 0
    else:
        r["slope_ok"] = r["slope_250"] > 0 or r["slope_333"] >= 0
    if state is State.S3:
        r["zone_ok"] = r["ema_333"] < p < r["ema_144"]
        r["margin_zone"] = min(p - r["ema_333"], r["ema_144"] - p)
        r["margin_dx"] = r["score_dx"] - r["dx_threshold"]
    else:
        r["zone_ok"] = abs(p - anchor) <= halo
        r["margin_zone"] = halo - abs(p - anchor)
    passed = r["zone_ok"] and r["slope_ok"] and r["tsb"] >= 0.60
    if state is State.S3:
        passed = passed and r["score_dx"] >= r["dx_threshold"] and not r["flag_emergency_exit"]
    r[flag] = r["flag_buy"] = passed


def judge_trim(r: Record, state: State, before: State | None, levels: Sequence[Level]) -> None:
    """Fill in the trim gate of the bar (7.1)."""
    if not (state is State.S3 or (state is State.S2 and before is State.S2)):
        return
    halo = 1.0 * r["atr"]
    r["margin_ox"] = r["score_ox"] - 0.65
    if levels:
        r["margin_level"] = halo - min(abs(level.price - r["price"]) for level in levels)
    near = any(abs(level.price - r["price"]) <= halo for level in levels)
    r["flag_trim"] = r["score_ox"] >= 0.65 and near


def blank(ts: int, t: int) -> Record:
    """A record with every column of `Trend`: nothing known, no flag raised."""
    record: Record = dict.fromkeys(Trend.layout())
    for name in record:
        if name.startswith("flag_") or name in ("zone_ok", "slope_ok", "history"):
            record[name] = False
    return record | {"ts": ts, "bar_index": t}


def measured(known: Prefix, close: Sequence[float], t: int) -> Record:
    """The columns of bar t that need no state (3, 5.1)."""
    emas = {span: known.emas[span][max(0, t - 19) : t + 1] for span in SPANS}
    ranges = known.atr[: t + 1]
    trend = known.adx[: t + 1] if t >= 15 else []
    r: Record = {"price": close[t], "atr": ranges[-1]}
    r["atr_mean20"] = plain.mean(ranges[-20:]) if t >= 19 else ranges[-1]
    r |= {f"ema_{span}": emas[span][-1] for span in SPANS}
    r |= {f"slope_{span}": plain.slope(emas[span]) for span in (20, 60, 144, 250, 333)}
    r["dslope_144"] = plain.slope_delta(emas[144])
    r["dsep_fast"] = plain.separation(emas[20], emas[60])
    r["dsep_mid"] = plain.separation(emas[60], emas[144])
    r["rsi"] = known.rsi[t]
    r["rsi_slope"] = plain.rsi_slope(known.rsi, t + 1)
    r["adx"] = trend[-1] if trend else 0.0
    r["adx_slope"] = plain.ls(trend, 10)
    r["score_ts"] = ts_score(r["rsi_slope"], r["adx_slope"])
    return r


def operands(r: Record) -> Operands:
    """What the scores read, from a record."""
    return Operands(
        price=r["price"],
        emas={span: r[f"ema_{span}"] for span in SPANS},
        atr=r["atr"],
        atr_mean20=r["atr_mean20"],
        dsep_fast=r["dsep_fast"],
        dsep_mid=r["dsep_mid"],
        slope_20=r["slope_20"],
        vo_z=0.0 if r["vo_z"] is None else r["vo_z"],
        rsi_slope=r["rsi_slope"],
        adx=r["adx"],
        adx_slope=r["adx_slope"],
        dslope_144=r["dslope_144"],
    )


def score(r: Record, state: State, decay: Decay | None) -> None:
    """Fill in OX, DX and EDX where the state has them (5.3-5.7)."""
    if state is State.S2:
        r["score_ox"] = ox_score(operands(r), None)
    if state is not State.S3:
        return
    r["score_edx"] = decay.value if decay else 0.5
    of = operands(r)
    r["score_ox"] = ox_score(of, r["score_edx"])
    r["score_dx"] = dx_score(of, r["score_edx"])
    r["dx_threshold"], r["dx_suppression"], r["dx_position_boost"] = dx_threshold(of, r["score_edx"])
    if decay:
        for name, value in decay.combined.items():
            r[f"edx_{name}"] = value
            r |= {f"edx_{name}_{w}": each for w, each in enumerate(decay.windows[name], start=1)}


def plain_trend(
    ts: Iterable[int],
    high: Iterable[float],
    low: Iterable[float],
    close: Iterable[float],
    volume: Iterable[float],
    volume_base: Iterable[float],
    timeframe: Timeframe | str,
) -> list[Record]:
    """One record per bar, keyed by the columns of `lotus.records.Trend`, None where a value is absent.

    ts           open times, ms UTC, ascending; arrays or lists of real bars only, all equally long
    volume       quote volume (VO_z); volume_base weighs the VWAP of EDX
    timeframe    decides when levels are rebuilt
    source       uptrend-engine.md, the whole file
    """
    times = [int(value) for value in ts]
    highs, lows, closes, quote, units = (
        [float(value) for value in column] for column in (high, low, close, volume, volume_base)
    )
    whole = Prefix.of(highs, lows, closes) if closes else None
    book = LevelBook(Timeframe(timeframe).ms)
    records: list[Record] = []
    for t in range(len(closes)):
        known = whole
        if known is None or t < SETTLED_BARS:
            known = Prefix.of(highs[: t + 1], lows[: t + 1], closes[: t + 1])
        r = blank(times[t], t) | measured(known, closes, t)
        r["nearest_level"] = nearest(book.levels, closes[t])
        r["levels_version"] = book.version
        if t + 1 >= MIN_BARS:
            _classify(r, records[-1])
            state = r["state"]
            if state is State.S3:
                r["vo_z"] = plain.volume_z(quote[max(0, t - 999) : t + 1])
                upto = slice(max(0, t - 500), t + 1)
                k = t - r["s3_start_index"]
                score(r, state, edx(highs[upto], lows[upto], closes[upto], units[upto], k))
            else:
                score(r, state, None)
            judge_trim(r, state, r["prev_state"], book.levels)
            judge_buy(r, state, r["prev_state"], book.levels)
        records.append(r)
        book.add(times[t], closes[t])
    return records


def _classify(r: Record, last: Record) -> None:
    before = last["state"]
    e = {span: r[f"ema_{span}"] for span in SPANS}
    state, reason = transition(before, r["price"], e)
    r |= {"state": state, "prev_state": before, "exit_reason": reason}
    r |= exit_flags(before, state, r["price"], e[333], reason, last["flag_emergency_exit"])
    if state is State.S3:
        r["s3_start_index"] = last["s3_start_index"] if before is State.S3 else r["bar_index"]
