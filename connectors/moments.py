"""A market second by second, as an ingester would have put it into the input log (market-data.md 3, 5.1).

    moment   | heartbeat | samples of that second | trades that arrived in it, of each series in order of arrival |

The clock of a recording is the one that the tape puts between its ticks, so that both give the same rows: a heartbeat
stands before the first trade that has reached its second, and more heartbeats in between change nothing. So there is
one for every second with a sample too: a sample is refused where no clock is near it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from connectors.inputs import InputError
from connectors.tape import SECOND_MS, Tape, Track
from lotus.columns import I64, Objects
from lotus.feed import Manifest
from lotus.intake import Levels, Trades
from lotus.kernel import Series
from lotus.records import Samples, Ticks


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of event time.

    clock_ms  its heartbeat
    trades    trades that arrived in it, with their series
    samples   dominance samples of that second, with their asset; in the first moment of all also those before it, which
              are older than any clock
    """

    clock_ms: int
    trades: tuple[tuple[Series, Trades], ...] = ()
    samples: tuple[tuple[str, Levels], ...] = ()


class Moments(Protocol):
    """A market in moments.

    manifest  what a run over it is fed with
    source    the name under which its heartbeats travel
    """

    manifest: Manifest
    source: str

    def moments(self, after_ms: int = -1) -> Iterator[Moment]:
        """Moments from the one at `after_ms` on; that one too, because only its heartbeat is known to be written."""
        ...


class Recorded:
    """The ticks and dominance samples of a tape.

    every_second  a heartbeat also in seconds without a trade: minutes close on time when the clock is a real one
    raises        InputError if the tape holds bars: a log has trades
    """

    def __init__(self, tape: Tape, source: str = "recording", *, every_second: bool = False) -> None:
        """Sort the trades of all series by the second in which they arrived."""
        bars = [track.instrument.series for track in tape.tracks if not isinstance(track.rows, Ticks)]
        if bars:
            one = bars[0]
            raise InputError(f"{one.venue}:{one.token} comes as bars: only ticks can be fed into the input log")
        self.manifest = tape.manifest
        self.source = source
        self._series = tuple(track.instrument.series for track in tape.tracks)
        self._clock = _clock(tape, every_second=every_second)
        self._trades, self._second, self._owner = _arrivals(tape.tracks)
        self._samples = tape.samples

    def moments(self, after_ms: int = -1) -> Iterator[Moment]:
        """See `Moments`."""
        begin = int(np.searchsorted(self._clock, after_ms, side="left"))
        known_ms = int(self._clock[begin - 1]) + SECOND_MS if begin else -1
        edges = np.searchsorted(self._second, self._clock[begin:], side="left").tolist()
        edges.append(len(self._second))
        for clock_ms, first, end in zip(self._clock[begin:].tolist(), edges, edges[1:], strict=False):
            trades = tuple(by_series(self._series, self._trades, self._owner, first, end))
            yield Moment(clock_ms, trades, levels_of(self._samples, known_ms, clock_ms + SECOND_MS, self.source))
            known_ms = clock_ms + SECOND_MS


def by_series(
    series: Sequence[Series], trades: Trades, owner: I64, first: int, end: int
) -> Iterator[tuple[Series, Trades]]:
    """Trades `first` .. `end` - 1 in runs of one series; `owner` holds its number for each trade."""
    if first < end:
        owners = owner[first:end]
        cuts = [first, *(first + 1 + np.flatnonzero(owners[1:] != owners[:-1])).tolist(), end]
        for low, high in pairwise(cuts):
            yield series[int(owner[low])], trades.take(slice(low, high))


def levels_of(
    samples: Mapping[str, Samples], begin_ms: int, end_ms: int, source: str
) -> tuple[tuple[str, Levels], ...]:
    """Samples of a span as records of the input log, begin_ms <= ts < end_ms."""
    found = []
    for name, rows in samples.items():
        low, high = np.searchsorted(rows.ts, [begin_ms, end_ms]).tolist()
        if low < high:
            sources: Objects = np.full(high - low, source, dtype=np.object_)
            found.append((name, Levels(rows.ts[low:high], rows.level[low:high], sources)))
    return tuple(found)


def _clock(tape: Tape, *, every_second: bool) -> I64:
    """All heartbeats of all series, and one for every sample since the first."""
    beats = [track.rows.ts[track.rows.heartbeat] for track in tape.tracks if isinstance(track.rows, Ticks)]
    sampled = [rows.ts // SECOND_MS * SECOND_MS for rows in tape.samples.values()]
    begin_ms = min(int(clock[0]) for clock in beats)
    clock = np.unique(np.concatenate([*beats, *(seconds[seconds > begin_ms] for seconds in sampled)]))
    if every_second:
        clock = np.union1d(clock, np.arange(clock[0], clock[-1], SECOND_MS, dtype=np.int64))
    return np.asarray(clock, dtype=np.int64)


def _arrivals(tracks: tuple[Track, ...]) -> tuple[Trades, I64, I64]:
    """All trades by the second in which they arrived, then by series: with the second and the number of the series."""
    parts, seconds, owners = [], [], []
    for number, track in enumerate(tracks):
        assert isinstance(track.rows, Ticks), "a track of ticks"
        kept = ~track.rows.heartbeat
        parts.append(_trades(track.rows.take(kept)))
        seconds.append(track.known_ms[kept])
        owners.append(np.full(int(kept.sum()), number, dtype=np.int64))
    second, owner = np.concatenate(seconds), np.concatenate(owners)
    order = np.lexsort([owner, second])  # stable: a series keeps its order of arrival
    return Trades.concat(parts).take(order), second[order], owner[order]


def _trades(rows: Ticks) -> Trades:
    return Trades(rows.ts, rows.price_e8, rows.size_e8, rows.side, rows.seq, rows.trade_id)
