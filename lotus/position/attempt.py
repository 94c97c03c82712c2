"""Attempts and the blocks that their results leave (scaling.md 10).

                  +--- S2 -> S1, S1 -> S2: nothing ---+
                  v                                   |
    S0 -> S1: start --- S1 -> S2: S2 episode begins --+--- S2 -> S3: success, lifts both blocks
                  |                                   |
                  +-------------- S1 -> S0: failure, blocks what was entered

Blocks are deterministic risk control: never learned, weighted or expired by time.
"""

from enum import Enum
from typing import NamedTuple

from lotus.position.record import NONE_YET
from lotus.records import OrderKind, State


class Turn(Enum):
    """What a change of state means for the attempt."""

    START = "start"
    REACH_S2 = "reach_s2"
    SUCCESS = "success"
    FAILURE = "failure"


TURNS: dict[tuple[int, int], Turn] = {
    (State.S0, State.S1): Turn.START,
    (State.S1, State.S2): Turn.REACH_S2,
    (State.S2, State.S3): Turn.SUCCESS,
    (State.S1, State.S0): Turn.FAILURE,
}


class Blocks(NamedTuple):
    """Which buys a failed attempt forbids until a success is seen."""

    s1: bool = False
    s2: bool = False


class Attempt(NamedTuple):
    """A run from S0 -> S1 to S3 or back to S0.

    started_ts     open time of the bar S0 -> S1; kept after the end, so that a late fill finds its attempt
    s2_started_ts  open time of the first bar S1 -> S2, -1: not yet
    failed         it ended in S0
    """

    active: bool = False
    started_ts: int = NONE_YET
    s2_started_ts: int = NONE_YET
    entered_s1: bool = False
    entered_s2: bool = False
    failed: bool = False

    def after(self, turn: Turn, ts: int) -> "Attempt":
        """The attempt after a change of state on the bar that opened at `ts`."""
        if turn is Turn.START:
            return Attempt(active=True, started_ts=ts)
        if not self.active:
            return self
        if turn is Turn.REACH_S2:
            return self if self.s2_started_ts != NONE_YET else self._replace(s2_started_ts=ts)
        return self._replace(active=False, failed=turn is Turn.FAILURE)

    def entered(self, kind: OrderKind) -> "Attempt":
        """The attempt after a fill above zero (scaling.md 10.2)."""
        if kind is OrderKind.S1_ENTRY and not self.entered_s1:
            return self._replace(entered_s1=True)
        if kind in (OrderKind.S2_FLAT, OrderKind.S2_POOL) and not self.entered_s2:
            return self._replace(entered_s2=True)
        return self


FRESH_ATTEMPT = Attempt()


def after_success() -> Blocks:
    """Both blocks are lifted, whether or not the attempt was entered."""
    return Blocks()


def after_failure(blocks: Blocks, attempt: Attempt) -> Blocks:
    """An entry through S1 blocks both, one through S2 alone blocks S2, none blocks nothing (scaling.md 10.3)."""
    if attempt.entered_s1:
        return Blocks(s1=True, s2=True)
    return Blocks(blocks.s1, blocks.s2 or attempt.entered_s2)
