"""A scene: the engine record of a bar and the posture valid at its close, row by row (replay.md 3).

It is what a position decides on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lotus.columns import I64, Flags
from lotus.records import Postures, Trend


@dataclass(frozen=True, slots=True)
class Scenes:
    """Equally long trend and posture rows of one (token, venue, timeframe)."""

    trend: Trend
    posture: Postures

    def __post_init__(self) -> None:
        """Check that the two sides are aligned."""
        assert len(self.trend) == len(self.posture), "a scene pairs each engine record with its posture"

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.trend)

    def take(self, rows: slice | I64 | Flags) -> Self:
        """The chosen rows."""
        return type(self)(self.trend.take(rows), self.posture.take(rows))

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls(Trend.empty(), Postures.empty())

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in the given order."""
        trend = Trend.concat([part.trend for part in parts])
        return cls(trend, Postures.concat([part.posture for part in parts]))
