"""A recorded market as a feed: files are read and checked once, then cut into slices of event time (replay.md 1-5).

A bar with volume 0 is a venue's filler: an accepted row that says its bucket is missing (replay.md 2).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from connectors.checks import Verdict, outside_of_time
from connectors.inputs import InputError, Inputs
from connectors.parquet import BarRows, Read, TickRows, column_of, read_bars, read_buckets, read_table, read_ticks
from lotus.columns import F64, I8, I64
from lotus.feed import Instrument, Manifest, Slice
from lotus.kernel import Chunk, Series
from lotus.records import BarKind, Bars, DeadLetters, Samples, Ticks
from lotus.rollup import Raw
from lotus.timeframe import MINUTE_MS, Timeframe

DOMINANCE = {"dom:BTC": "btc_dominance_pct", "dom:USDT": "usdt_dominance_pct"}
SLICE_ROWS = 1440  # rows of the finest timeframe in a slice: a day of minutes
SECOND_MS = 1_000
LAST_HEARTBEAT_MS = 5_000  # the final heartbeat stands this long after the end of the run (replay.md 3)


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows of the files inside the span: every one is accepted or dead-lettered."""

    rows_in: int
    accepted: int
    dead: int


@dataclass(frozen=True, slots=True)
class Track:
    """One series of the run: its bars or its ticks with heartbeats, and its history."""

    instrument: Instrument
    bars: Bars
    ticks: Ticks
    history: tuple[tuple[Timeframe, Bars], ...]
    last_ms: int


