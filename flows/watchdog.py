"""Ends a process whose epochs stop: a hung call would otherwise hold the lease for ever (reliability.md C20)."""

import os
import sys
import threading
import time

EXPIRED_EXIT = 75  # start it again


class Watchdog:
    """A thread that waits for `beat`; beats come from the main loop."""

    def __init__(self, limit_seconds: float) -> None:
        """`limit_seconds` without a beat end the process at once, without cleaning up: nothing here can be trusted."""
        self._limit, self._beaten = limit_seconds, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to wait for beats."""
        self._beaten = time.monotonic()
        self._thread.start()

    def beat(self) -> None:
        """The main loop is alive."""
        self._beaten = time.monotonic()

    def stop(self) -> None:
        """The main loop has ended by itself."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._limit / 4)):
            silent = time.monotonic() - self._beaten
            if silent > self._limit:
                sys.stderr.write(f"lotus: nothing has moved for {silent:.0f} s: this process ends, start it again\n")
                sys.stderr.flush()
                os._exit(EXPIRED_EXIT)
