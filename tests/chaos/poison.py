"""Messages that nobody can read, in the middle of the log (C44), with kills while they are dead-lettered (C45)."""

import random
import time
from collections import Counter
from typing import Any

from confluent_kafka import Message, Producer

from connectors.postgres.connection import connect
from tests.chaos.live_kills import EPOCH_MS, KILLED, STEP, again, wait_for_progress
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.live.deployment import Deployment
from tests.live.rescaling import pieces

DEAD = "dead_letter"
VALUES = (b"", b"??", b"\xc3\x01 and no schema", None, b"\xff" * 2000, b"\x00" * 10)
OF_EACH = 20
KILLS = 3
LATEST_SECONDS = 0.4


def poisoned(stand: Stand, seed: int, n: int) -> Outcome:
    """C44."""
    return _poisoned(stand, "C44", seed, n, kills=0)


def poisoned_and_killed(stand: Stand, seed: int, n: int) -> Outcome:
    """C45."""
    return _poisoned(stand, "C45", seed, n, kills=KILLS)


def _poisoned(stand: Stand, check_id: str, seed: int, n: int, kills: int) -> Outcome:
    tally, dead = Tally(), 0
    for number in range(n):
        chance = random.Random(f"{check_id}/{seed}/{number}")
        try:
            with stand.deployment(epoch_ms=EPOCH_MS) as deployment:
                first, rest = pieces(stand.recording, 2)
                process = deployment.flow("fused", "0/1", *STEP)
                deployment.pour(first)
                wait_for_progress(deployment)
                expected = pour_poison(deployment, chance)
                deployment.pour(rest)
                for _ in range(kills):
                    time.sleep(chance.uniform(0.0, LATEST_SECONDS))
                    process.kill()
                    tally.hit(process.popen.returncode == KILLED)
                    process = again(deployment, process)
                tally.hit(True)
                wrong = [one for one in stand.finished(deployment) if one != DEAD]
                if (found := dead_letters(deployment)) != expected:
                    wrong.append(f"{found.total()} dead letters for {expected.total()} bad messages")
                dead += expected.total()
                tally.failures += [f"{number}: {one}" for one in wrong]
        except AssertionError as error:
            tally.fail(f"{number}: {error}")
    return tally.outcome(check_id, seed, figure=f"{dead} bad messages", bar="good rows equal, dead rows exact")


def pour_poison(deployment: Deployment, chance: random.Random) -> Counter[tuple[str, int]]:
    """Bad messages in all partitions; where they are."""
    places: Counter[tuple[str, int]] = Counter()

    def delivered(error: object, message: Message) -> None:
        assert error is None
        places[f"{message.topic()}/{message.partition()}", int(message.offset() or 0)] += 1

    producer = Producer(deployment.address.client(**{"enable.idempotence": True}))
    values: list[Any] = [*VALUES] * OF_EACH
    chance.shuffle(values)
    for value in values:
        partition = chance.randrange(deployment.live.partitions)
        producer.produce(deployment.input_log, value, b"BTC", partition, delivered)
    assert producer.flush(30) == 0
    return places


def dead_letters(deployment: Deployment) -> Counter[tuple[str, int]]:
    """Where the dead letters of the input log say that they came from."""
    with connect(deployment.dsn) as connection:
        rows = connection.execute(
            "select source, position from dead_letter where run_id = %s and source like %s",
            [deployment.live.run, f"{deployment.input_log}/%"],
        ).fetchall()
    return Counter((str(source), int(str(position))) for source, position in rows)
