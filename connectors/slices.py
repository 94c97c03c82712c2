"""A feed as the engine's source: one partition, one slice a batch, the number of the next slice as its snapshot.

With one batch an epoch every kernel is snapshotted between two slices, and all of them at the same one.
"""

from collections.abc import Callable

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from lotus.feed import Feed, Slice

PARTITION = "tape"


class FeedPartition(StatefulSourcePartition[Slice, int]):
    """Reads slices in order; a replay has no clock, so the next slice is always due."""

    def __init__(self, feed: Feed, position: int, done: Callable[[int, int], None]) -> None:
        """Start at slice number `position`; `done(slices, of)` is told after each slice has been asked for."""
        self._slices = feed.slices(position)
        self._position, self._total, self._done = position, feed.manifest.slices, done

    def next_batch(self) -> list[Slice]:
        """The next slice; raises StopIteration after the last."""
        self._done(self._position, self._total)
        piece = next(self._slices)
        self._position += 1
        return [piece]

    def snapshot(self) -> int:
        """Number of the next slice."""
        return self._position


class FeedSource(FixedPartitionedSource[Slice, int]):
    """The source of a replay."""

    def __init__(self, feed: Feed, done: Callable[[int, int], None] = lambda _slices, _of: None) -> None:
        """`done` is called with the number of finished slices and their total."""
        self._feed, self._done = feed, done

    def list_parts(self) -> list[str]:
        """One partition: event time is merged before the engine sees it."""
        return [PARTITION]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> FeedPartition:
        """Resume behind the last slice of the snapshot."""
        return FeedPartition(self._feed, resume_state or 0, self._done)
