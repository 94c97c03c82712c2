"""The market of the live tests: an hour of recorded ticks with stragglers and repeats, as files, as a log, as a run.

The same rows three times: what a replay of the files writes is what every deployment that is fed with them writes.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from connectors.decisions_digest import DECISION, Digest, digest_of_written
from connectors.feeder import Pace, feed
from connectors.inputs import Inputs
from connectors.live import LiveConfig
from connectors.moments import Recorded
from connectors.postgres.connection import connect
from connectors.postgres.read import counts, table_hashes
from connectors.postgres.written_rows import written_rows
from connectors.settings import load_settings
from connectors.simulator import VENUE
from connectors.tape import Tape
from flows.session import Request, run
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.connectors import tick_files
from tests.connectors.frames import HOUR
from tests.connectors.memory_log import MemoryLog

TIMEFRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)
PARTITIONS = 4
SOURCE = "recording"
QUIET_MINUTES = 3  # after the last trade: the stragglers arrive, the last minutes close
HOURS = 1


@dataclass(frozen=True)
class Recording:
    """A recorded market.

    inputs  its files; the span ends at a full minute, so that the last heartbeat closes the last minute and all
            messages are read when that minute is there
    """

    inputs: Inputs

    @cached_property
    def tape(self) -> Tape:
        """The files read."""
        return Tape(self.inputs)

    @property
    def begin_ms(self) -> int:
        """Start of its first minute."""
        return self.tape.manifest.start_ms

    @property
    def end_ms(self) -> int:
        """Up to where a run over it is complete."""
        assert self.inputs.end_ms is not None, "the span has an end"
        return self.inputs.end_ms

    @property
    def market(self) -> Recorded:
        """What a feeder feeds: a heartbeat in every second."""
        return Recorded(self.tape, SOURCE, every_second=True)

    @cached_property
    def log(self) -> MemoryLog:
        """The input log as a feeder writes it, with as few heartbeats as will do."""
        log = MemoryLog(PARTITIONS, SOURCE)
        feed(Recorded(self.tape, SOURCE), log, Pace(None))
        return log

    def live(self, run: str, prefix: str) -> LiveConfig:
        """A deployment for it."""
        return LiveConfig(
            run=run,
            topic_prefix=prefix,
            partitions=PARTITIONS,
            venue=VENUE,
            tokens=tuple(one.series.token for one in self.tape.manifest.instruments),
            timeframes=TIMEFRAMES,
            sources=(SOURCE,),
            dominance=tuple(name for name, _ in self.tape.manifest.dominance),
            dominance_every_ms=Timeframe.D1.ms,
            history=tuple(f"{file.venue}:{file.timeframe}={file.path}" for file in self.inputs.history),
            buckets=str(self.inputs.buckets or ""),
            recorded_time=True,
        )


@dataclass(frozen=True)
class Expected:
    """What a replay of the files has written."""

    rows: dict[str, int]
    hashes: dict[str, str]
    decisions: Digest


def recorded(folder: Path, hours: int = HOURS, seed: int = 5) -> Recording:
    """Write the files."""
    made = tick_files.recording(folder, hours, seed).inputs
    end_ms = tick_files.BEGIN_MS + hours * HOUR + QUIET_MINUTES * MINUTE_MS
    return Recording(replace(made, end_ms=end_ms))


def replayed(recording: Recording, dsn: str, run_id: str = "tape") -> Expected:
    """Replay the files into a database."""
    run(Request(recording.inputs, load_settings(None, {}), TIMEFRAMES, run_id=run_id, dsn=dsn))
    return written(dsn, run_id)


def written(dsn: str, run_id: str) -> Expected:
    """What a replay has written into a database."""
    with connect(dsn) as connection:
        decisions = digest_of_written(written_rows(connection, run_id, DECISION))
        return Expected(counts(connection, run_id), table_hashes(connection, run_id), decisions)
