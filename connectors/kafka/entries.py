"""What people and venues put into the log beside trades: candles and connection records, and commands.

    patches    candles and connection records by series, with W when they were read and their place in the log
    commands   by token; a command takes its time from W when it was read, whatever its sender's clock said

Both go with the last minute that W has closed: what was read before that close is here (log_clock.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from connectors.kafka.batch import Batch, Found, Times
from connectors.kafka.log_clock import closed_ms, crosses
from lotus.columns import I64, Columns
from lotus.intake import Candles, Commands, Connections, ReadCandles, ReadConnections
from lotus.kernel import Chunk, Series
from lotus.mending import Patches

Numbers = Mapping[int, Sequence[int]]


class Entries:
    """Makes the patches and commands of a batch."""

    def __init__(
        self, series: Sequence[Series], series_of: Numbers, tokens: Sequence[str], tokens_of: Numbers, grace_ms: int
    ) -> None:
        """`series_of`, `tokens_of`: numbers of what lives in each partition."""
        self._series, self._series_of = series, series_of
        self._tokens, self._tokens_of = tokens, tokens_of
        self._grace_ms = grace_ms

    def patches(
        self, batch: Batch, candles: Found | None, connections: Found | None, times: Times
    ) -> tuple[tuple[Series, Patches], ...]:
        """Candles and connection records of every series that has some or must hear of a closed minute."""
        candles_of = self._candles(batch, candles, times)
        links_of = self._links(batch, connections, times)
        found: list[tuple[Series, Patches]] = []
        for partition in batch.starts:
            reached_ms = closed_ms(times.after_ms(partition), self._grace_ms)
            crossed = self._crossed(times, partition)
            nothing = Patches(watermark_ms=reached_ms)
            for one in [self._series[number] for number in self._series_of[partition]]:
                if one in candles_of or one in links_of:
                    rows = candles_of.get(one, nothing.candles), links_of.get(one, nothing.connections)
                    found.append((one, Patches(*rows, reached_ms)))
                elif crossed:
                    found.append((one, nothing))
        return tuple(found)

    def commands(self, batch: Batch, found: Found | None, times: Times) -> tuple[tuple[str, Chunk[Commands]], ...]:
        """Commands of every token that has some or must hear of a closed minute."""
        given: dict[str, list[Commands]] = {}
        if found is not None:
            rows = found.rows
            assert isinstance(rows, Commands)
            rows = replace(rows, ts=times.at(found.at))
            for row, lane in enumerate(found.lane.tolist()):
                given.setdefault(found.lanes[lane][0], []).append(rows.take(slice(row, row + 1)))
        chunks: list[tuple[str, Chunk[Commands]]] = []
        for partition in batch.starts:
            reached_ms = closed_ms(times.after_ms(partition), self._grace_ms)
            for token in [self._tokens[number] for number in self._tokens_of[partition]]:
                if token in given or self._crossed(times, partition):
                    chunks.append((token, Chunk(Commands.concat(given.get(token, [])), reached_ms)))
        return tuple(chunks)

    def _crossed(self, times: Times, partition: int) -> bool:
        return crosses(times.before_ms(partition), times.after_ms(partition), self._grace_ms)

    @staticmethod
    def _candles(batch: Batch, found: Found | None, times: Times) -> dict[Series, ReadCandles]:
        if found is None or not len(found.at):
            return {}
        rows = found.rows
        assert isinstance(rows, Candles)
        read = ReadCandles(**_cells(rows), read_ts=times.at(found.at), position=batch.offsets[found.at])
        return {
            Series(venue, token): read.take(found.lane == number)
            for number, (token, venue, _) in enumerate(found.lanes)
        }

    def _links(self, batch: Batch, found: Found | None, times: Times) -> dict[Series, ReadConnections]:
        """Connection records stand in every partition; one that names no token concerns all."""
        if found is None or not len(found.at):
            return {}
        rows = found.rows
        assert isinstance(rows, Connections)
        read = ReadConnections(**_cells(rows), read_ts=times.at(found.at), position=batch.offsets[found.at])
        partitions = batch.partitions[found.at]
        chosen: dict[Series, list[int]] = {}
        for row, names in enumerate(rows.tokens.tolist()):
            tokens = {name.strip() for name in names.split(",")} - {""}
            for one in [self._series[number] for number in self._series_of[int(partitions[row])]]:
                if not tokens or one.token in tokens:
                    chosen.setdefault(one, []).append(row)
        return {one: read.take(_rows(places)) for one, places in chosen.items()}


def _cells(rows: Columns) -> dict[str, Any]:
    return {name: getattr(rows, name) for name in rows.layout()}


def _rows(places: list[int]) -> I64:
    return np.array(places, np.int64)
