r"""ZigZag pivots of a window, and the share that failed to rise: EDX component `struct` (uptrend-engine.md 5.5).

    high pivot           o                   o   provisional: the leg has not turned, its extreme is old enough
                        / \       o         /
                       /   \     / \       /     a leg turns when the close came back L * ATR, or the wick a little
               start  o     \   /   \     /      less; ATR taken at the extreme, the extreme 3 bars old or older
    low pivot                \ /     \   /       and 4 bars or more behind the last pivot
                              o       \ /
                                       o

Two rules make it fast. A window whose start did not move is extended by one bar. And after a turn, what follows
depends on nothing but the bar of the turn, the direction and the pivot: so a window that begins later joins the turns
of the longest one (the chain) as soon as it has one turn in common with it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from lotus.columns import I64
from lotus.compiled import compiled, lean
from lotus.kernel import number
from lotus.trend.edx_segment import CLOSE, HIGH, LOW, Segment, is_calm, segment_atr

# Rows of the chain: bar of the turn, bar of the pivot it recorded, pivots up to here that rose over their kind's last.
TURNED, PIVOT, ROSE = range(3)
CHAIN_ROWS = 3

# Where a chain stands: first bar, turns, sign of the leg that runs (+1 up), its extreme, last bar seen, quiet rule.
START, TURNS, SIGN, EXTREME, SEEN, QUIET = range(6)
MARKS = 6


@dataclass(frozen=True)
class ZigzagConfig:
    """When a leg turns, and how many pivots say anything."""

    leg_atr: float = number(1.2, "uptrend-engine.md 5.5", "atr")
    quiet_extra_atr: float = number(0.2, "uptrend-engine.md 5.5", "atr")
    quiet_below: float = number(0.003, "uptrend-engine.md 5.5", "mean of atr / close")
    wick_relief_atr: float = number(0.25, "uptrend-engine.md 5.5", "atr")
    extreme_age_bars: int = number(3, "uptrend-engine.md 5.5", "bars")
    pivot_gap_bars: int = number(4, "uptrend-engine.md 5.5", "bars")
    pivots_min: int = number(4, "uptrend-engine.md 5.4", "pivots")

    def __post_init__(self) -> None:
        """Legs are positive also for wicks; pivots stand apart; a comparison needs three pivots."""
        if self.leg_atr - self.wick_relief_atr <= 0.0 or self.quiet_extra_atr < 0.0 or self.quiet_below < 0.0:
            raise ValueError(f"zigzag: leg_atr must exceed wick_relief_atr, the quiet rule must not shrink it: {self}")
        if self.extreme_age_bars < 1 or self.pivot_gap_bars < 1:
            raise ValueError(f"zigzag: extreme_age_bars and pivot_gap_bars must be at least 1: {self}")
        if self.pivots_min < 3:
            raise ValueError(f"zigzag: pivots_min must be at least 3, not {self.pivots_min}")


class Turn(NamedTuple):
    """What turns a leg: distance of the close and of the wick in ATR, age of the extreme, gap to the last pivot."""

    leg_atr: float
    wick_atr: float
    age_bars: int
    gap_bars: int


class ZigzagParams(NamedTuple):
    """The configuration as the compiled loops read it; `quiet` is the rule where mean ATR / close < quiet_below."""

    lively: Turn
    quiet: Turn
    quiet_below: float
    pivots_min: int
    neutral: float


def zigzag_params(config: ZigzagConfig, neutral: float) -> ZigzagParams:
    """The configuration for the compiled loops; `neutral` is `struct` without enough pivots."""
    age, gap, wick = config.extreme_age_bars, config.pivot_gap_bars, config.wick_relief_atr
    longer = config.leg_atr + config.quiet_extra_atr
    lively = Turn(config.leg_atr, config.leg_atr - wick, age, gap)
    return ZigzagParams(lively, Turn(longer, longer - wick, age, gap), config.quiet_below, config.pivots_min, neutral)


def chain_length(max_bars: int, config: ZigzagConfig) -> int:
    """How many turns a window of `max_bars` bars can have at most."""
    return max_bars // config.pivot_gap_bars + 2


@compiled
def zigzag_struct(
    segment: Segment, params: ZigzagParams, chain: I64, marks: I64, longest: bool, start: int, k: int
) -> float:
    """`struct` of the window start..k; the longest window must be asked first, on every bar."""
    quiet = is_calm(segment, start, k, params.quiet_below)
    rule = params.quiet if quiet else params.lively
    if longest:
        extend_chain(segment, rule, quiet, chain, marks, start, k)
        pivots, rose = chain_pivots(segment, rule, chain, marks, k)
    else:
        pivots, rose = window_pivots(segment, rule, chain, marks, marks[QUIET] == quiet, start, k)
    if pivots < params.pivots_min:
        return params.neutral
    return 1.0 - rose / (pivots - 2)


@compiled
def extend_chain(segment: Segment, rule: Turn, quiet: bool, chain: I64, marks: I64, start: int, k: int) -> None:
    """Bring the chain of the window start..k up to bar k: by its unseen bars, or anew if start or rule changed."""
    if marks[START] != start or marks[QUIET] != quiet:
        marks[START] = start
        marks[QUIET] = quiet
        marks[TURNS] = 0
        marks[SEEN] = start - 1
    bar = marks[SEEN] + 1
    marks[SEEN] = k
    if marks[TURNS] == 0:
        bar, sign = _first_direction(segment, rule, start, bar, k)
        if sign == 0:
            return
        _record(segment, chain, marks, bar, start, sign)
        bar += 1
    while True:
        last = marks[TURNS] - 1
        turned, extreme = _run_leg(segment, rule, marks[SIGN], bar, k, marks[EXTREME], chain[PIVOT, last])
        if turned < 0:
            marks[EXTREME] = extreme
            return
        _record(segment, chain, marks, turned, extreme, -marks[SIGN])
        bar = turned + 1


@compiled
def _record(segment: Segment, chain: I64, marks: I64, turned: int, pivot: int, sign: int) -> None:
    i = marks[TURNS]
    chain[TURNED, i] = turned
    chain[PIVOT, i] = pivot
    chain[ROSE, i] = chain[ROSE, i - 1] + _rose(segment, pivot, chain[PIVOT, i - 2]) if i >= 2 else 0
    marks[TURNS] = i + 1
    marks[SIGN] = sign
    marks[EXTREME] = turned


@lean
def _rose(segment: Segment, pivot: int, past: int) -> int:
    return 1 if segment.rings[CLOSE, pivot & segment.mask] > segment.rings[CLOSE, past & segment.mask] else 0


@compiled
def _first_direction(segment: Segment, rule: Turn, start: int, bar: int, k: int) -> tuple[int, int]:
    """The first bar from `bar` on that left the close of `start` by a leg, and +1 or -1; 0 if none did."""
    rings, mask = segment.rings, segment.mask
    origin = rings[CLOSE, start & mask]
    leg = rule.leg_atr * segment_atr(segment, start)
    for i in range(bar, k + 1):
        move = rings[CLOSE, i & mask] - origin
        if move >= leg:
            return i, 1
        if -move >= leg:
            return i, -1
    return k, 0


@compiled
def _run_leg(segment: Segment, rule: Turn, sign: int, bar: int, k: int, extreme: int, pivot: int) -> tuple[int, int]:
    """Follow a leg over bars bar..k: the bar on which it turned (-1: it did not) and its extreme."""
    rings, mask = segment.rings, segment.mask
    side = float(sign)
    edge = LOW if sign > 0 else HIGH
    best = rings[CLOSE, extreme & mask]
    known = -1
    leg = 0.0
    wick = 0.0
    for i in range(bar, k + 1):
        price = rings[CLOSE, i & mask]
        back = side * (best - price)
        if back < 0.0:
            best = price
            extreme = i
        elif i - extreme >= rule.age_bars and extreme - pivot >= rule.gap_bars:
            if known != extreme:
                atr = segment_atr(segment, extreme)
                leg = rule.leg_atr * atr
                wick = rule.wick_atr * atr
                known = extreme
            if back >= leg or side * (best - rings[edge, i & mask]) >= wick:
                return i, extreme
    return -1, extreme


@lean
def is_provisional(rule: Turn, extreme: int, pivot: int, k: int) -> bool:
    """Whether the extreme of the leg that still runs at bar k counts as a pivot."""
    return k - extreme >= rule.age_bars and extreme - pivot >= rule.gap_bars


@compiled
def chain_pivots(segment: Segment, rule: Turn, chain: I64, marks: I64, k: int) -> tuple[int, int]:
    """Pivots of the window whose turns the chain holds, and how many rose over the one of their kind before."""
    turns = marks[TURNS]
    if turns == 0:
        return 0, 0
    pivots, rose = turns, chain[ROSE, turns - 1]
    if is_provisional(rule, marks[EXTREME], chain[PIVOT, turns - 1], k):
        pivots += 1
        if turns >= 2:
            rose += _rose(segment, marks[EXTREME], chain[PIVOT, turns - 2])
    return pivots, rose


@compiled
def window_pivots(
    segment: Segment, rule: Turn, chain: I64, marks: I64, joins: bool, start: int, k: int
) -> tuple[int, int]:
    """Pivots of the window start..k, and how many rose over the one of their kind before.

    joins   the chain follows the same rule, so the window takes it over from the first turn both have
    """
    shared = marks[TURNS] if joins else 0
    bar, sign = _first_direction(segment, rule, start, start, k)
    if sign == 0:
        return 0, 0
    past, pivot, extreme = -1, start, bar
    pivots, rose = 1, 0
    i = 0
    while True:
        while i < shared and chain[TURNED, i] < bar:
            i += 1
        if i < shared and chain[TURNED, i] == bar and chain[PIVOT, i] == pivot:
            more, grew = _rest(segment, rule, chain, marks, i, past, k)
            return pivots + more, rose + grew
        turned, extreme = _run_leg(segment, rule, sign, bar + 1, k, extreme, pivot)
        if turned < 0:
            break
        if past >= 0:
            rose += _rose(segment, extreme, past)
        past, pivot = pivot, extreme
        bar, extreme, sign = turned, turned, -sign
        pivots += 1
    if is_provisional(rule, extreme, pivot, k):
        pivots += 1
        if past >= 0:
            rose += _rose(segment, extreme, past)
    return pivots, rose


@compiled
def _rest(segment: Segment, rule: Turn, chain: I64, marks: I64, joined: int, past: int, k: int) -> tuple[int, int]:
    """Pivots after turn `joined` of the chain, and how many rose, for a window whose pivot before it was `past`."""
    turns = marks[TURNS]
    more = turns - 1 - joined
    rose = 0
    if more > 0:
        rose = chain[ROSE, turns - 1] - chain[ROSE, joined + 1]
        if past >= 0:
            rose += _rose(segment, chain[PIVOT, joined + 1], past)
    if is_provisional(rule, marks[EXTREME], chain[PIVOT, turns - 1], k):
        before = chain[PIVOT, turns - 2] if more > 0 else past
        if before >= 0:
            rose += _rose(segment, marks[EXTREME], before)
        more += 1
    return more, rose