class Tape:
    """A feed over recorded files; see `lotus.feed.Feed`. Raises InputError when a run cannot be started."""

    def __init__(self, inputs: Inputs, slice_rows: int = SLICE_ROWS) -> None:
        """Read and check all files; `slice_rows` buckets of the finest timeframe make a slice."""
        self._dead: list[DeadLetters] = []
        self._rows_in = 0
        bars, ticks = self._read_bars(inputs), self._read_ticks(inputs)
        _refuse_unknown(inputs.tokens, {one.token for one in (*bars, *ticks)})
        samples = self._read_dominance(inputs)
        self.end_ms = _end(bars, ticks, inputs.end_ms)
        seconds = _heartbeats(ticks, self.end_ms)
        history = self._read_history(inputs, _starts(bars, ticks))
        self._tracks = tuple(
            _track(one, bars.get(one), ticks.get(one), seconds.get(one.venue), history.get(one, ()))
            for one in sorted({*bars, *ticks})
        )
        self._samples = {name: rows for name, rows in samples.items() if len(rows)}
        start_ms = min(_starts(bars, ticks).values())
        finest = min((track.instrument.source for track in self._tracks), key=lambda timeframe: timeframe.rank)
        span_ms = finest.ms * slice_rows
        self._edges = [*range(start_ms // span_ms * span_ms + span_ms, self.end_ms, span_ms), self.end_ms]
        dead = DeadLetters.concat(self._dead)
        self.dead = dead
        self.tally = Tally(self._rows_in, self._rows_in - len(dead), len(dead))
        self.manifest = Manifest(
            instruments=tuple(track.instrument for track in self._tracks),
            dominance=tuple((name, _sampled(rows)) for name, rows in sorted(self._samples.items())),
            buckets=read_buckets(inputs.buckets) if inputs.buckets else (),
            start_ms=start_ms,
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
                (track.instrument.series, _bar_part(track, start_ms, end_ms, first=first))
                for track in self._tracks
                if first or not track.instrument.ticks
            ),
            ticks=tuple(
                (track.instrument.series, _tick_part(track, start_ms, end_ms, last=last))
                for track in self._tracks
                if track.instrument.ticks
            ),
            samples=tuple((name, _sample_part(rows, start_ms, end_ms)) for name, rows in self._samples.items()),
            dead=self.dead if first else DeadLetters.empty(),
            watermark_ms=end_ms,
        )

    def _read_bars(self, inputs: Inputs) -> dict[Series, tuple[Timeframe, BarRows]]:
        found: dict[Series, tuple[Timeframe, BarRows]] = {}
        for file in inputs.bars:
            read = read_bars(file.path, file.venue, file.timeframe, inputs.tokens, inputs.start_ms, inputs.end_ms)
            self._count(read)
            for one, rows in read.series.items():
                if one not in found:
                    found[one] = (file.timeframe, rows)
                    continue
                timeframe, earlier = found[one]
                if timeframe is not file.timeframe:
                    raise InputError(
                        f"{one.venue}:{one.token} comes at {timeframe} and at {file.timeframe}: "
                        "name the coarser file with --history"
                    )
                found[one] = (timeframe, self._merged(one, earlier, rows, str(file.path.name)))
        return found

    def _merged(self, one: Series, earlier: BarRows, rows: BarRows, source: str) -> BarRows:
        """Rows of two files of one series; what the second file repeats is dead-lettered."""
        again = np.isin(rows.ts, earlier.ts)
        if again.any():
            verdict = Verdict.of(len(rows.ts), (("duplicate", again),))
            names = np.full(len(rows.ts), one.token, dtype=np.object_)
            self._dead.append(verdict.dead(source, {"token": names, "ts": rows.ts, "close": rows.close}))
        kept = rows.take(~again)
        both = BarRows(*(np.concatenate([getattr(earlier, name), getattr(kept, name)]) for name in BarRows.__slots__))
        return both.take(np.argsort(both.ts, kind="stable"))

    def _read_ticks(self, inputs: Inputs) -> dict[Series, TickRows]:
        found: dict[Series, TickRows] = {}
        for file in inputs.ticks:
            read = read_ticks(file.path, file.venue, inputs.tokens, inputs.start_ms, inputs.end_ms)
            self._count(read)
            for one, rows in read.series.items():
                if one in found:
                    raise InputError(f"ticks of {one.venue}:{one.token} come from two files: join them into one")
                found[one] = rows
        return found

    def _read_dominance(self, inputs: Inputs) -> dict[str, Samples]:
        if inputs.dominance is None:
            return {}
        table = read_table(inputs.dominance, ("ts", *DOMINANCE.values()))
        ts = column_of(inputs.dominance, table, "ts").astype(np.int64)
        keep = ts <= self._limit(inputs)
        found: dict[str, Samples] = {}
        for name, column in DOMINANCE.items():
            level = column_of(inputs.dominance, table, column)
            with np.errstate(invalid="ignore"):
                faults = (
                    ("time_out_of_range", outside_of_time(ts)),
                    ("dominance_not_finite", ~np.isfinite(level)),
                    ("dominance_range", (level <= 0) | (level >= 100)),
                    ("duplicate", np.concatenate([[False], np.diff(np.sort(ts)) == 0])[np.argsort(np.argsort(ts))]),
                )
            verdict = Verdict.of(len(ts), tuple((reason, bad & keep) for reason, bad in faults))
            self._rows_in += int(keep.sum())
            self._dead.append(verdict.dead(f"{inputs.dominance.name}:{column}", {"ts": ts, "level": level}))
            rows = np.flatnonzero(keep & verdict.accepted)
            rows = rows[np.argsort(ts[rows], kind="stable")]
            found[name] = Samples(ts[rows], level[rows])
        return found

    @staticmethod
    def _limit(inputs: Inputs) -> int:
        return inputs.end_ms if inputs.end_ms is not None else 2**62

    def _read_history(
        self, inputs: Inputs, starts: dict[Series, int]
    ) -> dict[Series, tuple[tuple[Timeframe, Bars], ...]]:
        found: dict[Series, dict[Timeframe, Bars]] = {}
        for file in inputs.history:
            read = read_bars(file.path, file.venue, file.timeframe, file.tokens or inputs.tokens, None, inputs.end_ms)
            self._count(read)
            for one, rows in read.series.items():
                if one not in starts:
                    continue
                if file.timeframe in found.setdefault(one, {}):
                    raise InputError(f"history of {one.venue}:{one.token} at {file.timeframe} comes from two files")
                before = rows.take(rows.ts < starts[one])
                found[one][file.timeframe] = _bars(before, history=True)
        return {one: tuple(sorted(parts.items(), key=lambda item: item[0].rank)) for one, parts in found.items()}

    def _count(self, read: Read[BarRows] | Read[TickRows]) -> None:
        self._rows_in += read.rows_in
        self._dead.append(read.dead)


def _refuse_unknown(wanted: tuple[str, ...], known: set[str]) -> None:
    unknown = sorted(set(wanted) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise InputError(f"no rows of {', '.join(unknown)} in the inputs and span: the tokens there are {listed}")
    if not known:
        raise InputError("no rows to replay: name a file with --bars or --ticks, and check --from, --to and --tokens")


def _starts(bars: dict[Series, tuple[Timeframe, BarRows]], ticks: dict[Series, TickRows]) -> dict[Series, int]:
    """Time of the first row of each series; of a tick series the start of its first minute."""
    both = set(bars) & set(ticks)
    if both:
        one = sorted(both)[0]
        raise InputError(f"{one.venue}:{one.token} comes as bars and as ticks: leave one of the two out")
    return {
        **{one: int(rows.ts[0]) for one, (_, rows) in bars.items()},
        **{one: int(rows.ts.min()) // MINUTE_MS * MINUTE_MS for one, rows in ticks.items()},
    }


def _end(bars: dict[Series, tuple[Timeframe, BarRows]], ticks: dict[Series, TickRows], end_ms: int | None) -> int:
    """Final watermark: the latest bar end over all inputs, or the end of the span (replay.md 3)."""
    if end_ms is not None:
        return end_ms
    bar_ends = [int(rows.ts[-1]) + timeframe.ms for timeframe, rows in bars.values()]
    tick_ends = [(int(rows.ts.max()) - LAST_HEARTBEAT_MS) // MINUTE_MS * MINUTE_MS for rows in ticks.values()]
    return max((*bar_ends, *tick_ends))


def _heartbeats(ticks: dict[Series, TickRows], end_ms: int) -> dict[str, I64]:
    """Clock records of each venue: one per event second, and one that closes the last minute of the run."""
    beats: dict[str, I64] = {}
    for venue in {one.venue for one in ticks}:
        seconds = [np.unique(rows.ts // SECOND_MS) * SECOND_MS for one, rows in ticks.items() if one.venue == venue]
        final = np.array([end_ms + LAST_HEARTBEAT_MS], dtype=np.int64)
        beats[venue] = np.unique(np.concatenate([*seconds, final])).astype(np.int64)
    return beats


def _track(
    one: Series,
    bars: tuple[Timeframe, BarRows] | None,
    ticks: TickRows | None,
    seconds: I64 | None,
    history: tuple[tuple[Timeframe, Bars], ...],
) -> Track:
    if bars is not None:
        timeframe, rows = bars
        last_ms = int(rows.ts[-1]) + timeframe.ms
        return Track(Instrument(one, timeframe), _bars(rows, history=False), Ticks.empty(), history, last_ms)
    assert ticks is not None, "a track has bars or ticks"
    assert seconds is not None, "every venue with ticks has a clock"
    last_ms = (int(ticks.ts.max()) // MINUTE_MS + 1) * MINUTE_MS
    return Track(Instrument(one, Timeframe.M1, ticks=True), Bars.empty(), _clocked(ticks, seconds), history, last_ms)


def _bars(rows: BarRows, *, history: bool) -> Bars:
    """Raw bars: the quote volume is estimated, a bar without volume is a filler."""
    count = len(rows.ts)
    filler = rows.volume_base == 0
    estimate = rows.volume_base * (rows.high + rows.low + rows.close) / 3
    kind: I8 = np.where(filler, np.int8(BarKind.GAP), np.int8(BarKind.REAL)).astype(np.int8)
    absent: F64 = np.full(count, np.nan)
    return Bars(
        ts=rows.ts,
        kind=kind,
        open=rows.open,
        high=rows.high,
        low=rows.low,
        close=rows.close,
        volume=estimate,
        volume_base=rows.volume_base,
        volume_est=np.ones(count, dtype=np.bool_),
        trades=np.full(count, -1, dtype=np.int64),
        buy_volume=absent,
        bars_used=np.where(filler, 0, 1).astype(np.int64),
        coverage=np.where(filler, 0.0, 1.0),
        gap_return=np.zeros(count, dtype=np.bool_),
        history=np.full(count, history, dtype=np.bool_),
    )


def _clocked(rows: TickRows, seconds: I64) -> Ticks:
    """Ticks in arrival order with a heartbeat before the first tick of each second."""
    reached = np.maximum.accumulate(rows.ts // SECOND_MS * SECOND_MS)
    before = np.searchsorted(reached, seconds, side="left")
    count = len(rows.ts) + len(seconds)
    heartbeat = np.zeros(count, dtype=np.bool_)
    heartbeat[before + np.arange(len(seconds))] = True

    def spread(ticks: I64, beats: I64 | int) -> I64:
        column = np.empty(count, dtype=np.int64)
        column[heartbeat] = beats
        column[~heartbeat] = ticks
        return column

    seq = spread(rows.seq, np.concatenate([rows.seq, rows.seq[-1:]])[before])
    side = spread(rows.side, -1).astype(np.int8)
    price, size = spread(rows.price_e8, 0), spread(rows.size_e8, 0)
    return Ticks(spread(rows.ts, seconds), heartbeat, price, size, side, seq, spread(rows.trade_id, 0))


def _bar_part(track: Track, start_ms: int, end_ms: int, *, first: bool) -> Raw:
    ends = track.bars.ts + track.instrument.source.ms
    rows = slice(*np.searchsorted(ends, [start_ms, end_ms], side="right"))
    watermark_ms = -1 if track.instrument.ticks else end_ms
    return Raw(Chunk(track.bars.take(rows), watermark_ms, track.last_ms), track.history if first else ())


def _tick_part(track: Track, start_ms: int, end_ms: int, *, last: bool) -> Chunk[Ticks]:
    """Ticks that arrived before the clock passed the edge; arrival order is kept, so the clock cuts, not the ticks."""
    clock = np.maximum.accumulate(np.where(track.ticks.heartbeat, track.ticks.ts, 0))
    low, high = np.searchsorted(clock, [start_ms, end_ms], side="right")
    rows = track.ticks.take(slice(int(low), None if last else int(high)))
    return Chunk(rows, end_ms, track.last_ms)


def _sample_part(rows: Samples, start_ms: int, end_ms: int) -> Chunk[Samples]:
    low, high = np.searchsorted(rows.ts, [start_ms, end_ms], side="right")
    return Chunk(rows.take(slice(int(low), int(high))), end_ms)


def _sampled(rows: Samples) -> tuple[Timeframe, ...]:
    """Driver timeframes that samples at this spacing can form: none is finer than the spacing (posture.md 6.4)."""
    spacing_ms = int(np.median(np.diff(rows.ts))) if len(rows) > 1 else Timeframe.D1.ms
    return tuple(timeframe for timeframe in (Timeframe.M1, Timeframe.H1, Timeframe.D1) if timeframe.ms >= spacing_ms)
