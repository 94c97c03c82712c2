"""The servers that the checks break, started when first wanted, and whole deployments on them.

with Stand(folder) as stand, stand.deployment() as deployment: ...
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from tests.live.deployment import Deployment
from tests.live.recorded import Expected, Recording, recorded, replayed
from tests.live.rescaling import differences

CRASHES_SHOW = {"restart_after_crash": "off"}  # a server that comes back by itself hides its crash
PATIENT = {"watchdog_ms": 300_000}  # a machine that others use too is slow, and that is not the fault under test


@dataclass(frozen=True)
class Market:
    """What is fed, and what must come of it."""

    recording: Recording
    expected: Expected


class Stand:
    """One Postgres, one Kafka, one recording and what its replay writes."""

    def __init__(self, folder: Path) -> None:
        """Nothing starts yet."""
        self.folder = folder
        self._numbers = itertools.count()
        self._open = contextlib.ExitStack()
        self.start_seconds: float | None = None  # of a process until its first batch, once somebody has measured it
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # Postgres may run as another user

    def __enter__(self) -> "Stand":
        """Itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop what was started."""
        self._open.close()

    def place(self, name: str) -> Path:
        """A new folder."""
        place = self.folder / f"{name}{next(self._numbers)}"
        place.mkdir()
        place.chmod(0o711)
        return place

    @cached_property
    def compiled(self) -> bool:
        """Kernels are compiled once, before anything is timed: on a busy machine that takes longer than a watchdog."""
        done = subprocess.run([sys.executable, "-m", "flows.cli", "compile"], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return True

    @cached_property
    def server(self) -> EmbeddedPostgres:
        """The Postgres that most checks share."""
        return self._open.enter_context(EmbeddedPostgres(self.folder / "postgres", settings=CRASHES_SHOW))

    @cached_property
    def broker(self) -> EmbeddedKafka:
        """The Kafka that all checks share; who kills it starts it again."""
        return self._open.enter_context(EmbeddedKafka(self.folder / "kafka"))

    @property
    def kafka(self) -> KafkaAddress:
        """Where it is."""
        return KafkaAddress(self.broker.brokers)

    @cached_property
    def recording(self) -> Recording:
        """An hour of a market."""
        return recorded(self.place("recording"))

    @cached_property
    def expected(self) -> Expected:
        """What an uninterrupted replay of it writes: the oracle."""
        return self.market(self.recording).expected

    @property
    def hour(self) -> Market:
        """That recording and its oracle."""
        return Market(self.recording, self.expected)

    def market(self, recording: Recording) -> Market:
        """Another recording, replayed too."""
        expected = replayed(recording, self.database(), f"tape-{os.getpid()}")  # others may run the programme too
        assert expected.decisions.n > 0, "nothing is decided: this market would prove nothing"
        return Market(recording, expected)

    def database(self, server: EmbeddedPostgres | None = None) -> str:
        """Dsn of a new database with all tables."""
        dsn = (server or self.server).ensure_database(f"chaos{next(self._numbers)}")
        with connect(dsn) as connection:
            migrate(connection)
        return dsn

    @contextlib.contextmanager
    def deployment(
        self,
        dsn: str | None = None,
        address: KafkaAddress | None = None,
        recording: Recording | None = None,
        **live: Any,
    ) -> Iterator[Deployment]:
        """Topics and a run of its own; no process is left behind. `live` changes its section [live]."""
        assert self.compiled
        number = next(self._numbers)
        config = replace((recording or self.recording).live("live", f"chaos{number}-"), **{**PATIENT, **live})
        folder = self.place("deployment")
        with Deployment(address or self.kafka, dsn or self.database(), folder, config) as deployment:
            deployment.create()
            yield deployment
        shutil.rmtree(folder, ignore_errors=True)

    def finished(self, deployment: Deployment, dead: tuple[str, ...] = (), market: Market | None = None) -> list[str]:
        """Wait for the end, stop, and say what is not as it would be without faults."""
        fed = market or self.hour
        deployment.wait(fed.recording.end_ms, dead=dead)
        codes = deployment.stop()
        wrong = [f"{name} ended with {code}" for name, code in codes.items() if code and name not in dead]
        if deployment.outcome().decisions != fed.expected.decisions:
            wrong.append("decisions on the topic are others")
        return wrong + differences(deployment, fed.expected)
