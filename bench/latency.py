"""A live minute, from its last heartbeat to its decisions: `python -m bench.latency [CLOSES [TOKENS [MODE ...]]]`.

    produce of the heartbeat --> flows --> (a) promise of the minute committed --> relay --> (b) visible

300 tokens on three timeframes, 600 trades a second, broker and Postgres on the same machine, flows as processes of
their own (`bench/live_market.py` says how event time passes). The baseline, in the same run and before the flows: an
empty produce -> consume -> commit, then its transaction on a topic -> seen by a `read_committed` reader. Prints one
JSON line for each mode, milliseconds.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.live_market import Scale, Servers, deployed, fed, servers
from bench.measure import report
from bench.promises import Commits, Visible
from connectors.kafka.cluster import TopicSpec, ensure_topics
from connectors.kafka.consumer import reading
from connectors.kafka.records import Outgoing
from connectors.kafka.transactions import TransactionalProducer
from connectors.kernel_cache import use_kernel_cache
from connectors.postgres.connection import connect
from connectors.postgres.read import counts
from lotus.timeframe import MINUTE_MS
from tests.live.deployment import Deployment, Mode

MODES = ("fused", "separate")
PATHS = 300  # rounds of the baseline
REST_SECONDS = 0.02  # between two of them
CLOSE_SECONDS = 1.25  # longer than an epoch: what a close changed is kept before the next one, as in a real minute
CALM_CLOSES = 5  # after the start, not counted
LATE_SECONDS = 30.0  # a promise that has not come by then is missing
TIMEOUT_SECONDS = 10.0

Pair = tuple[list[float], list[float]]  # seconds to committed, seconds to visible


def main(arguments: Sequence[str] = ()) -> None:
    """Both modes after the baseline."""
    use_kernel_cache()
    usual = Scale()
    closes, tokens = [int(text) for text in arguments[:2]] + [usual.closes, usual.tokens][len(arguments[:2]) :]
    scale = Scale(tokens=tokens, closes=closes, close_seconds=CLOSE_SECONDS)
    with tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder:
        Path(folder).chmod(0o711)  # the user that Postgres runs as passes through
        with servers(Path(folder)) as where:
            baseline = empty_path(where)
            for mode in arguments[2:] or MODES:
                measured(where, Mode(mode), scale, baseline)


def measured(where: Servers, mode: Mode, scale: Scale, baseline: Pair) -> None:
    """One mode in a deployment of its own."""
    deployment = deployed(where, mode.value, scale)
    with ExitStack() as stack:
        commits, visible = Commits(deployment), Visible(deployment)
        for promises in (commits, visible):
            promises.start()
        stack.enter_context(deployment)
        feeder = stack.enter_context(fed(deployment, scale, lambda: deployment.start(mode)))
        minutes = [feeder.settled_ms + (CALM_CLOSES + number) * MINUTE_MS for number in range(1, scale.closes + 1)]
        while feeder.alive() and minutes[-1] not in feeder.beaten:
            deployment.look()
            time.sleep(0.2)
        for promises in (commits, visible):
            promises.wait(minutes[-1], LATE_SECONDS)
        feeder.stop()
        for promises in (commits, visible):
            promises.stop()
        deployment.stop()
    _tell(deployment, scale, [_took(feeder.beaten, one.came(minutes)) for one in (commits, visible)], baseline)


def _tell(deployment: Deployment, scale: Scale, found: Sequence[list[float]], baseline: Pair) -> None:
    live = deployment.live
    with connect(deployment.dsn) as connection:
        rows = counts(connection, live.run)
    figures: dict[str, object] = {}
    for name, took, empty in zip(("committed", "visible"), found, baseline, strict=True):
        figures |= {f"{name}_{key}": value for key, value in quantiles(took).items()}
        figures |= {f"empty_{name}_{key}": value for key, value in quantiles(empty).items()}
        figures[f"{name}_of_empty"] = float(np.median(took) / np.median(empty)) if took else None
    report(
        "latency",
        mode=live.run,
        closes=scale.closes,
        missing=scale.closes - min(map(len, found)),
        tokens=scale.tokens,
        lanes=scale.tokens * len(live.timeframes),
        ticks_per_second=scale.ticks_per_second,
        close_seconds=scale.close_seconds,
        postures=rows.get("posture", 0),
        decisions=rows.get("decision", 0),
        load=os.getloadavg()[0],
        **figures,
    )


def _took(beaten: dict[int, float], came: dict[int, float]) -> list[float]:
    return [at - beaten[minute] for minute, at in came.items()]


def quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99 and the largest, ms."""
    names = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "max_ms": 100}
    return {name: float(np.percentile(seconds, at)) * 1e3 if seconds else None for name, at in names.items()}


def empty_path(where: Servers) -> Pair:
    """Produce -> consume -> commit, and from there onto a topic -> seen, without any work: seconds of each round."""
    topics = ("empty.in", "empty.out")
    ensure_topics(where.address, [TopicSpec(name, 1, {}) for name in topics])
    committed: list[float] = []
    visible: list[float] = []
    with ExitStack() as stack:
        connection = stack.enter_context(connect(where.postgres.ensure_database("empty")))
        connection.execute("create table row (at int primary key)")
        readers = [Consumer(reading(where.address, log_level=0)) for _ in topics]
        for topic, reader in zip(topics, readers, strict=True):
            stack.callback(reader.close)
            reader.assign([TopicPartition(topic, 0, 0)])
        sender = TransactionalProducer(where.address, "empty")
        stack.callback(sender.close)
        sender.fence()
        producer = Producer(where.address.client(**{"linger.ms": 0, "enable.idempotence": True, "acks": "all"}))
        for number in range(PATHS + CALM_CLOSES):
            time.sleep(REST_SECONDS)
            began = time.perf_counter()
            producer.produce(topics[0], b"beat", partition=0)
            producer.poll(0)
            _next(readers[0])
            connection.execute("insert into row values (%s)", [number])
            committed.append(time.perf_counter() - began)
            sender.publish([Outgoing(topics[1], 0, b"", b"row", 0, [])])
            _next(readers[1])
            visible.append(time.perf_counter() - began)
        producer.flush()
    return committed[CALM_CLOSES:], visible[CALM_CLOSES:]


def _next(reader: Consumer) -> None:
    give_up = time.monotonic() + TIMEOUT_SECONDS
    while True:
        message = reader.poll(TIMEOUT_SECONDS)
        if message is not None and message.error() is None:
            return
        assert time.monotonic() < give_up, "the broker does not answer"


if __name__ == "__main__":
    main(sys.argv[1:])
