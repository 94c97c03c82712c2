"""Prints which loops gain a type of arguments in a run although `lotus compile` has called the kernels: none should.

python -m tests.flows.after_compiling DSN
"""

import gc
import json
import sys
import tempfile
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()

from numba.core.dispatcher import Dispatcher  # noqa: E402 - after the cache

from connectors.inputs import Inputs, TicksFile  # noqa: E402
from connectors.postgres.connection import connect  # noqa: E402
from connectors.settings import load_settings  # noqa: E402
from connectors.simulator import Market  # noqa: E402
from flows import session, summary, warmup  # noqa: E402
from flows.commands import sample_inputs  # noqa: E402
from flows.session import Request  # noqa: E402
from lotus.timeframe import Timeframe  # noqa: E402
from tests.flows.trades import trades  # noqa: E402

TIMEFRAMES = (Timeframe.M1, Timeframe.M15, Timeframe.H1)


def signatures() -> dict[str, int]:
    """Number of compiled types of arguments by loop."""
    found = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {f"{one.py_func.__module__}.{one.py_func.__name__}": len(one.signatures) for one in found}


def main() -> None:
    """Compile, then run everything that people run."""
    warmup.call_river()
    warmup.call_edges()
    before, dsn = signatures(), sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        ticks = Path(folder) / "ticks.parquet"
        pq.write_table(trades("PEPE", 2000), ticks)
        settings = load_settings(None, {})
        slices = count()
        sampled = Request(sample_inputs(), settings, TIMEFRAMES, dsn=dsn)
        session.run(sampled, stopped=lambda: next(slices) >= 2)  # the rest resumes from pickled states
        report = session.run(sampled)
        session.run(Request(Inputs(ticks=(TicksFile("other", ticks),)), settings, TIMEFRAMES, dsn=dsn))
        session.run(Request(Inputs(), settings, TIMEFRAMES, market=Market(tokens=7, days=3, seed=3), dsn=dsn))
        with connect(dsn) as connection:
            summary.examples(connection, report.run_id)
    after = signatures()
    gained = {name: [before.get(name, 0), found] for name, found in after.items() if found > before.get(name, 0)}
    sys.stdout.write(json.dumps(gained))


if __name__ == "__main__":
    main()
