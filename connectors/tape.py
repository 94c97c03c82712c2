"""A recorded market as a feed: its rows, cut into slices of event time (replay.md 1-5).

    series A   |b b b b b|b b b b b|b b        a slice holds what became known after the edge before it
    series B   |    t t t|t t   t t|           and by its own edge; bars at their end, ticks by the clock
    clock      |.........|.........|.....

A bar with volume 0 is a venue's filler: an accepted row that says its bucket is missing (replay.md 2).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from connectors.inputs import Inputs
from connectors.parquet import BarRows, TickRows, read_buckets
from connectors.recordings import LAST_HEARTBEAT_MS, Recordings, read_recordings
from lotus.columns import ABSENT, F64, I64
from lotus.feed import Instrument, Manifest, Slice
from lotus.kernel import NEVER_MS, Chunk, Series
from lotus.records import BarKind, Bars, DeadLetters, Samples, Ticks
from lotus.rollup import Raw
from lotus.timeframe import TIMEFRAMES, Timeframe

SLICE_ROWS = 1440  # rows of the finest timeframe in a slice: a day of minutes
SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows of the files inside the span: every one is accepted or dead-lettered."""

    rows_in: int
    accepted: int
    dead: int


@dataclass(frozen=True, slots=True)
class Track:
    """One series of the run: its bars, or its ticks with heartbeats, and its history.

    known_ms  int64[n], when each row became known: the end of a bar, the clock before a tick; nondecreasing
    last_ms   nothing of the series becomes known after it; NEVER_MS where that is not known
    """

    instrument: Instrument
    rows: Bars | Ticks
    known_ms: I64
    last_ms: int
    history: tuple[tuple[Timeframe, Bars], ...]

    def raw(self, start_ms: int, end_ms: int, *, first: bool) -> Raw:
        """Bars that became known in `(start_ms, end_ms]`, none of a tick series; history rides in the first slice."""
        history = self.history if first else ()
        if isinstance(self.rows, Ticks):
            return Raw(Chunk(Bars.empty(), -1), history)
        return Raw(Chunk(self.rows.take(self._between(start_ms, end_ms)), end_ms, self.last_ms), history)

    def ticks(self, start_ms: int, end_ms: int, *, last: bool) -> Chunk[Ticks]:
        """Ticks and heartbeats read while the clock stood in `(start_ms, end_ms]`; the last slice takes the rest."""
        assert isinstance(self.rows, Ticks), "a bar series has no ticks"
        rows = self.rows.take(self._between(start_ms, NEVER_MS if last else end_ms))
        return Chunk(rows, end_ms, self.last_ms)

    def _between(self, start_ms: int, end_ms: int) -> slice:
        low, high = np.searchsorted(self.known_ms, [start_ms, end_ms], side="right")
        return slice(int(low), int(high))


