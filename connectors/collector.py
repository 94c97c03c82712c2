"""When Python looks for objects that nobody but each other holds: hardly ever while a log is read.

A client hands out thousands of messages at a time. To the collector they look like a leak, so it searches them, and
everything that was ever imported behind them, several times per batch: that takes longer than reading them. They are
freed by their counts like nearly everything here; a search that comes seldom is enough for the rest.
"""

import gc

FIRST_THRESHOLD = 50_000  # objects more than before, five batches of messages, until the young ones are searched


def collect_rarely() -> None:
    """Search no more in what is there by now, and seldom in what comes; call it when a process is set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(FIRST_THRESHOLD, *gc.get_threshold()[1:])
