"""The key of nearly everything: a token on a venue at a timeframe."""

from typing import NamedTuple

from lotus.kernel import Series
from lotus.timeframe import Timeframe


class Lane(NamedTuple):
    """One bar series, the engine over it and the position on it."""

    token: str
    venue: str
    timeframe: Timeframe

    @property
    def series(self) -> Series:
        """The instrument."""
        return Series(self.venue, self.token)

    def __str__(self) -> str:
        """Text key, unique and sortable."""
        return f"{self.venue}|{self.token}|{self.timeframe}"