class Tape:
    """A feed over recorded files; see `lotus.feed.Feed`. Raises InputError when a run cannot be started.

    tracks   all series of the run in the order of their names
    samples  dominance samples by asset, up to the end of the run
    """

    def __init__(self, inputs: Inputs, slice_rows: int = SLICE_ROWS) -> None:
        """Read and check all files; `slice_rows` buckets of the finest timeframe make a slice."""
        found = read_recordings(inputs)
        self.dead = found.dead
        self.tally = Tally(found.rows_in, found.rows_in - len(found.dead), len(found.dead))
        self.end_ms = found.end_ms
        self.tracks = _tracks(found, open_ended=inputs.open_ended)
        self.samples: Mapping[str, Samples] = found.samples
        self._open_ended = inputs.open_ended
        finest = min((track.instrument.source for track in self.tracks), key=lambda timeframe: timeframe.rank)
        span_ms = finest.ms * slice_rows
        first_edge_ms = found.start_ms // span_ms * span_ms + span_ms
        self._edges = [*range(first_edge_ms, self.end_ms, span_ms), self.end_ms]
        self.manifest = Manifest(
            instruments=tuple(track.instrument for track in self.tracks),
            dominance=tuple((name, _horizons(rows)) for name, rows in sorted(self.samples.items())),
            buckets=read_buckets(inputs.buckets) if inputs.buckets else (),
            start_ms=found.start_ms,
            end_ms=self.end_ms,
            slices=len(self._edges),
        )

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The slices from number `position` on; the last one closes the run."""
        for number in range(position, len(self._edges)):
            yield self._slice(number)

    def _slice(self, number: int) -> Slice:
        first, last = number == 0, number == len(self._edges) - 1
        start_ms, end_ms = (-1 if first else self._edges[number - 1]), self._edges[number]
        return Slice(
            raw=tuple(
                (track.instrument.series, track.raw(start_ms, end_ms, first=first))
                for track in self.tracks
                if first or not track.instrument.ticks
            ),
            ticks=tuple(
                (track.instrument.series, track.ticks(start_ms, end_ms, last=last))
                for track in self.tracks
                if track.instrument.ticks
            ),
            samples=tuple((name, self._sampled(rows, start_ms, end_ms)) for name, rows in self.samples.items()),
            dead=self.dead if first else DeadLetters.empty(),
            watermark_ms=end_ms,
        )

    def _sampled(self, rows: Samples, start_ms: int, end_ms: int) -> Chunk[Samples]:
        low, high = np.searchsorted(rows.ts, [start_ms, end_ms], side="right")
        last_ms = NEVER_MS if self._open_ended else int(rows.ts[-1])
        return Chunk(rows.take(slice(int(low), int(high))), end_ms, last_ms)


def _tracks(found: Recordings, *, open_ended: bool) -> tuple[Track, ...]:
    """All series of the run in the order of their names."""
    history = {one: warm_up_bars(parts) for one, parts in found.history.items()}
    clocks = _clocks(found)
    bars = (_bar_track(one, *rows, history.get(one, ())) for one, rows in found.bars.items())
    ticks = (_tick_track(one, rows, clocks[one.venue], history.get(one, ())) for one, rows in found.ticks.items())
    tracks = sorted((*bars, *ticks), key=lambda track: track.instrument.series)
    return tuple(replace(track, last_ms=NEVER_MS) for track in tracks) if open_ended else tuple(tracks)


def warm_up_bars(parts: Mapping[Timeframe, BarRows]) -> tuple[tuple[Timeframe, Bars], ...]:
    """History of one series as the roll-up takes it, finest timeframe first."""
    ranked = sorted(parts.items(), key=lambda item: item[0].rank)
    return tuple((timeframe, _bars(rows, history=True)) for timeframe, rows in ranked)


def _bar_track(one: Series, timeframe: Timeframe, rows: BarRows, history: tuple[tuple[Timeframe, Bars], ...]) -> Track:
    known_ms = rows.ts + timeframe.ms
    return Track(Instrument(one, timeframe), _bars(rows, history=False), known_ms, int(known_ms[-1]), history)


def _tick_track(one: Series, rows: TickRows, clock: I64, history: tuple[tuple[Timeframe, Bars], ...]) -> Track:
    """`lotus/bar.py` rounds the end of a tick series up to its last minute."""
    ticks = _clocked(rows, clock)
    known_ms = np.maximum.accumulate(np.where(ticks.heartbeat, ticks.ts, 0))
    return Track(Instrument(one, Timeframe.M1, ticks=True), ticks, known_ms, int(rows.ts.max()), history)


def _clocks(found: Recordings) -> dict[str, I64]:
    """Heartbeats of each venue: one per event second, and one that closes the last minute of the run.

    A venue whose own ticks have closed that minute needs none, and gets none: it would change what is late.
    """
    final_ms = found.end_ms + LAST_HEARTBEAT_MS
    clocks: dict[str, I64] = {}
    for venue in {one.venue for one in found.ticks}:
        seconds = [rows.ts // SECOND_MS * SECOND_MS for one, rows in found.ticks.items() if one.venue == venue]
        clock = np.unique(np.concatenate(seconds))
        clocks[venue] = clock if clock[-1] >= final_ms else np.append(clock, np.int64(final_ms))
    return clocks


def _clocked(rows: TickRows, clock: I64) -> Ticks:
    """Ticks in order of arrival with a heartbeat before the first tick of each second (market-data.md 5.1)."""
    reached = np.maximum.accumulate(rows.ts // SECOND_MS * SECOND_MS)
    before = np.searchsorted(reached, clock, side="left")
    count = len(rows.ts) + len(clock)
    heartbeat = np.zeros(count, dtype=np.bool_)
    heartbeat[before + np.arange(len(clock))] = True

    def spread(ticks: I64, beats: I64 | int) -> I64:
        column = np.empty(count, dtype=np.int64)
        column[heartbeat] = beats
        column[~heartbeat] = ticks
        return column

    return Ticks(
        ts=spread(rows.ts, clock),
        heartbeat=heartbeat,
        price_e8=spread(rows.price_e8, 0),
        size_e8=spread(rows.size_e8, 0),
        side=spread(rows.side, ABSENT).astype(np.int8),
        seq=spread(rows.seq, ABSENT),
        trade_id=spread(rows.trade_id, 0),
    )


def _bars(rows: BarRows, *, history: bool) -> Bars:
    """Raw bars: the quote volume is estimated, a bar without volume is a filler."""
    count = len(rows.ts)
    filler = rows.volume_base == 0
    absent: F64 = np.full(count, np.nan)
    return Bars(
        ts=rows.ts,
        kind=np.where(filler, np.int8(BarKind.GAP), np.int8(BarKind.REAL)),
        open=rows.open,
        high=rows.high,
        low=rows.low,
        close=rows.close,
        volume=rows.volume_base * (rows.high + rows.low + rows.close) / 3,
        volume_base=rows.volume_base,
        volume_est=np.ones(count, dtype=np.bool_),
        trades=np.full(count, ABSENT, dtype=np.int64),
        buy_volume=absent,
        bars_used=np.where(filler, 0, 1).astype(np.int64),
        coverage=np.where(filler, 0.0, 1.0),
        gap_return=np.zeros(count, dtype=np.bool_),
        history=np.full(count, history, dtype=np.bool_),
    )


def _horizons(rows: Samples) -> tuple[Timeframe, ...]:
    """Driver timeframes that samples at this spacing can form: none is finer than the spacing (posture.md 6.4)."""
    spacing_ms = int(np.median(np.diff(rows.ts))) if len(rows) > 1 else Timeframe.D1.ms
    return tuple(timeframe for timeframe in TIMEFRAMES if timeframe.ms >= spacing_ms)
