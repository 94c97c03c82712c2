"""SIGTERM and Ctrl-C end a replay between two slices, so that its last epoch is kept; a second one ends it at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stopped = Callable[[], bool]
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def never() -> bool:
    """Nobody stops the run."""
    return False


class Stop:
    """Which signal came, if any."""

    def __init__(self) -> None:
        """None came yet."""
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether the run shall end."""
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Ask the result between slices; the handlers of before return at the end."""
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        signal.signal(number, before[stop.signal] or signal.SIG_DFL)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
