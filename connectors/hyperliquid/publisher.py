"""What the ingester writes to: the input log, or lists in a test. `connectors.kafka.intake.IntakeWriter` is one."""

from typing import Protocol

from lotus.columns import I64, Columns
from lotus.intake import Link

LaneText = tuple[str, str, str]  # token, venue, timeframe: "" for what has none


class Publisher(Protocol):
    """Takes records in order; what it raises ends the process."""

    def write(self, noun: str, lane: LaneText, rows: Columns) -> None:
        """Rows of one key."""
        ...

    def beat(self, ts: int) -> None:
        """A heartbeat of this source, to every partition."""
        ...

    def connection(self, ts: int, state: Link, tokens: tuple[str, ...]) -> None:
        """A connection record of this source, to every partition."""
        ...

    def flush(self) -> None:
        """Wait until everything is delivered."""
        ...


class Numbering(Protocol):
    """Numbers of arrival, strictly ascending, over restarts too: `connectors.kafka.intake.SeqClock` is one."""

    def take(self, count: int) -> I64:
        """The numbers of so many records that have just arrived."""
        ...
