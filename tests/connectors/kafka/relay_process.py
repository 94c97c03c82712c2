"""A relay in a process of its own, made to be killed, stopped and doubled."""

import multiprocessing
import sys
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from connectors import failpoints
from connectors.kafka.backlog import Backlog, Pending
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.relay import FENCED_EXIT, FencedError, Relay, RelaySettings
from connectors.kafka.standing import Standing
from connectors.kafka.transactions import TransactionalProducer
from connectors.postgres.connection import connect
from tests.connectors.kafka.outbox_rows import RUN, WRITER
from tests.kafka_reader import Place

RESTARTABLE_EXIT = 3


class Job(NamedTuple):
    """fail: a point and a pass, to die there. early_mark: the bug of a relay that marks before it commits."""

    dsn: str
    brokers: str
    transactional_id: str
    places: Sequence[Place]
    ready: Path
    batch_rows: int = 50
    fail: str = ""
    early_mark: bool = False


class EarlyMarkRelay(Relay):
    """Wrong on purpose: it marks what it is about to commit, and at the start believes the mark, not the topics."""

    def _publish(self, producer: TransactionalProducer, rows: Sequence[Pending]) -> None:
        with connect(self._dsn) as connection:
            Backlog(connection, self._run_id, self._writer).mark(rows[-1].seq)
        self._numbers = {row.place: row.number - 1 for row in reversed(rows)}
        super()._publish(producer, rows)

    def _find(self, backlog: Backlog) -> Standing:
        return Standing(backlog.upto(), {})


def relay_of(job: Job) -> Relay:
    """The relay that a job asks for."""
    return (EarlyMarkRelay if job.early_mark else Relay)(
        job.dsn,
        KafkaAddress(job.brokers),
        RUN,
        WRITER,
        job.transactional_id,
        job.places,
        settings=RelaySettings(batch_rows=job.batch_rows, mark_seconds=0.05, watch_seconds=0),
    )


def publish(job: Job) -> None:
    """Publish until something ends the process."""
    failpoints.arm(job.fail)
    relay = relay_of(job)
    threading.Thread(target=_tell, args=(relay, job.ready), daemon=True).start()
    try:
        relay.run()
    except FencedError:
        sys.exit(FENCED_EXIT)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(RESTARTABLE_EXIT)


def forked(job: Job) -> BaseProcess:
    """A process that starts at once: what it needs is imported already. No Kafka client was made in its parent."""
    job.ready.unlink(missing_ok=True)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.connectors.kafka.relay_process"])
    process = processes.Process(target=publish, args=(job,))
    process.start()
    return process


def _tell(relay: Relay, ready: Path) -> None:
    """A file says that the relay has found its mark and publishes."""
    pause = threading.Event()
    while relay.done < 0:
        pause.wait(0.001)
    ready.touch()
