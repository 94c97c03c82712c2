"""Memory and speed as history grows: the simulator's same tokens over 1, 10 and 100 days, each in its own process."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import peak_bytes, report
from connectors.inputs import Inputs
from connectors.kernel_cache import use_kernel_cache
from connectors.postgres.server import EmbeddedPostgres
from connectors.settings import load_settings
from connectors.simulator import Market

TOKENS = 14
DAYS = (1, 10, 100)


def main() -> None:
    """20k, 200k and 2M bars."""
    with tempfile.TemporaryDirectory(prefix="lotus-bench-") as folder, EmbeddedPostgres(Path(folder)) as server:
        found = []
        for days in DAYS:
            dsn = server.ensure_database(f"days_{days}")
            command = [sys.executable, "-m", "bench.growth", dsn, str(days)]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            server.drop_database(f"days_{days}")
    reference = found[1]
    for one in found:
        report(
            "growth",
            **one,
            memory_of_200k=one["peak_mib"] / reference["peak_mib"],
            speed_of_200k=one["bars_per_cpu_second"] / reference["bars_per_cpu_second"],
        )


def measured(dsn: str, days: int) -> None:
    """One run, as a process of its own; prints its figures."""
    use_kernel_cache()
    from flows.session import Request, run
    from lotus.timeframe import Timeframe

    market = Market(tokens=TOKENS, days=days, seed=3)
    timeframes = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
    done = run(Request(Inputs(), load_settings(None, {}), timeframes, market=market, dsn=dsn))
    bars = TOKENS * days * 1440
    figures = {
        "bars": bars,
        "bars_per_cpu_second": round(bars / done.cpu_seconds),
        "wall_seconds": done.seconds,
        "peak_mib": peak_bytes() / 2**20,
        "rows_written": sum(count.inserted for count in done.counts.values()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measured(sys.argv[1], int(sys.argv[2]))
    else:
        main()
