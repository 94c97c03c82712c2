"""All files of a replay, read and checked before its first slice (replay.md 1, 4; docs/bad-input.md).

Rows of the chosen tokens inside the span are looked at: each is accepted or a dead letter. The source of a dead letter
is the option that named its file, because a run is identified by what its files hold, not by what they are called.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from connectors.inputs import BarsFile, HistoryFile, InputError, Inputs, TicksFile
from connectors.parquet import BarRows, Read, TickRows, read_bars, read_samples, read_ticks
from lotus.kernel import Series
from lotus.records import DeadLetters, Samples
from lotus.timeframe import MINUTE_MS, Timeframe

DOMINANCE = {"dom:BTC": "btc_dominance_pct", "dom:USDT": "usdt_dominance_pct"}
LAST_HEARTBEAT_MS = 5_000  # the final heartbeat stands this long after the end of the run (replay.md 3)
BarsOf = dict[Series, tuple[Timeframe, BarRows]]
TicksOf = dict[Series, TickRows]
HistoryOf = dict[Series, dict[Timeframe, BarRows]]
F = TypeVar("F", BarsFile, HistoryFile, TicksFile)
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recordings:
    """The rows of all files.

    bars      per series its timeframe and rows
    ticks     per series, in order of arrival
    history   per series and timeframe, cut to the buckets that begin before the series' first row
    samples   per dominance series, up to the end
    start_ms  open time of the earliest row; with an open end the minute in which the first row arrived
    end_ms    final watermark: the end of the span, else the latest bar end over all inputs (replay.md 3)
    dead      rejected rows, file by file
    rows_in   number of rows that were looked at
    """

    bars: BarsOf
    ticks: TicksOf
    history: HistoryOf
    samples: dict[str, Samples]
    start_ms: int
    end_ms: int
    dead: DeadLetters
    rows_in: int


def read_recordings(inputs: Inputs) -> Recordings:
    """Read every file once; raises InputError when the run cannot be started."""
    reading = _Reading(inputs)
    bars, ticks = reading.bars(), reading.ticks()
    _refuse_missing(inputs.tokens, reading.tokens, {one.token for one in (*bars, *ticks)})
    starts = _starts(bars, ticks)
    if inputs.open_ended:
        starts = dict.fromkeys(starts, _first_minute_ms(bars, ticks))
    end_ms = inputs.end_ms if inputs.end_ms is not None else _latest_end(bars, ticks)
    samples = reading.samples(end_ms)
    history = reading.history(starts)
    dead = DeadLetters.concat(reading.dead)
    return Recordings(bars, ticks, history, samples, min(starts.values()), end_ms, dead, reading.rows_in)


def read_history(inputs: Inputs, starts: dict[Series, int]) -> HistoryOf:
    """Warm-up bars of series that begin at these times; raises InputError when a file cannot be used."""
    return _Reading(inputs).history(starts)


class _Reading:
    """The files one after the other; what was rejected and counted piles up here."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.dead: list[DeadLetters] = []
        self.rows_in = 0
        self.tokens: set[str] = set()  # of all bars and ticks, whatever the span

    def bars(self) -> BarsOf:
        """Bars of all files; several files of one series are joined."""
        found: BarsOf = {}
        span = self._inputs.tokens, self._inputs.start_ms, self._inputs.end_ms
        for source, file in _named("bars", self._inputs.bars):
            earlier = {one: rows.ts for one, (_, rows) in found.items()}
            read = self._counted(
                read_bars(file.path, file.venue, file.timeframe, *span, source=source, earlier=earlier)
            )
            self.tokens |= read.tokens
            for one, rows in read.series.items():
                timeframe, before = found.get(one, (file.timeframe, None))
                if timeframe is not file.timeframe:
                    raise InputError(
                        f"{one.venue}:{one.token} comes at {timeframe} and at {file.timeframe}: "
                        "name the coarser file with --history"
                    )
                found[one] = timeframe, rows if before is None else before.with_more(rows)
        return found

    def ticks(self) -> TicksOf:
        """Trades of all files; those without numbers of arrival are numbered through in the order of the options."""
        found: TicksOf = {}
        first_seq = 0
        span = self._inputs.tokens, self._inputs.start_ms, self._inputs.end_ms
        for source, file in _named("ticks", self._inputs.ticks):
            earlier = {one: rows.seq for one, rows in found.items()}
            read = self._counted(
                read_ticks(file.path, file.venue, *span, source=source, first_seq=first_seq, earlier=earlier)
            )
            first_seq += read.length
            self.tokens |= read.tokens
            for one, rows in read.series.items():
                found[one] = found[one].with_more(rows) if one in found else rows
        return found

    def samples(self, end_ms: int) -> dict[str, Samples]:
        """Dominance samples that are known by the end; a series without any is left out."""
        if self._inputs.dominance is None:
            return {}
        read = self._counted(read_samples(self._inputs.dominance, DOMINANCE, end_ms))
        return {name: rows for name, rows in read.series.items() if len(rows)}

    def history(self, starts: dict[Series, int]) -> HistoryOf:
        """Warm-up bars of the run's series, each cut where its series begins (replay.md 4)."""
        found: HistoryOf = {}
        for source, file in _named("history", self._inputs.history):
            wanted = _served(file, starts)
            if not wanted:
                continue
            end_ms = self._inputs.end_ms
            read = self._counted(read_bars(file.path, file.venue, file.timeframe, wanted, None, end_ms, source=source))
            absent = sorted(set(file.tokens) - read.tokens)
            if absent:
                raise InputError(f"{file.path} has no {', '.join(absent)}: correct the tokens of --history")
            for one, rows in read.series.items():
                timeframes = found.setdefault(one, {})
                if file.timeframe in timeframes:
                    raise InputError(f"history of {one.venue}:{one.token} at {file.timeframe} comes from two files")
                timeframes[file.timeframe] = rows.take(rows.ts < starts[one])
        return found

    def _counted(self, read: Read[K, T]) -> Read[K, T]:
        self.rows_in += read.rows_in
        self.dead.append(read.dead)
        return read


