"""Episodes: what was observed to its end, acted on or not (scaling.md 10.5, replay.md 8).

    S1  ------ the attempt itself ----------------------------> success or failure
    S2         ------ from the first S1 -> S2 to its end -----> the same
    DX            first S3 bar with EMA333 < p < EMA144 ------> trim: success; emergency exit or S0: failure

An episode counts the bars on which its entry zone was open and keeps the one whose smallest gate margin was largest.
"""

import math
from typing import NamedTuple

from lotus.position.record import NONE_YET
from lotus.records import EpisodeKind, Outcome

OUTCOMES: dict[tuple[bool, bool], Outcome] = {
    (True, True): Outcome.SUCCESS,
    (True, False): Outcome.FAILURE,
    (False, True): Outcome.MISSED,
    (False, False): Outcome.CORRECT_SKIP,
}


class Tally(NamedTuple):
    """Zone bars of an episode so far.

    worst    smallest gate margin of the best bar
    margins  its margins in the order of `MARGINS`
    """

    zone_bars: int = 0
    worst: float = -math.inf
    best_ts: int = NONE_YET
    margins: tuple[float, ...] = ()


NO_TALLY = Tally()
BUY_MARGINS = ("margin_zone", "margin_slope", "margin_tsb")
DX_MARGINS = ("margin_zone", "margin_slope", "margin_tsb", "margin_dx")
MARGINS: dict[EpisodeKind, tuple[str, ...]] = {
    EpisodeKind.S1: BUY_MARGINS,
    EpisodeKind.S2: BUY_MARGINS,
    EpisodeKind.DX: DX_MARGINS,
}


class DxWindow(NamedTuple):
    """A stay of the price between EMA333 and EMA144 in S3, until a trim or a failure follows."""

    started_ts: int
    acted: bool = False
    tally: Tally = NO_TALLY


class Ended(NamedTuple):
    """An episode whose outcome became known."""

    kind: EpisodeKind
    started_ts: int
    acted: bool
    succeeded: bool
    tally: Tally

    @property
    def outcome(self) -> Outcome:
        """Decision and result in one word."""
        return OUTCOMES[self.acted, self.succeeded]
