"""What a replay is asked to read: the options of `lotus replay` as values (replay.md 1)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lotus.timeframe import Timeframe


class InputError(ValueError):
    """The run refuses to start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class BarsFile:
    """Bars of a venue and timeframe: `VENUE:TF=PATH`."""

    venue: str
    timeframe: Timeframe
    path: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `VENUE:TF=PATH`; raises InputError."""
        head, path = _split(text, "VENUE:TF=PATH")
        venue, colon, timeframe = head.rpartition(":")
        if not colon or not venue:
            raise InputError(f"'{text}' names no timeframe: write VENUE:TF=PATH, for example binance:1m={path}")
        return cls(venue, timeframe_of(timeframe), Path(path))


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """Warm-up bars for series of the run: `VENUE:TF=PATH[:TOKENS]`; VENUE is the venue of those series."""

    venue: str
    timeframe: Timeframe
    path: Path
    tokens: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `VENUE:TF=PATH[:TOKENS]`; raises InputError."""
        bars = BarsFile.parse(text)
        path, colon, tokens = str(bars.path).rpartition(":")
        if not colon or bars.path.exists():
            return cls(bars.venue, bars.timeframe, bars.path)
        return cls(bars.venue, bars.timeframe, Path(path), tuple(filter(None, tokens.split(","))))


@dataclass(frozen=True, slots=True)
class TicksFile:
    """Recorded trades of a venue: `VENUE=PATH`."""

    venue: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `VENUE=PATH`; raises InputError."""
        venue, path = _split(text, "VENUE=PATH")
        return cls(venue, Path(path))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a replay reads and the part of it that it looks at; times are `[start_ms, end_ms)`.

    open_ended  nothing is known about where a series begins and ends, as in a live run: what is missing after its last
                row is missing up to the end of the run, and history ends where the first clock of the run begins. So
                the replay of a recording has the rows of the live run that it is a recording of
    """

    bars: tuple[BarsFile, ...] = ()
    ticks: tuple[TicksFile, ...] = ()
    history: tuple[HistoryFile, ...] = ()
    dominance: Path | None = None
    buckets: Path | None = None
    tokens: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    open_ended: bool = False

    def __post_init__(self) -> None:
        """Refuse a span without time."""
        if self.start_ms is not None and self.end_ms is not None and self.start_ms >= self.end_ms:
            raise InputError("the span is empty: --from must be before --to")

    def paths(self) -> tuple[Path, ...]:
        """All files in the order of the options."""
        named = (
            *(file.path for file in self.bars),
            *(file.path for file in self.ticks),
            *(file.path for file in self.history),
        )
        return (*named, *(path for path in (self.dominance, self.buckets) if path is not None))


def timeframe_of(text: str) -> Timeframe:
    """The timeframe of that name; raises InputError."""
    try:
        return Timeframe(text)
    except ValueError:
        known = " ".join(Timeframe)
        raise InputError(f"'{text}' is no timeframe: use one of {known}") from None


def _split(text: str, form: str) -> tuple[str, str]:
    head, equals, path = text.partition("=")
    if not equals or not head or not path:
        raise InputError(f"'{text}' does not read as {form}")
    return head, path
