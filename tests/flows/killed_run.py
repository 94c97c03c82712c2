"""A replay in a process of its own, made to be killed: the command line, forked from a process that has its kernels."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from psycopg import sql

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()

from connectors import sample  # noqa: E402 - kernels come after their cache
from connectors.postgres import sink  # noqa: E402
from connectors.postgres.copy_rows import Send  # noqa: E402
from connectors.postgres.streams import Streams  # noqa: E402
from connectors.postgres.writer import ReplayWriter  # noqa: E402
from flows import cli, warmup  # noqa: E402

SLICE_ROWS = 5
SLICES = 20 * 60 // SLICE_ROWS
LOST_COMMIT = 15
INPUTS = [
    f"--bars={sample.VENUE}:1m={sample.BARS_1M}",
    f"--history={sample.VENUE}:1h={sample.HISTORY_1H}",
    f"--dominance={sample.DOMINANCE_1D}",
    f"--buckets={sample.BUCKETS}",
    "--tokens=BTC,ETH,SOL,BNB,DOGE",
    "--timeframes=1m,1h",
    "--from=2025-05-29T00:00",
    "--to=2025-05-29T20:00",
    "--json",
]
SMALL_STEPS = [f"--slice-rows={SLICE_ROWS}", "--epoch-seconds=0"]

for call in (warmup.call_river, warmup.call_edges):  # once, before processes are forked from this one
    call()


class ForgetfulWriter(ReplayWriter):
    """Negative control: starts as if nothing had been written."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Read no marks."""
        super().__init__(*arguments, **options)
        self._streams.ahead = {}


class LossyStreams(Streams):
    """What a lossy writer writes with."""

    @contextmanager
    def copying(self, statement: sql.Composed, point: str | None = None) -> Iterator[Send]:
        """Drop the rows of one commit, never its marks."""
        with super().copying(statement, point) as send:
            yield (lambda _block: None) if point is not None and self.commit_number == LOST_COMMIT else send


class LossyWriter(ReplayWriter):
    """Negative control: one commit has the marks of its rows and not the rows."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Rows go where rows go to be lost."""
        super().__init__(*arguments, **options)
        self._streams.__class__ = LossyStreams


def replay(arguments: list[str], state: Path, told: Path, writer: type[ReplayWriter] = ReplayWriter) -> None:
    """Run `lotus replay`; what it prints goes into the file `told`, errors included."""
    os.environ["XDG_STATE_HOME"] = str(state)
    with told.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["lotus", "replay", *INPUTS, *arguments]
    with patch.object(sink, "ReplayWriter", writer):
        cli.main()
