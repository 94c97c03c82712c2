"""Running a dataflow to its end, with the engine's panic texts kept back.

An error in a source or sink crosses the engine as a panic, whose text goes to the raw stderr before the error itself
reaches us. People get the error; the text is shown only where there is nothing better.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig
from bytewax.testing import run_main

STDERR = 2


def run_flow(flow: Dataflow, epoch: timedelta, recovery: RecoveryConfig | None = None) -> None:
    """Run in this process and thread; raises what its sources, kernels and sinks raise."""
    with _panics_kept_back():
        try:
            run_main(flow, epoch_interval=epoch, recovery_config=recovery)
        except BytewaxRuntimeError as error:
            raise (error.__cause__ or error) from None


@contextmanager
def _panics_kept_back() -> Iterator[None]:
    """Python's stderr keeps its way out, everything else that is written there waits until the outcome is known."""
    sys.stderr.flush()
    real, python = os.dup(STDERR), sys.stderr
    with tempfile.TemporaryFile() as waiting, os.fdopen(os.dup(real), "w") as direct:
        show = True
        os.dup2(waiting.fileno(), STDERR)
        if python is sys.__stderr__:
            sys.stderr = direct
        try:
            yield
        except BaseException as error:
            show = not isinstance(error, Exception)
            raise
        finally:
            direct.flush()
            sys.stderr = python
            os.dup2(real, STDERR)
            os.close(real)
            if show:
                waiting.seek(0)
                os.write(STDERR, waiting.read())
