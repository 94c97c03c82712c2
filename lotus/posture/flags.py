"""Flags of drivers and the side each of them takes (posture.md 3, 4.2).

                BUY         TRIM        EMERGENCY
    normal      risk-on     risk-off    risk-off
    inverse     risk-off    risk-on     down: risk-on, up or unknown: risk-off

The weight of a flag follows its role, not its name: for a dominance BUY plays the part that TRIM plays elsewhere.
A set of active flags is also written as an integer, bit 3 * cell + flag; its emergencies point down, the only
direction that the engine emits.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum

from lotus.posture.config import DominanceEmergency, FlagWeights
from lotus.posture.drivers import CELLS, HORIZONS, Driver, Horizon


class Flag(IntEnum):
    """What a driver signals."""

    BUY = 0
    TRIM = 1
    EMERGENCY = 2


FLAGS: tuple[Flag, ...] = tuple(Flag)


class Direction(Enum):
    """Which way a series ran when it raised an emergency; other flags have none."""

    DOWN = "down"
    UP = "up"
    UNKNOWN = "unknown"


class Tilt(StrEnum):
    """Side of a flag for whoever trades alts."""

    RISK_ON = "risk_on"
    RISK_OFF = "risk_off"

    @property
    def sign(self) -> float:
        """Sign of the effect on A; E gets the opposite one."""
        return 1.0 if self is Tilt.RISK_ON else -1.0


@dataclass(frozen=True, slots=True)
class Active:
    """An active flag of a driver on a horizon."""

    driver: Driver
    horizon: Horizon
    flag: Flag
    direction: Direction = Direction.UNKNOWN

    @property
    def place(self) -> tuple[int, int, int]:
        """Order among equals: driver rank, horizon, flag (posture.md 11.1)."""
        return self.driver.rank, HORIZONS.index(self.horizon), int(self.flag)


def tilt(active: Active, policy: DominanceEmergency) -> Tilt | None:
    """Side that a flag takes; None: the policy ignores it (posture.md 3)."""
    if active.flag is not Flag.EMERGENCY:
        return Tilt.RISK_ON if (active.flag is Flag.BUY) != active.driver.inverse else Tilt.RISK_OFF
    if not active.driver.inverse or policy is DominanceEmergency.ALWAYS_RISK_OFF:
        return Tilt.RISK_OFF
    if policy is DominanceEmergency.IGNORE:
        return None
    return Tilt.RISK_ON if active.direction is Direction.DOWN else Tilt.RISK_OFF


def role_weight(flag: Flag, side: Tilt, weights: FlagWeights) -> float:
    """Weight of a flag by the part it plays (posture.md 4.2)."""
    if flag is Flag.EMERGENCY:
        return weights.emergency
    return weights.buy_add if side is Tilt.RISK_ON else weights.trim


def bit_of(active: Active) -> int:
    """Position of a flag in a set of active flags that is written as an integer."""
    return len(FLAGS) * CELLS.index((active.driver, active.horizon)) + active.flag


POSSIBLE: tuple[Active, ...] = tuple(
    Active(driver, horizon, flag, direction) for driver, horizon in CELLS for flag in FLAGS for direction in Direction
)
