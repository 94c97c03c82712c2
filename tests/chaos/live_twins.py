"""Whole deployments in which two processes want the same (C32), or one slept while another took over (C33)."""

import random
import time

from tests.chaos.live_kills import EPOCH_MS, STEP, ends, wait_for_progress
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.live.deployment import Deployment, Process
from tests.live.rescaling import pieces

IN_THE_WAY, FENCED, EXPIRED, DATABASE = 4, 77, 75, 3
LATEST_SECONDS = 0.5


def twins(stand: Stand, seed: int, n: int) -> Outcome:
    """C32: the same share twice; fused against separate and overlapping shares. The second one is refused."""
    tally = Tally()
    for number in range(n):
        chance = random.Random(f"C32/{seed}/{number}")
        try:
            with stand.deployment(epoch_ms=EPOCH_MS) as deployment:
                first, rest = pieces(stand.recording, 2)
                process = deployment.flow("fused", "0/1", *STEP)
                deployment.pour(first)
                wait_for_progress(deployment)
                second = _second(deployment, process, number, chance)
                code = ends(second)
                tally.hit(process.running)
                if code != IN_THE_WAY:
                    tally.fail(f"{number}: {second.name} ended with {code}: {second.said()}")
                    second.kill()
                deployment.pour(rest)
                tally.failures += [f"{number}: {one}" for one in stand.finished(deployment, dead=(second.name,))]
        except AssertionError as error:
            tally.fail(f"{number}: {error}")
    return tally.outcome("C32-live", seed, figure="same share, and overlapping ones", bar="one continues, tables equal")


def _second(deployment: Deployment, process: Process, number: int, chance: random.Random) -> Process:
    if number % 2 == 0:
        return deployment.twin(process)
    flow = chance.choice(("hot", "bars", "trend", "posture", "decisions"))
    return deployment.flow(flow, chance.choice(("0/1", "0/2", "1/2", "3/4")))


def zombies(stand: Stand, seed: int, n: int) -> Outcome:
    """C33: stopped in the middle of its work; another one, with a store of its own, rebuilds and takes over."""
    tally = Tally()
    for number in range(n):
        chance = random.Random(f"C33/{seed}/{number}")
        try:
            with stand.deployment(epoch_ms=EPOCH_MS) as deployment:
                first, rest = pieces(stand.recording, 2)
                zombie = deployment.flow("fused", "0/1", *STEP)
                deployment.pour(first)
                wait_for_progress(deployment)
                time.sleep(chance.uniform(0.0, LATEST_SECONDS))
                tally.hit(zombie.running and deployment.reached_ms() < stand.recording.end_ms)
                zombie.pause()
                successor = deployment.twin(zombie, "--takeover", "--rebuild")
                deployment.pour(rest)
                wait_for_progress(deployment)
                zombie.resume()
                code = ends(zombie)
                if code not in {IN_THE_WAY, FENCED, EXPIRED}:
                    tally.fail(f"{number}: the zombie ended with {code}: {zombie.said()}")
                assert successor.running, successor.said()
                tally.failures += [f"{number}: {one}" for one in stand.finished(deployment, dead=(zombie.name,))]
        except AssertionError as error:
            tally.fail(f"{number}: {error}")
    return tally.outcome("C33-live", seed, figure="SIGSTOP, takeover, SIGCONT", bar="zombie writes 0 rows")
