"""`lotus`, with a part that takes its time (C40): SLOW=step sleeps for every tick, SLOW=sink for every transaction."""

import os
import time
from typing import Any
from unittest import mock

from connectors.postgres.live_writer import LiveWriter
from flows.cli import main
from lotus import bar

STEP, SINK = "step", "sink"
TICK_SECONDS, WRITE_SECONDS = 100e-6, 0.3


def slowly(slow: str) -> None:
    """Run the command line."""
    step, write = bar.step, LiveWriter.write

    def slow_step(config: Any, state: Any, batch: Any) -> Any:
        time.sleep(len(batch.rows) * TICK_SECONDS)
        return step(config, state, batch)

    def slow_write(writer: LiveWriter, items: Any) -> None:
        time.sleep(WRITE_SECONDS)
        write(writer, items)

    slowed = {STEP: (bar, "step", slow_step), SINK: (LiveWriter, "write", slow_write)}
    with mock.patch.object(*slowed[slow]):
        main()


if __name__ == "__main__":
    slowly(os.environ["SLOW"])
