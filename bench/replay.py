"""The full replay into Postgres with recovery on, against decoding the same file plus a compiled EMA cross.

The replay is `flows.session.run`, as `lotus replay` calls it: all nouns written, execution at 1m, 15m and 1h.
"""

import tempfile
from pathlib import Path

import psycopg

from bench.market import replay_inputs
from bench.measure import digest_of, median_cpu, peak_bytes, report
from connectors.inputs import Inputs
from connectors.parquet import read_bars
from connectors.postgres.read import table_hashes
from connectors.postgres.server import EmbeddedPostgres
from connectors.settings import load_settings
from flows.session import Report, Request, run
from lotus.columns import F64
from lotus.compiled import compiled
from lotus.timeframe import Timeframe

TIMEFRAMES = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
FAST, SLOW = 20, 60


def main() -> None:
    """One replay after a warm-up, and the baseline."""
    inputs = replay_inputs()
    with tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder, EmbeddedPostgres(Path(folder)) as server:
        once(server, inputs, "warm")
        done, server_seconds = once(server, inputs, "measured")
        with psycopg.connect(server.dsn("measured"), autocommit=True) as connection:
            hashes = table_hashes(connection, done.run_id)
    baseline, crosses = median_cpu(lambda: ema_cross(inputs))
    bars = done.tally.rows_in
    report(
        "replay",
        rows_in=bars,
        bars_per_cpu_second=round(minutes_of(inputs) / done.cpu_seconds),
        cpu_seconds=done.cpu_seconds,
        wall_seconds=done.seconds,
        server_cpu_seconds=server_seconds,
        rows_written=sum(count.inserted for count in done.counts.values()),
        peak_mib=peak_bytes() / 2**20,
        baseline_bars_per_cpu_second=round(minutes_of(inputs) / baseline),
        of_baseline=baseline / done.cpu_seconds,
        crosses=crosses,
        output=digest_of(hashes),
    )


def once(server: EmbeddedPostgres, inputs: Inputs, database: str) -> tuple[Report, float]:
    """One replay into a new database, and the CPU seconds that the server spent on it."""
    dsn = server.ensure_database(database)
    before = server_cpu(server)
    settings = load_settings(None, {})
    done = run(Request(inputs, settings, TIMEFRAMES, dsn=dsn, run_id=f"bench-{database}"))
    return done, server_cpu(server) - before


def server_cpu(server: EmbeddedPostgres) -> float:
    """CPU seconds of the server and its backends, living and ended."""
    pid = server.pid()
    total = 0.0
    ticks = 100.0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid or status.parent.name == str(pid):
            total += sum(int(fields[place]) for place in (11, 12)) / ticks
        if status.parent.name == str(pid):
            total += sum(int(fields[place]) for place in (13, 14)) / ticks
    return total


def minutes_of(inputs: Inputs) -> int:
    """1m bars of the inputs."""
    return sum(len(rows.ts) for file in inputs.bars for rows in _read(file.path).values())


def ema_cross(inputs: Inputs) -> int:
    """The baseline: decode the file, one EMA cross per token."""
    return sum(crossings(rows.close) for file in inputs.bars for rows in _read(file.path).values())


def _read(path: Path):  # type: ignore[no-untyped-def]
    return read_bars(path, "bench", Timeframe.M1, (), None, None).series


@compiled
def crossings(close: F64) -> int:
    """How often the fast EMA crosses the slow one."""
    fast = slow = close[0]
    above, count = False, 0
    for i in range(len(close)):
        fast += 2.0 / (FAST + 1) * (close[i] - fast)
        slow += 2.0 / (SLOW + 1) * (close[i] - slow)
        if (fast > slow) != above:
            above, count = not above, count + 1
    return count


if __name__ == "__main__":
    main()
