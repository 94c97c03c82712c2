"""One live writer or relay at a time, in a process of its own: the network (C13, C14), twins and zombies, relays."""

from collections.abc import Callable
from pathlib import Path

from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import TopicSpec, ensure_topics
from connectors.postgres.connection import Connection, connect
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.connectors.kafka.outbox_rows import Outbox
from tests.connectors.kafka.relay_chaos import CANARY_RECORDS, FOR_EVER, acknowledged_and_lost, chaos
from tests.connectors.kafka.relay_process import Job
from tests.connectors.live_kills import SLEEPS, Found, doubled, slept_through_a_takeover, taken_over_inside_a_copy
from tests.connectors.network_faults import BATCHES, commit_in_doubt, reset_anywhere

RESETS_A_RUN = 20
KILLS_A_TOPIC = 50

One = Callable[[str, Connection, Path, int], Found]


def repeated(stand: Stand, n: int, one: One) -> Tally:
    """The same fault `n` times, each in a database of its own."""
    tally = Tally()
    for number in range(n):
        dsn = stand.database()
        with connect(dsn) as connection:
            try:
                found = one(dsn, connection, stand.place("writer"), number)
            except AssertionError as error:
                found = Found([str(error)])
        stand.server.drop_database(dsn.rpartition("dbname=")[2])
        tally.hit(not found.missed)
        tally.failures += [f"{number}: {sentence}" for sentence in found.wrong]
    return tally


def resets(stand: Stand, seed: int, n: int) -> Outcome:
    """C13; a reset that the batch did not live to see is void, and another one is tried."""
    tally, run = Tally(), 0
    while tally.n < n and run < 10 * n:
        dsn = stand.database()
        with connect(dsn) as connection:
            found = reset_anywhere(dsn, connection, RESETS_A_RUN, seed * 10_000 + run)
        tally.n += RESETS_A_RUN - found.missed
        tally.failures += [f"run {run}: {sentence}" for sentence in found.wrong]
        run += 1
    return tally.outcome("C13", seed, figure=f"resets that landed, in {run} runs", bar="no partial batch")


def commits(stand: Stand, seed: int, n: int) -> Outcome:
    """C14."""

    def one(dsn: str, connection: Connection, _store: Path, number: int) -> Found:
        return commit_in_doubt(dsn, connection, number // 2 % len(BATCHES), delivers=bool(number % 2))

    return repeated(stand, n, one).outcome("C14", seed, figure="COMMIT sent, no answer", bar="0 misjudged")


def paused_in_copy(stand: Stand, seed: int, n: int) -> Outcome:
    """C18."""
    tally = repeated(stand, n, lambda dsn, *_: taken_over_inside_a_copy(dsn))
    return tally.outcome("C18", seed, figure="takeover within 1 s", bar="<= 2x lease")


def twins(stand: Stand, seed: int, n: int) -> Outcome:
    """C32, writers."""

    def one(dsn: str, connection: Connection, folder: Path, number: int) -> Found:
        return doubled(dsn, connection, folder, seed * 1000 + number, same_store=bool(number % 2))

    return repeated(stand, n, one).outcome("C32-writer", seed, bar="one continues, tables equal")


def zombies(stand: Stand, seed: int, n: int) -> Outcome:
    """C33, writers."""

    def one(dsn: str, connection: Connection, store: Path, number: int) -> Found:
        return slept_through_a_takeover(dsn, connection, store, SLEEPS[number % len(SLEEPS)])

    return repeated(stand, n, one).outcome("C33-writer", seed, bar="zombie writes 0 rows")


def relay_kills(stand: Stand, seed: int, n: int) -> Outcome:
    """C25: kills of a relay anywhere; too few aborted records make all of them void."""
    tally, landed = Tally(), 0
    for number, start in enumerate(range(0, n, KILLS_A_TOPIC)):
        kills = min(KILLS_A_TOPIC, n - start)
        dsn = stand.database()
        names = [f"{dsn.rpartition('dbname=')[2]}-{name}" for name in ("bars", "decisions")]
        ensure_topics(stand.kafka, [TopicSpec(name, 2, FOR_EVER) for name in names])
        places = [(name, partition) for name in names for partition in range(2)]
        with connect(dsn) as connection:
            job = Job(dsn, stand.kafka.brokers, names[0], places, stand.place("relay") / "ready")
            told = chaos(stand.kafka, Outbox(connection, places), job, kills=kills, seed=seed * 100 + number)
        tally.n += kills
        tally.void += int(str(told["void"]))
        landed += int(str(told["landed"]))
        wrong = told["faults"]
        assert isinstance(wrong, list)
        tally.failures += wrong
    return tally.outcome(
        "C25", seed, landed=landed, figure=f"{landed / n:.0%} left an aborted record", bar=">= 30 %, 0 lost, 0 doubled"
    )


def canary(stand: Stand, seed: int, n: int) -> Outcome:
    """C21: killed as the commit returns; every acknowledged record is visible."""
    with EmbeddedKafka(stand.place("kafka")).start() as broker:
        acknowledged, lost = acknowledged_and_lost(broker, "", kills=n)
    wrong = [f"{lost} of {acknowledged} acknowledged records are gone"] if lost else []
    met = acknowledged == n * CANARY_RECORDS
    figure = f"{acknowledged} records acknowledged"
    return Outcome("C21-commit", seed, n, wrong, figure=figure, bar="0 lost", bar_met=met)
