"""C40: one token has nine of ten ticks, and the step that counts them, or the sink, is much slower than the log.

a backlog of 400,000 ticks --> source --> slow step --> ... --> slow sink
                                 ^            |                    |
                                 +-- waits ---+--------------------+      what waits, waits in Kafka
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from connectors.inputs import TicksFile
from connectors.simulator import VENUE
from tests.chaos.limits import MOST_BYTES
from tests.chaos.live_kills import wait_for_progress
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.slow_flow import SINK, STEP
from tests.chaos.stand import Market, Stand
from tests.live.deployment import Process
from tests.live.recorded import Recording

HOT = "ETH"  # it trades through the whole hour
HOT_SHARE = 0.9
TICKS = 400_000
SPREAD_MS = 14_000  # copies of a tick: until shortly before the next one
SLOWER = 2.0  # a part that does not double the time of the whole is not slow
PATIENCE_SECONDS = 900.0
PARTS = (STEP, SINK)
FAST = ""


@dataclass(frozen=True)
class Ran:
    """A run from its first promise to its end: seconds, most memory, what is not as it must be."""

    seconds: float
    bytes: int
    wrong: list[str]


def slow_and_hot(stand: Stand, seed: int, n: int) -> Outcome:
    """C40."""
    tally, figures, most = Tally(), [], 0
    market = stand.market(hot(stand.recording, stand.place("hot")))
    baseline = _ran(stand, market, FAST)
    tally.failures += [f"without a slow part: {one}" for one in baseline.wrong]
    for number in range(n):
        slow = PARTS[number % len(PARTS)]
        try:
            ran = _ran(stand, market, slow)
        except AssertionError as error:
            tally.n += 1
            tally.fail(f"slow {slow}: {error}")
            continue
        most = max(most, ran.bytes - baseline.bytes)
        tally.hit(ran.seconds >= SLOWER * baseline.seconds)
        tally.failures += [f"slow {slow}: {one}" for one in ran.wrong]
        figures.append(f"slow {slow}: {ran.bytes / 2**20:.0f} MB in {ran.seconds:.0f} s")
    figures.append(f"neither: {baseline.bytes / 2**20:.0f} MB in {baseline.seconds:.0f} s")
    bar = f"<= baseline + {MOST_BYTES // 2**20} MB"
    return tally.outcome("C40", seed, figure="; ".join(figures), bar=bar, bar_met=most <= MOST_BYTES)


def hot(recording: Recording, folder: Path, ticks: int = TICKS) -> Recording:
    """The same market with many more ticks, most of them of one token: each tick several times, a little later."""
    (file,) = recording.inputs.ticks
    frame = pl.read_parquet(file.path).with_row_index("row").with_columns(at=pl.col("ts").cum_max())
    is_hot = pl.col("token") == HOT
    wanted = {True: ticks * HOT_SHARE, False: ticks * (1 - HOT_SHARE)}
    parts = []
    for whether, rows in wanted.items():
        part = frame.filter(is_hot == whether)
        parts.append(_copied(part, max(1, round(rows / len(part)))))
    thick = pl.concat(parts).sort("at", "row", "copy").drop("at", "row", "copy")
    thick.write_parquet(folder / "ticks.parquet")
    return Recording(replace(recording.inputs, ticks=(TicksFile(VENUE, folder / "ticks.parquet"),)))


def _copied(part: pl.DataFrame, copies: int) -> pl.DataFrame:
    """Each row so often; a repeated tick stays a repeated one."""
    numbers = pl.DataFrame({"copy": range(copies)}, schema={"copy": pl.Int64})
    later = pl.col("copy") * SPREAD_MS // copies
    return part.join(numbers, how="cross").with_columns(
        ts=pl.col("ts") + later, at=pl.col("at") + later, trade_id=pl.col("trade_id") * copies + pl.col("copy")
    )


def _ran(stand: Stand, market: Market, slow: str) -> Ran:
    with stand.deployment(recording=market.recording) as deployment:
        if slow:
            deployment.program = "tests.chaos.slow_flow"
            deployment.environment["SLOW"] = slow
        deployment.pour(market.recording.log)
        process = deployment.flow("fused")
        wait_for_progress(deployment, PATIENCE_SECONDS)
        began = time.monotonic()
        deployment.wait(market.recording.end_ms, PATIENCE_SECONDS)
        seconds, most = time.monotonic() - began, most_bytes(process)
        return Ran(seconds, most, stand.finished(deployment, market=market))


def most_bytes(process: Process) -> int:
    """The most memory that a running process has had."""
    lines = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