def _named(option: str, files: Sequence[F]) -> list[tuple[str, F]]:
    """Each file with the words of its option; a number tells apart files that the same words name."""
    seen: Counter[str] = Counter()
    found = []
    for file in files:
        words = f"{option} {file.venue}" if isinstance(file, TicksFile) else f"{option} {file.venue}:{file.timeframe}"
        seen[words] += 1
        found.append((words if seen[words] == 1 else f"{words} #{seen[words]}", file))
    return found


def _served(file: HistoryFile, starts: dict[Series, int]) -> tuple[str, ...]:
    """Tokens of the run that a history is meant for; raises InputError when its venue is not in the run."""
    served = {one.token for one in starts if one.venue == file.venue}
    if not served:
        venues = ", ".join(sorted({one.venue for one in starts}))
        raise InputError(f"history is given for {file.venue}, but the series of this run are on {venues}")
    return tuple(sorted(served & set(file.tokens) if file.tokens else served))


def _refuse_missing(wanted: tuple[str, ...], in_files: set[str], in_span: set[str]) -> None:
    """Refuse a run without rows, or without those that were asked for."""
    unknown = sorted(set(wanted) - in_files)
    if unknown and in_files:
        raise InputError(f"no file has {', '.join(unknown)}: the tokens there are {', '.join(sorted(in_files))}")
    absent = sorted(set(wanted) - in_span)
    if absent and in_span:
        raise InputError(f"no rows of {', '.join(absent)} in the span: check --from and --to")
    if not in_span:
        raise InputError("no rows to replay: name a file with --bars or --ticks, and check --from, --to and --tokens")


def _starts(bars: BarsOf, ticks: TicksOf) -> dict[Series, int]:
    """Time of the first row of each series; of a tick series the start of its first minute."""
    both = sorted(set(bars) & set(ticks))
    if both:
        raise InputError(f"{both[0].venue}:{both[0].token} comes as bars and as ticks: leave one of the two out")
    return {
        **{one: int(rows.ts[0]) for one, (_, rows) in bars.items()},
        **{one: int(rows.ts.min()) // MINUTE_MS * MINUTE_MS for one, rows in ticks.items()},
    }


def _first_minute_ms(bars: BarsOf, ticks: TicksOf) -> int:
    """The minute of the first clock, as a live run knows it: it knows no row that has not arrived yet."""
    arrived = [*(int(rows.ts[0]) for _, rows in bars.values()), *(int(rows.ts[0]) for rows in ticks.values())]
    return min(arrived) // MINUTE_MS * MINUTE_MS


def _latest_end(bars: BarsOf, ticks: TicksOf) -> int:
    """The latest bar end over all inputs; a minute of ticks has ended when their own clock has closed it."""
    bar_ends = [int(rows.ts[-1]) + timeframe.ms for timeframe, rows in bars.values()]
    tick_ends = [(int(rows.ts.max()) - LAST_HEARTBEAT_MS) // MINUTE_MS * MINUTE_MS for rows in ticks.values()]
    return max((*bar_ends, *tick_ends))
