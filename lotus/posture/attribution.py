"""A and E with everything they are made of (posture.md 5, 8, 9, 11).

    base + terms that count + strength + clamp = final        left to right, bit for bit (replay.md 7)

- Each active flag gives one term; flags add up, nothing is remembered.
- While a risk-off emergency governs, risk-on terms are suppressed: listed last, left out of the sum.
- Strength acts on the unclamped sum and cannot push against an emergency.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

from lotus.posture.config import EmergencyDominance, PostureConfig
from lotus.posture.flags import POSSIBLE, Active, Flag, Tilt, role_weight, tilt
from lotus.records import Mode
from lotus.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class Strength:
    """What learning says about the entry and the exit pattern, each -1..1; 0 is neutral or unknown."""

    s_entry: float = 0.0
    s_exit: float = 0.0

    def __post_init__(self) -> None:
        """Check that both are numbers."""
        if not (isfinite(self.s_entry) and isfinite(self.s_exit)):
            raise ValueError(f"strength must be finite, got {self.s_entry} and {self.s_exit}")


NEUTRAL = Strength()
EMERGENCY = int(Flag.EMERGENCY)


@dataclass(frozen=True, slots=True)
class Term:
    """What one active flag contributes.

    place       order among equals: driver rank, horizon, flag (posture.md 11.1)
    label       name for people, the horizon as its timeframe: `USDT.d BUY 1h`
    d_a, d_e    effect on A and E if it counts
    suppressed  silenced by an emergency: counts as 0
    """

    active: Active
    place: tuple[int, int, int]
    label: str
    side: Tilt
    role_weight: float
    driver_weight: float
    tf_weight: float
    d_a: float
    d_e: float
    suppressed: bool = False

    @property
    def counted_a(self) -> float:
        """What enters the sum of A."""
        return 0.0 if self.suppressed else self.d_a

    @property
    def counted_e(self) -> float:
        """What enters the sum of E."""
        return 0.0 if self.suppressed else self.d_e


@dataclass(frozen=True, slots=True)
class Learned:
    """Strength as it acts: s_a on A, s_e on E; limited: an emergency changed at least one of them."""

    strength: Strength
    s_a: float
    s_e: float
    limited: bool


@dataclass(frozen=True, slots=True)
class Attribution:
    """A and E of one evaluation and all that makes them up.

    terms               in the order in which they sum, suppressed ones last
    risk_off, risk_on   an emergency of that side governs
    ignored             active flags that a policy leaves out
    raw_*, clamp_*      raw + clamp = final, exactly
    """

    timeframe: Timeframe
    config: PostureConfig
    terms: tuple[Term, ...]
    learned: Learned
    risk_off: bool
    risk_on: bool
    ignored: tuple[Active, ...]
    raw_a: float
    raw_e: float
    clamp_a: float
    clamp_e: float
    a: float
    e: float
    mode_a: Mode
    mode_e: Mode


def evaluate(
    config: PostureConfig, timeframe: Timeframe, active: Iterable[Active], strength: Strength = NEUTRAL
) -> Attribution:
    """A and E of a position on `timeframe` while `active` flags and `strength` hold.

    active   flags of the position's own five drivers that are fresh; their order does not matter
    returns  values within the clamps, with their complete attribution
    raises   ValueError if a flag of a driver and horizon is given twice
    source   posture.md 5, 9, 11
    """
    flags = frozenset(active)
    if len({flag.place for flag in flags}) < len(flags):
        raise ValueError("a flag of one driver and horizon is active once")
    return attributed(
        config, timeframe, [entry for entry in weighed(config, timeframe) if entry.active in flags], strength
    )


class Entry(NamedTuple):
    """A flag that could be active, as a term that counts and as one that is silenced; None: a policy ignores it."""

    active: Active
    term: Term | None
    silenced: Term | None


@lru_cache(maxsize=64)
def weighed(config: PostureConfig, timeframe: Timeframe) -> tuple[Entry, ...]:
    """All flags that there can be, weighed for an execution timeframe, in the order in which terms sum.

    source  posture.md 4, 5, 7, 11.1
    """
    entries = [_entry(config, timeframe, active) for active in POSSIBLE]
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.term.d_a) if entry.term else 0.0, entry.active.place)))


def attributed(
    config: PostureConfig, timeframe: Timeframe, entries: Sequence[Entry], strength: Strength
) -> Attribution:
    """A and E while `entries` are active: some of those of `weighed`, in its order."""
    risk_off, risk_on = _governing(config, entries)
    terms = _ordered(entries, risk_off)
    learned = _learned(config, strength, risk_off, risk_on)
    raw_a, clamp_a, a = _total(config.base.a, [term.counted_a for term in terms], learned.s_a, config.clamps.a)
    raw_e, clamp_e, e = _total(config.base.e, [term.counted_e for term in terms], learned.s_e, config.clamps.e)
    return Attribution(
        timeframe=timeframe,
        config=config,
        terms=terms,
        learned=learned,
        risk_off=risk_off,
        risk_on=risk_on,
        ignored=tuple(entry.active for entry in entries if entry.term is None),
        raw_a=raw_a,
        raw_e=raw_e,
        clamp_a=clamp_a,
        clamp_e=clamp_e,
        a=a,
        e=e,
        mode_a=config.modes.mode_of(a),
        mode_e=config.modes.mode_of(e),
    )


def _entry(config: PostureConfig, timeframe: Timeframe, active: Active) -> Entry:
    side = tilt(active, config.dominance_emergency)
    if side is None:
        return Entry(active, None, None)
    role = role_weight(active.flag, side, config.flag_weights)
    driver = config.driver_weights.of(active.driver)
    horizon = config.exec_tf_weights.of(timeframe).of(active.horizon)
    units = role * driver * horizon
    term = Term(
        active=active,
        place=active.place,
        label=f"{active.driver.value} {active.flag.name} {config.horizons.of(active.horizon).value}",
        side=side,
        role_weight=role,
        driver_weight=driver,
        tf_weight=horizon,
        d_a=side.sign * config.k.a * units,
        d_e=-side.sign * config.k.e * units,
    )
    return Entry(active, term, replace(term, suppressed=True))


def _governing(config: PostureConfig, entries: Sequence[Entry]) -> tuple[bool, bool]:
    if config.emergency_dominance is EmergencyDominance.WEIGHTS_ONLY:
        return False, False
    sides = [
        term.side
        for _, term, _ in entries
        if term and term.place[2] == EMERGENCY and term.tf_weight >= config.emergency_min_tf_weight
    ]
    return Tilt.RISK_OFF in sides, Tilt.RISK_ON in sides


def _ordered(entries: Sequence[Entry], risk_off: bool) -> tuple[Term, ...]:
    """Terms that count, then those that a governing risk-off emergency silences."""
    if not risk_off:
        return tuple(term for _, term, _ in entries if term)
    counted = [term for _, term, _ in entries if term and term.side is Tilt.RISK_OFF]
    silenced = [silent for _, _, silent in entries if silent and silent.side is Tilt.RISK_ON]
    return (*counted, *silenced)


def _learned(config: PostureConfig, strength: Strength, risk_off: bool, risk_on: bool) -> Learned:
    caps = config.strength_caps
    free_a = _clip(caps.a_max * strength.s_entry, -caps.a_max, caps.a_max)
    free_e = _clip(caps.e_max * (strength.s_exit - config.entry_to_e * strength.s_entry), -caps.e_max, caps.e_max)
    s_a, s_e = free_a, free_e
    if risk_off:
        s_a, s_e = min(free_a, 0.0), max(free_e, 0.0)
    elif risk_on:
        s_a, s_e = max(free_a, 0.0), min(free_e, 0.0)
    return Learned(strength, s_a, s_e, limited=(s_a, s_e) != (free_a, free_e))


def _total(base: float, terms: list[float], strength: float, bounds: tuple[float, float]) -> tuple[float, float, float]:
    """Raw sum, clamp and final value.

    The final value is raw + clamp by definition: for bounds like 0 and 1 that is the bound itself, for others it may
    miss it by the last bit, but the sum of the terms never misses the value.
    """
    raw = base
    for term in terms:
        raw += term
    raw += strength
    low, high = bounds
    clamp = _clip(raw, low, high) - raw
    return raw, clamp, raw + clamp


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
