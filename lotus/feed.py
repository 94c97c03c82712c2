"""What a source hands to the river: slices of event time with everything that became known inside them.

A feed is cut into slices (replay: a day of minutes); each slice has one entry for every series, empty ones
included, because an entry also says how far its series is complete. History rides in the first slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from lotus.kernel import Chunk, Series
from lotus.records import DeadLetters, Samples, Ticks
from lotus.rollup import Raw
from lotus.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class Instrument:
    """A series of the run and the finest timeframe that its source delivers."""

    series: Series
    source: Timeframe
    ticks: bool = False


@dataclass(frozen=True, slots=True, order=True)
class BucketTag:
    """From `since_ms` on a token belongs to a market-cap bucket; `measure_usd` ranks members (market-data.md 12.A)."""

    token: str
    since_ms: int
    bucket: str
    measure_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a feed will deliver, known before its first slice.

    dominance    assets with samples (`dom:BTC`, `dom:USDT`) and the timeframes that can be formed from them
    buckets      which token is in which bucket from when
    start_ms     open time of the earliest live row: dominance bars that end before it are history
    end_ms       final watermark
    slices       number of slices
    """

    instruments: tuple[Instrument, ...]
    dominance: tuple[tuple[str, tuple[Timeframe, ...]], ...]
    buckets: tuple[BucketTag, ...]
    start_ms: int
    end_ms: int
    slices: int


@dataclass(frozen=True, slots=True)
class Slice:
    """One span of event time: bars of bar sources, ticks of tick sources, dominance samples, rejected rows."""

    raw: tuple[tuple[Series, Raw], ...]
    ticks: tuple[tuple[Series, Chunk[Ticks]], ...]
    samples: tuple[tuple[str, Chunk[Samples]], ...]
    dead: DeadLetters
    watermark_ms: int


class Feed(Protocol):
    """A source of slices. Asking again from any position gives the same slices."""

    manifest: Manifest

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on."""
        ...
