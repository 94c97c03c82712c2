"""Named points at which a test can kill this process: `FAIL=writer.before_commit:3` is SIGKILL at the third pass.

`FAIL=writer.inside_copy:3:STOP` puts it to sleep there instead. Without FAIL a point costs one comparison. POINTS lists
every point there is, so that a harness can hit each of them.
"""

import os
import signal

POINTS = (
    "writer.lease_taken",
    "writer.before_begin",
    "writer.after_lease_check",
    "writer.inside_copy",
    "writer.before_outbox",
    "writer.inside_outbox",
    "writer.before_targets",
    "writer.before_marks",
    "writer.before_commit",
    "writer.after_commit",
    "writer.before_snapshot",
    "writer.after_prune",
    "relay.before_begin",
    "relay.after_produce",
    "relay.before_commit",
    "relay.after_commit",
    "relay.before_mark",
    "flow.stores_written",
    "flow.swap_begun",
    "flow.store_made",
    "flow.store_forgotten",
)

_ENVIRONMENT = "FAIL"
_SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP}
_left: dict[str, int] = {}  # passes until the signal, of the armed point
_sent: list[signal.Signals] = [signal.SIGKILL]


def arm(text: str) -> None:
    """Die at the n-th pass of a point: `point:n`, or sleep: `point:n:STOP`; nothing is armed by "".

    raises  ValueError if there is no such point or signal, or n is no number from 1 on
    """
    _left.clear()
    if not text:
        return
    point, _, rest = text.partition(":")
    passes, _, name = rest.partition(":")
    name = name or "KILL"
    if point not in POINTS or name not in _SIGNALS or not passes.isdigit() or int(passes) < 1:
        raise ValueError(
            f"{_ENVIRONMENT}={text}: write POINT:N or POINT:N:STOP with N from 1 on and one of {', '.join(POINTS)}"
        )
    _left[point] = int(passes)
    _sent[0] = _SIGNALS[name]


def reached(point: str) -> None:
    """The process passes a point; it may not come back."""
    if _left:
        _pass(point)


def _pass(point: str) -> None:
    assert point in POINTS, f"{point} is not listed in POINTS"
    if point in _left:
        _left[point] -= 1
        if _left[point] == 0:
            os.kill(os.getpid(), _sent[0])


arm(os.environ.get(_ENVIRONMENT, ""))
