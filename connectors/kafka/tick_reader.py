"""Ticks of a batch, by series; and who else has to hear of W.

W begins     every series hears the very first W: what the kernel read before counts as read then
W closes     every series of the partition hears the W behind the batch
otherwise    a series hears of W when it has a tick
"""

from collections.abc import Mapping, Sequence

import numpy as np

from connectors.checks import outside_of_time
from connectors.kafka.batch import Batch, Found, Times, refused
from connectors.kafka.letters import Letters, Refusal
from connectors.kafka.log_clock import crosses
from connectors.kafka.tick_batches import batches, beat
from lotus.columns import I64
from lotus.intake import Trades
from lotus.kernel import Chunk, Series
from lotus.records import Ticks

TICK = "tick"
Heard = dict[int, list[Ticks]]


class TickReader:
    """Makes the batches of all series."""

    def __init__(self, series: Sequence[Series], series_of: Mapping[int, Sequence[int]], grace_ms: int) -> None:
        """`series_of`: numbers of the series that live in each partition."""
        self._series, self._series_of, self._grace_ms = series, series_of, grace_ms
        self._numbers = {(one.token, one.venue): number for number, one in enumerate(series)}
        self._partition_of = np.full(len(series), -1, np.int64)
        for partition, found in series_of.items():
            self._partition_of[list(found)] = partition

    def read(
        self, batch: Batch, found: Found | None, times: Times, letters: Letters
    ) -> tuple[tuple[Series, Chunk[Ticks]], ...]:
        """A batch for each series that has ticks or must hear of W, in the order of the series."""
        begun = {at: times.begun_ms(at) for at in batch.starts if times.begun_ms(at) >= 0}
        closing = {at: times.after_ms(at) for at in batch.starts if self._closes(times, at)}
        heard: Heard = {}
        busy: set[int] = set()
        if found is not None:
            found, series = self._known(batch, found, letters)
            watermarks = times.at(found.at)
            early = watermarks < 0
            if early.any():
                self._group(heard, found.take(early), series[early], watermarks[early], begun)
                found, series, watermarks = found.take(~early), series[~early], watermarks[~early]
            self._tell(heard, begun, set(heard))
            busy = self._group(heard, found, series, watermarks, closing)
        else:
            self._tell(heard, begun, set())
        self._tell(heard, {at: ms for at, ms in closing.items() if begun.get(at) != ms}, busy)
        numbers = sorted(heard)
        partitions = self._partition_of[numbers].tolist()
        after_ms = {at: times.after_ms(at) for at in batch.starts}
        return tuple(
            (self._series[number], Chunk(Ticks.concat(heard[number]), after_ms[partition]))
            for number, partition in zip(numbers, partitions, strict=True)
        )

    def _closes(self, times: Times, partition: int) -> bool:
        return crosses(times.before_ms(partition), times.after_ms(partition), self._grace_ms)

    def _known(self, batch: Batch, found: Found, letters: Letters) -> tuple[Found, I64]:
        """Ticks of known series whose time and number make sense, and the number of the series of each."""
        rows = found.rows
        assert isinstance(rows, Trades)
        numbers = np.array([self._numbers.get((token, venue), -1) for token, venue, _ in found.lanes], np.int64)
        strange = numbers[found.lane] < 0 if (numbers < 0).any() else np.zeros(len(rows), np.bool_)
        checks = (
            (Refusal.SERIES_UNKNOWN, strange),
            (Refusal.TIME_OUT_OF_RANGE, outside_of_time(rows.ts)),
            (Refusal.SEQ_NEGATIVE, rows.seq < 0),
        )
        found = refused(batch, found, TICK, checks, letters)
        return found, numbers[found.lane]

    def _group(self, heard: Heard, found: Found, series: I64, watermarks: I64, closing: Mapping[int, int]) -> set[int]:
        """Add the batches of series with ticks; returns which these are."""
        rows = found.rows
        assert isinstance(rows, Trades)
        ends = np.full(len(self._series), -1, np.int64)
        for partition, end_ms in closing.items():
            ends[self._partition_of == partition] = end_ms
        grouped = batches(rows, series, watermarks, ends)
        for number, ticks in grouped:
            heard.setdefault(number, []).append(ticks)
        return {number for number, _ in grouped}

    def _tell(self, heard: Heard, watermarks: Mapping[int, int], busy: set[int]) -> None:
        """Add a heartbeat for each series of these partitions that has none yet."""
        for partition, watermark_ms in watermarks.items():
            last = beat(watermark_ms)
            for number in self._series_of[partition]:
                if number not in busy:
                    heard.setdefault(number, []).append(last)
