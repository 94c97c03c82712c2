"""Samples and executions: rows that a promise goes with, "nothing known at or before this time will follow".

    W        ....12:00:04  12:00:05 ....                 grace 5 s
    promise  ....11:59:00  12:00:00 ....                 the last minute that W has closed, as for bars

Rules
- A sample behind the promise is refused: a bar that would hold it may be out. A sample that is not after the last one
  of its asset is refused too, because the kernel reads levels in ascending time.
- A report of a venue is money and is never refused for its time. It is known when it was read: a time behind the
  promise becomes the first one after it, a time ahead of W becomes the last one that a trade could have.
- Executions of one instant come in one chunk (scaling.md 12): they wait here until the promise has passed them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from connectors.checks import EARLIEST_MS, LATEST_MS, MOST_MONEY
from connectors.kafka.batch import Batch, Found, Times
from connectors.kafka.letters import Letters, Refusal, as_row
from connectors.kafka.log_clock import closed_ms, crosses
from lotus.intake import Levels
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.records import Executions, Samples
from lotus.timeframe import Timeframe

SAMPLE, EXECUTION = "sample", "execution"


@dataclass(frozen=True, slots=True)
class ReportRules:
    """What is known, and how far a time may be off W."""

    grace_ms: int
    future_ms: int
    sample_lag_ms: int
    assets: tuple[str, ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class PartitionReports:
    """What lives between batches.

    sampled  time of the last sample of each asset
    waiting  executions that the promise has not passed, in the order of the log
    """

    sampled: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[Lane, Executions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a batch says, and the state of each of its partitions behind it."""

    samples: tuple[tuple[str, Chunk[Samples]], ...]
    executions: tuple[tuple[Lane, Chunk[Executions]], ...]
    waiting: dict[int, PartitionReports]


