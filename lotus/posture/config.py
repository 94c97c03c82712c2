"""Every number of posture, once (posture.md 13)."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from lotus.kernel import number
from lotus.modes import ModeBands
from lotus.posture.drivers import DRIVERS, Driver, Horizon
from lotus.timeframe import Timeframe


class DominanceEmergency(StrEnum):
    """What an emergency of a dominance series means (posture.md 3)."""

    DIRECTIONAL = "directional"
    ALWAYS_RISK_OFF = "always_risk_off"
    IGNORE = "ignore"


class EmergencyDominance(StrEnum):
    """Whether an emergency silences what points the other way (posture.md 9)."""

    SUPPRESS_RISK_ON = "suppress_risk_on"
    WEIGHTS_ONLY = "weights_only"


@dataclass(frozen=True)
class Neutral:
    """A and E without any flag."""

    a: float = number(0.5, "posture.md 1", "0..1")
    e: float = number(0.5, "posture.md 1", "0..1")


@dataclass(frozen=True)
class Scale:
    """What one unit of weight moves."""

    a: float = number(0.25, "posture.md 10", "A per unit")
    e: float = number(0.25, "posture.md 10", "E per unit")


@dataclass(frozen=True)
class DriverWeights:
    """Power of each driver; strictly falling by rank."""

    usdtd: float = number(1.0, "posture.md 4.1")
    bucket: float = number(0.9, "posture.md 4.1")
    btcd: float = number(0.7, "posture.md 4.1")
    alt: float = number(0.5, "posture.md 4.1")
    btc: float = number(0.3, "posture.md 4.1")

    def of(self, driver: Driver) -> float:
        """Weight of a driver."""
        return {
            Driver.USDTD: self.usdtd,
            Driver.BUCKET: self.bucket,
            Driver.BTCD: self.btcd,
            Driver.ALT: self.alt,
            Driver.BTC: self.btc,
        }[driver]


@dataclass(frozen=True)
class FlagWeights:
    """Power of a flag by its role: risk-on, risk-off, emergency of either side."""

    buy_add: float = number(1.0, "posture.md 4.2")
    trim: float = number(1.3, "posture.md 4.2")
    emergency: float = number(2.5, "posture.md 4.2")


@dataclass(frozen=True)
class HorizonWeights:
    """How much each horizon matters to an execution timeframe; not normalised."""

    micro: float
    meso: float
    macro: float

    def of(self, horizon: Horizon) -> float:
        """Weight of a horizon."""
        return {Horizon.MICRO: self.micro, Horizon.MESO: self.meso, Horizon.MACRO: self.macro}[horizon]


FAST = HorizonWeights(micro=1.0, meso=0.2, macro=0.05)
MIDDLE = HorizonWeights(micro=0.3, meso=1.0, macro=0.35)
SLOW = HorizonWeights(micro=0.05, meso=0.2, macro=1.0)


@dataclass(frozen=True)
class ExecTfWeights:
    """Horizon weights of each execution timeframe; those the seed leaves out use the nearest row."""

    m1: HorizonWeights = number(FAST, "posture.md 7")
    m5: HorizonWeights = number(FAST, "posture.md 7")
    m15: HorizonWeights = number(MIDDLE, "posture.md 7")
    h1: HorizonWeights = number(MIDDLE, "posture.md 7")
    h4: HorizonWeights = number(SLOW, "posture.md 7")
    d1: HorizonWeights = number(SLOW, "posture.md 7")

    def of(self, timeframe: Timeframe) -> HorizonWeights:
        """Row of an execution timeframe."""
        return {
            Timeframe.M1: self.m1,
            Timeframe.M5: self.m5,
            Timeframe.M15: self.m15,
            Timeframe.H1: self.h1,
            Timeframe.H4: self.h4,
            Timeframe.D1: self.d1,
        }[timeframe]


@dataclass(frozen=True)
class Horizons:
    """Timeframe of each horizon."""

    micro: Timeframe = number(Timeframe.M1, "posture.md 6.3")
    meso: Timeframe = number(Timeframe.H1, "posture.md 6.3")
    macro: Timeframe = number(Timeframe.D1, "posture.md 6.3")

    def of(self, horizon: Horizon) -> Timeframe:
        """Timeframe of a horizon."""
        return {Horizon.MICRO: self.micro, Horizon.MESO: self.meso, Horizon.MACRO: self.macro}[horizon]

    @property
    def timeframes(self) -> tuple[Timeframe, Timeframe, Timeframe]:
        """Timeframes of micro, meso and macro."""
        return self.micro, self.meso, self.macro


@dataclass(frozen=True)
class StrengthCaps:
    """Most that learned strength can move."""

    a_max: float = number(0.25, "posture.md 8", "A")
    e_max: float = number(0.25, "posture.md 8", "E")


@dataclass(frozen=True)
class Clamps:
    """Bounds of A and E (lowest, highest)."""

    a: tuple[float, float] = number((0.0, 1.0), "posture.md 5", "0..1")
    e: tuple[float, float] = number((0.0, 1.0), "posture.md 5", "0..1")


@dataclass(frozen=True)
class PostureConfig:
    """All magnitudes of posture; none is learned.

    entry_to_e               share of entry strength that lowers E, 0..1
    emergency_min_tf_weight  an emergency governs on horizons with at least this weight, 0..1
    staleness_bars           flags older than this many bars of their horizon do not count, >= 1
    raises                   ValueError if a number is out of bounds or a locked ordering of powers is broken
    """

    base: Neutral = Neutral()
    k: Scale = Scale()
    driver_weights: DriverWeights = DriverWeights()
    flag_weights: FlagWeights = FlagWeights()
    exec_tf_weights: ExecTfWeights = ExecTfWeights()
    horizons: Horizons = Horizons()
    strength_caps: StrengthCaps = StrengthCaps()
    entry_to_e: float = number(0.5, "posture.md 8", "share")
    clamps: Clamps = Clamps()
    modes: ModeBands = ModeBands()
    dominance_emergency: DominanceEmergency = number(DominanceEmergency.DIRECTIONAL, "posture.md 3")
    emergency_dominance: EmergencyDominance = number(EmergencyDominance.SUPPRESS_RISK_ON, "posture.md 9")
    emergency_min_tf_weight: float = number(0.5, "posture.md 9")
    staleness_bars: int = number(3, "posture.md 6.2", "bars")

    def __post_init__(self) -> None:
        """Check the bounds and both locked orderings (posture.md 4.2)."""
        _check_ordering("risk-off", self.flag_weights.trim, self.driver_weights)
        _check_ordering("risk-on", self.flag_weights.buy_add, self.driver_weights)
        _check_bounds(self)
        fine_to_coarse = [timeframe.rank for timeframe in self.horizons.timeframes]
        if fine_to_coarse != sorted(set(fine_to_coarse)):
            raise ValueError("horizons must ascend: micro < meso < macro")


def _check_ordering(name: str, flag_weight: float, weights: DriverWeights) -> None:
    powers = [flag_weight * weights.of(driver) for driver in DRIVERS]
    strictly_falling = all(stronger > weaker for stronger, weaker in zip(powers, [*powers[1:], 0.0], strict=True))
    if not strictly_falling:
        order = " > ".join(driver.value for driver in DRIVERS)
        raise ValueError(f"{name} powers must fall strictly, {order} > 0, got {powers}")


def _check_bounds(config: PostureConfig) -> None:
    for axis, base, k, cap, (low, high) in (
        ("A", config.base.a, config.k.a, config.strength_caps.a_max, config.clamps.a),
        ("E", config.base.e, config.k.e, config.strength_caps.e_max, config.clamps.e),
    ):
        if not 0.0 <= low <= base <= high <= 1.0:
            raise ValueError(f"clamps and base of {axis} need 0 <= lowest <= base <= highest <= 1")
        if not (k > 0.0 and isfinite(k) and 0.0 <= cap <= 1.0):
            raise ValueError(f"{axis} needs K > 0 and a strength cap within 0..1")
    rows = [config.exec_tf_weights.of(timeframe) for timeframe in Timeframe]
    if not all(0.0 <= weight <= 1.0 for row in rows for weight in (row.micro, row.meso, row.macro)):
        raise ValueError("horizon weights must lie within 0..1")
    if not (config.flag_weights.emergency > 0.0 and isfinite(config.flag_weights.emergency)):
        raise ValueError("the emergency weight must be above 0")
    if not (0.0 <= config.entry_to_e <= 1.0 and 0.0 <= config.emergency_min_tf_weight <= 1.0):
        raise ValueError("entry_to_e and emergency_min_tf_weight must lie within 0..1")
    if config.staleness_bars < 1:
        raise ValueError("staleness_bars must be at least 1")
