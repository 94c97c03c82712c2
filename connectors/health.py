"""Whether a process is well: it moved lately, and it holds its lease if it needs one."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

LIMIT_SECONDS = 30.0


class Verdict(NamedTuple):
    """Healthy, or why not."""

    healthy: bool
    reasons: tuple[str, ...]


class Health:
    """What `/healthz` answers. A process that has not moved yet is not healthy: give its container time to start."""

    def __init__(
        self,
        *,
        needs_lease: bool,
        limit_seconds: float = LIMIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` must never step back."""
        self._needs_lease = needs_lease
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._alive_at: float | None = None
        self._held = False

    def alive(self) -> None:
        """The process has moved: an epoch ended, a heartbeat was written."""
        with self._lock:
            self._alive_at = self._clock()

    def lease(self, *, held: bool) -> None:
        """The lease was taken or lost."""
        with self._lock:
            self._held = held

    def verdict(self) -> Verdict:
        """Judge now."""
        with self._lock:
            alive_at, held = self._alive_at, self._held
        reasons = []
        if alive_at is None:
            reasons.append("has not moved yet")
        elif (age := self._clock() - alive_at) > self._limit_seconds:
            reasons.append(f"has not moved for {age:.0f} s, at most {self._limit_seconds:.0f} s are well")
        if self._needs_lease and not held:
            reasons.append("does not hold its lease")
        return Verdict(not reasons, tuple(reasons))