class Reports:
    """Reads samples and executions of a batch."""

    def __init__(
        self, rules: ReportRules, assets_of: Mapping[int, Sequence[int]], lanes_of: Mapping[int, Sequence[int]]
    ) -> None:
        """`assets_of`, `lanes_of`: numbers of what lives in each partition."""
        self._rules = rules
        self._assets, self._lanes = frozenset(rules.assets), frozenset(rules.lanes)
        self._assets_of, self._lanes_of = assets_of, lanes_of

    def read(
        self,
        batch: Batch,
        found: Mapping[str, Found],
        times: Times,
        before: Mapping[int, PartitionReports],
        letters: Letters,
    ) -> Reported:
        """Rows of the batch with the promise behind it."""
        after = {partition: before[partition] for partition in batch.starts}
        levels = self._levels(batch, found.get(SAMPLE), times, after, letters)
        self._take_in(batch, found.get(EXECUTION), times, after, letters)
        samples: list[tuple[str, Chunk[Samples]]] = []
        executions: list[tuple[Lane, Chunk[Executions]]] = []
        for partition in batch.starts:
            promise_ms = closed_ms(times.after_ms(partition), self._rules.grace_ms)
            crossed = crosses(times.before_ms(partition), times.after_ms(partition), self._rules.grace_ms)
            sampled_ms = max(promise_ms - self._rules.sample_lag_ms, -1)
            for asset in [self._rules.assets[number] for number in self._assets_of[partition]]:
                if crossed or asset in levels:
                    samples.append((asset, Chunk(_samples(levels.get(asset, ())), sampled_ms)))
            if crossed:
                released, after[partition] = self._released(partition, after[partition], promise_ms)
                executions += released
        return Reported(tuple(samples), tuple(executions), after)

    def _levels(
        self,
        batch: Batch,
        found: Found | None,
        times: Times,
        after: dict[int, PartitionReports],
        letters: Letters,
    ) -> dict[str, list[tuple[int, float]]]:
        """Accepted samples by asset."""
        levels: dict[str, list[tuple[int, float]]] = {}
        if found is None or not len(found.rows):
            return levels
        rows = found.rows
        assert isinstance(rows, Levels)
        watermarks = times.at(found.at).tolist()
        for row, at in enumerate(found.at.tolist()):
            partition, asset, ts_ms = int(batch.partitions[at]), found.lanes[found.lane[row]][0], int(rows.ts[row])
            sampled = after[partition].sampled
            if reason := self._sample_refusal(asset, ts_ms, watermarks[row], sampled.get(asset, -1)):
                known = as_row(SAMPLE, found.lanes[found.lane[row]], rows, row)
                letters.add(partition, int(batch.offsets[at]), reason, known)
                continue
            after[partition] = replace(after[partition], sampled={**sampled, asset: ts_ms})
            levels.setdefault(asset, []).append((ts_ms, float(rows.level[row])))
        return levels

    def _sample_refusal(self, asset: str, ts_ms: int, watermark_ms: int, last_ms: int) -> Refusal | None:
        rules = self._rules
        if asset not in self._assets:
            return Refusal.ASSET_UNKNOWN
        if not EARLIEST_MS <= ts_ms <= LATEST_MS:
            return Refusal.TIME_OUT_OF_RANGE
        if 0 <= watermark_ms < ts_ms - rules.future_ms:
            return Refusal.FUTURE
        if ts_ms == last_ms:
            return Refusal.DUPLICATE
        promise_ms = max(closed_ms(watermark_ms, rules.grace_ms) - rules.sample_lag_ms, -1)
        return Refusal.TOO_LATE if ts_ms <= max(last_ms, promise_ms) else None

    def _take_in(
        self,
        batch: Batch,
        found: Found | None,
        times: Times,
        after: dict[int, PartitionReports],
        letters: Letters,
    ) -> None:
        """Put executions with those that wait, at times that W allows."""
        if found is None or not len(found.rows):
            return
        rows = found.rows
        assert isinstance(rows, Executions)
        watermarks = times.at(found.at).tolist()
        for row, at in enumerate(found.at.tolist()):
            partition, lane = int(batch.partitions[at]), _lane(found.lanes[found.lane[row]])
            if reason := self._execution_refusal(lane, rows, row):
                known = as_row(EXECUTION, found.lanes[found.lane[row]], rows, row)
                letters.add(partition, int(batch.offsets[at]), reason, known)
                continue
            assert lane is not None
            report = rows.take(slice(row, row + 1))
            moved = replace(report, ts=np.array([self._known_ms(int(rows.ts[row]), watermarks[row])], np.int64))
            waiting = after[partition].waiting
            joined = Executions.concat([waiting.get(lane, Executions.empty()), moved])
            after[partition] = replace(after[partition], waiting={**waiting, lane: joined})

    def _execution_refusal(self, lane: Lane | None, rows: Executions, row: int) -> Refusal | None:
        if lane not in self._lanes:
            return Refusal.LANE_UNKNOWN
        if not EARLIEST_MS <= int(rows.ts[row]) <= LATEST_MS:
            return Refusal.TIME_OUT_OF_RANGE
        amounts = (rows.usd[row], rows.qty[row], rows.price[row], rows.fee[row])
        return None if all(0 <= amount < MOST_MONEY for amount in amounts) else Refusal.AMOUNT_OUT_OF_RANGE

    def _known_ms(self, ts_ms: int, watermark_ms: int) -> int:
        """The nearest time that is neither promised away nor ahead of what a clock allows."""
        if watermark_ms < 0:
            return ts_ms
        promise_ms = closed_ms(watermark_ms, self._rules.grace_ms)
        return min(max(ts_ms, promise_ms + 1), watermark_ms + self._rules.future_ms)

    def _released(
        self, partition: int, reports: PartitionReports, promise_ms: int
    ) -> tuple[list[tuple[Lane, Chunk[Executions]]], PartitionReports]:
        """Executions of every lane up to the promise, and the state that keeps the others."""
        released: list[tuple[Lane, Chunk[Executions]]] = []
        waiting: dict[Lane, Executions] = {}
        for lane in [self._rules.lanes[number] for number in self._lanes_of[partition]]:
            rows = reports.waiting.get(lane)
            if rows is None:
                released.append((lane, Chunk(Executions.empty(), promise_ms)))
                continue
            due = rows.ts <= promise_ms
            ready = rows.take(due)
            released.append((lane, Chunk(ready.take(np.argsort(ready.ts, kind="stable")), promise_ms)))
            if not due.all():
                waiting[lane] = rows.take(~due)
        return released, replace(reports, waiting=waiting)


def _lane(text: tuple[str, str, str]) -> Lane | None:
    token, venue, timeframe = text
    return Lane(token, venue, Timeframe(timeframe)) if timeframe in set(Timeframe) else None


def _samples(levels: Sequence[tuple[int, float]]) -> Samples:
    return Samples(np.array([ts for ts, _ in levels], np.int64), np.array([level for _, level in levels], np.float64))
