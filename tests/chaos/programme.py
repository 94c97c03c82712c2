"""The programme (reliability.md 3): every check by its id, with what it asks for; those that are not built say so."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from connectors.postgres.connection import connect
from tests.chaos import (
    hops,
    hot_key,
    inputs,
    ledger,
    limits,
    live_kills,
    live_twins,
    many_keys,
    poison,
    servers_down,
    soak,
    writers,
)
from tests.chaos.by_tests import by_tests
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.seeded import QUICK, SLOW, Ground
from tests.chaos.stand import Stand
from tests.live import rescaling

Run = Callable[[Stand, int, int], Outcome]

CRASH = "tests/flows/test_crash.py"
SOURCE = "tests/connectors/kafka/test_source.py"
REFUSALS = "tests/connectors/kafka/test_source_refusals.py"
WRITER = "tests/connectors/test_postgres_live_writer.py"
BUGS = (*QUICK, *SLOW)
RESCALES_A_ROUND = len(rescaling.COUNTS)


@dataclass(frozen=True)
class Check:
    """id; the fault; n of a full run; run: None where it is not built; by_name: run only when it is asked for."""

    id: str
    fault: str
    n: int
    run: Run | None = None
    by_name: bool = False


def rescales(stand: Stand, seed: int, n: int) -> Outcome:
    """C09: kill all shares, rescale (now and then killed too), go on."""
    tally = Tally()
    for number, start in enumerate(range(0, n, RESCALES_A_ROUND)):
        counts = rescaling.COUNTS[: n - start]
        try:
            with stand.deployment() as deployment:
                for _ in rescaling.through(deployment, stand.recording, counts, random.Random(f"C09/{seed}/{number}")):
                    tally.hit(True)
                found = rescaling.differences(deployment, stand.expected)
                tally.failures += [f"round {number}: {one}" for one in found]
        except AssertionError as error:
            tally.n += 1
            tally.fail(f"round {number}: {error}")
    return tally.outcome("C09", seed, figure="1 -> 2 -> 4 -> 2 -> 1", bar="tables and topics equal")


def seeded(stand: Stand, seed: int, n: int) -> Outcome:
    """The harness is able to fail: all bugs, whatever the scale."""
    del n
    tally = Tally()
    for number, bug in enumerate(BUGS):
        dsn = stand.database()
        with connect(dsn) as connection:
            ground = Ground(dsn, connection, stand.place("bug"), stand.kafka, f"bug{number}-")
            if not bug.found(ground):
                tally.fail(f"{bug.check} does not find: {bug.name}")
        tally.hit(True)
    return tally.outcome("seeded", seed, figure=", ".join(bug.name for bug in BUGS), bar="all caught")


CHECKS = (
    Check("C01", "replays with 20 SIGKILLs each at random times", 10, by_tests("C01", CRASH, only="random_times")),
    Check("C01-live", "SIGKILL at random times of a deployment", 200, live_kills.random_kills),
    Check("C02", "SIGKILL at each failpoint", 240, live_kills.failpoint_kills),
    Check("C03", "kill 50-500 ms after the start, and during recovery", 150, live_kills.early_kills),
    Check("C05", "lint: partitioned sinks only, no banned operator", 1, by_tests("C05", "tests/house", only="sink")),
    Check("C06", "60 hops before the sink, crash at item k; control with a DynamicSink", 20, hops.hops),
    Check("C07", "the same replay again", 1, by_tests("C07", CRASH, only="inserts_nothing")),
    Check("C08", "same ids, changed content", 1, by_tests("C08", CRASH, WRITER, only="changed_content")),
    Check("C09", "kill and rescale 1->2->4->2->1", 36, rescales),
    Check("C10", "processes x batch size x speed x spread", inputs.ALL_SPREADS, inputs.matrix),
    Check("C11", "SIGTERM under load", 10, by_tests("C11", CRASH, SOURCE, "tests/live", only="sigterm or stopped")),
    Check(
        "C12", "Postgres: terminate, kill backend, immediate stop, kill postmaster", 40, servers_down.postgres_faults
    ),
    Check("C13", "connection reset at a random byte", 200, writers.resets),
    Check("C14", "cut after COMMIT was sent", 200, writers.commits),
    Check("C16", "Postgres disk full", 5, servers_down.disk_full),
    Check("C18", "takeover of a writer that is paused inside COPY", 20, writers.paused_in_copy),
    Check("C19", "sink throttled to 10 %", 2, limits.throttled),
    Check("C20", "network black hole", 20, servers_down.black_holes),
    Check("C21-live", "broker killed or stopped under a deployment", 30, servers_down.broker_faults),
    Check("C21-commit", "broker killed as a commit returns", 20, writers.canary),
    Check("C23", "stored offset gone, or beyond the end", 20, by_tests("C23", REFUSALS, only="offset or beginning")),
    Check("C24", "topic made again, other cluster", 10, by_tests("C24", REFUSALS, only="again or another")),
    Check("C25", "relay killed anywhere", 200, writers.relay_kills),
    Check(
        "C26",
        "dead broker, oversized record, unauthorised",
        8,
        by_tests("C26", "tests/connectors/kafka/test_relay_faults.py"),
    ),
    Check("C27", "upstream aborts transactions", 1, by_tests("C27", SOURCE, only="aborted")),
    Check("C28", "partitions added from outside", 5, by_tests("C28", REFUSALS, only="adds or foreign")),
    Check("C32-live", "a share started twice, or overlapping ones", 25, live_twins.twins),
    Check("C32-writer", "two writers of the same units", 25, writers.twins),
    Check("C33-live", "SIGSTOP, takeover, SIGCONT of a process", 25, live_twins.zombies),
    Check("C33-writer", "the same in each phase of a transaction", 25, writers.zombies),
    Check("C34-C35", "clock skew; time zones", 5, inputs.surroundings),
    Check("C36", "recovery disk full", 20, limits.store_disk_full),
    Check("C37", "recovery files damaged", 20, limits.store_damaged),
    Check("C38", "10^4..10^6 keys", len(many_keys.SIZES), many_keys.many_keys),
    Check("C40", "slow keyed step or sink, a hot key", len(hot_key.PARTS), hot_key.slow_and_hot),
    Check(
        "C41",
        "tick zoo",
        60,
        by_tests("C41", "tests/connectors/kafka/test_zoo.py", "tests/connectors/test_bad_input.py"),
    ),
    Check("C42", "byte fuzz over every schema", 10_000_000, inputs.fuzz),
    Check("C43", "bombs", 11, by_tests("C43", "tests/connectors/avro/test_fuzz.py", only="bomb")),
    Check("C44", "poison in the middle of the log", 5, poison.poisoned),
    Check("C45", "kill while dead-lettering", 20, poison.poisoned_and_killed),
    Check(
        "C46",
        "every schema pair",
        1,
        by_tests("C46", "tests/house/test_contracts.py", "tests/connectors/avro/test_versions.py"),
    ),
    Check("C48", "random lives of pool, ledger, attempts, with crash and restore", 2_000_000, ledger.lives),
    Check("C49", "random cuts of every kernel", 100_000, inputs.splits),
    Check("C50", "minutes of a soak with random faults, then heal and drain", soak.MINUTES, soak.soak, by_name=True),
    Check("seeded", "seeded bugs are caught", len(BUGS), seeded),
)
