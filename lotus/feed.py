"""What a source hands to the river: slices of event time with everything that became known inside them.

A feed is cut into slices (replay: a day of minutes); each slice has one entry for every series, empty ones
included, because an entry also says how far its series is complete. History rides in the first slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from lotus.intake import Commands
from lotus.kernel import Chunk, Series
from lotus.lane import Lane
from lotus.mending import Patches
from lotus.records import Bars, Board, DeadLetters, Executions, Postures, Samples, Ticks, Trend
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
    logged       the feed is an input log: candles, connection records and commands may come, and are waited for
    """

    instruments: tuple[Instrument, ...]
    dominance: tuple[tuple[str, tuple[Timeframe, ...]], ...]
    buckets: tuple[BucketTag, ...]
    start_ms: int
    end_ms: int
    slices: int
    logged: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What became known in one span of event time, or in one batch of messages.

    raw, ticks, samples    bars of bar sources, ticks of tick sources, dominance samples
    dead                   rejected rows of files
    watermark_ms           how far the feed has come
    executions             reports of a venue, by lane
    refused                rejected messages by partition of the input log
    patches                candles and connection records, by series
    commands               what an operator wants, by token; `ts` is when it was read
    bars, trend, postures  what another flow wrote, for a flow that reads its topic
    board                  the driver board, if another flow has it
    """

    raw: tuple[tuple[Series, Raw], ...] = ()
    ticks: tuple[tuple[Series, Chunk[Ticks]], ...] = ()
    samples: tuple[tuple[str, Chunk[Samples]], ...] = ()
    dead: DeadLetters = field(default_factory=DeadLetters.empty)
    watermark_ms: int = -1
    executions: tuple[tuple[Lane, Chunk[Executions]], ...] = ()
    refused: tuple[tuple[int, DeadLetters], ...] = ()
    bars: tuple[tuple[Lane, Chunk[Bars]], ...] = ()
    trend: tuple[tuple[Lane, Chunk[Trend]], ...] = ()
    postures: tuple[tuple[Lane, Chunk[Postures]], ...] = ()
    board: tuple[Chunk[Board], ...] = ()
    patches: tuple[tuple[Series, Patches], ...] = ()
    commands: tuple[tuple[str, Chunk[Commands]], ...] = ()


class Feed(Protocol):
    """A source of slices. Asking again from any position gives the same slices."""

    manifest: Manifest

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on."""
        ...
