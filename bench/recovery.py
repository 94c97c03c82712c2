"""From SIGKILL to up to date again: `python -m bench.recovery [KILLS [TOKENS]]`.

    trades, beats  ----------------------------------------------->
    fused flow     =======X  pause, process, store, leases, relay ==========
    promises        |  |  |                                 | | | |  |
                          ^ kill                                  ^ closed after the kill, at most 2 s behind

The fused flow runs over 300 tokens and 600 trades a second while a minute closes every second (`bench/live_market.py`):
it has as many minutes to make up for as it was away for seconds. It is killed at random times and started again as
`lotus up` does. What counts is the first promise of the decisions topic that is committed for a minute which was closed
after the kill, and at most two seconds after it was. Prints one JSON line, seconds.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np

from bench.live_market import Feeder, Scale, Servers, deployed, fed, servers
from bench.measure import report
from bench.promises import Commits
from connectors.kernel_cache import use_kernel_cache
from flows.up import PAUSE_SECONDS
from tests.live.deployment import Deployment, Mode, Process

KILLS = 20
LAG_SECONDS = 2.0
CALM_SECONDS = (3.0, 6.0)  # between up to date and the next kill
TOO_LONG_SECONDS = 60.0
LOOK_SECONDS = 0.02
SEED = 23


def main(arguments: Sequence[str] = ()) -> None:
    """All kills in one deployment."""
    use_kernel_cache()
    kills = int(arguments[0]) if arguments else KILLS
    scale = Scale(tokens=int(arguments[1])) if len(arguments) > 1 else Scale()
    with tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder:
        Path(folder).chmod(0o711)  # the user that Postgres runs as passes through
        with servers(Path(folder)) as where:
            took = measured(where, scale, kills)
    report(
        "recovery",
        kills=len(took),
        tokens=scale.tokens,
        ticks_per_second=scale.ticks_per_second,
        close_seconds=scale.close_seconds,
        p50_seconds=median(took),
        max_seconds=max(took),
        load=os.getloadavg()[0],
        all_seconds=[round(one, 2) for one in took],
    )


def measured(where: Servers, scale: Scale, kills: int) -> list[float]:
    """Seconds of each recovery."""
    rng = np.random.default_rng(SEED)
    deployment = deployed(where, "recovery", scale)
    with ExitStack() as stack:
        commits = Commits(deployment)
        commits.start()
        stack.callback(commits.stop)
        stack.enter_context(deployment)
        feeder = stack.enter_context(fed(deployment, scale, lambda: deployment.start(Mode.FUSED)))
        (process,) = deployment.processes.values()
        _caught_up(commits, feeder, deployment, time.perf_counter())
        took = []
        for _ in range(kills):
            time.sleep(rng.uniform(*CALM_SECONDS))
            process, killed = _restarted(deployment, process)
            took.append(_caught_up(commits, feeder, deployment, killed) - killed)
        feeder.stop()
        deployment.stop()
    return took


def _restarted(deployment: Deployment, process: Process) -> tuple[Process, float]:
    """Kill it and start it again as a supervisor does; the new process and when the old one was killed."""
    deployment.look()
    killed = time.perf_counter()
    process.kill()
    time.sleep(PAUSE_SECONDS)
    options = () if "--takeover" in process.arguments else ("--takeover",)
    return deployment.again(process, *options), killed


def _caught_up(commits: Commits, feeder: Feeder, deployment: Deployment, since: float) -> float:
    """When the first promise came for a minute that was closed since then, hardly later than it was closed."""
    seen = len(commits.found)
    give_up = time.monotonic() + TOO_LONG_SECONDS
    while time.monotonic() < give_up:
        for at, reached_ms in commits.found[seen:]:
            seen += 1
            closed = feeder.beaten.get(reached_ms, 0.0)
            if closed > since and at - closed <= LAG_SECONDS:
                return at
        deployment.look()
        commits.check()
        assert feeder.alive(), "the feeder has ended"
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"not up to date {TOO_LONG_SECONDS:.0f} s after a kill")


if __name__ == "__main__":
    main(sys.argv[1:])
