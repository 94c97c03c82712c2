"""The one adapter between kernels and the engine: a kernel becomes a keyed stateful step.

A stream carries `(key, batch)` pairs whose key may be any value with a text form of its own; the engine partitions
by that text, the kernel's configuration is looked up by the value.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import StatefulBatchLogic

from lotus.kernel import Step

K = TypeVar("K")
C = TypeVar("C")
S = TypeVar("S")
B = TypeVar("B")
Out = TypeVar("Out")
X = TypeVar("X")
Y = TypeVar("Y")
Join = Callable[[Sequence[B]], B]


class KernelLogic(StatefulBatchLogic[tuple[K, B], tuple[K, Out], S | None], Generic[K, C, S, B, Out]):
    """Runs one kernel for one key. A kernel never modifies a state, so a snapshot is the state itself."""

    def __init__(
        self, step: Step[C, S, B, Out], config_of: Callable[[K], C], join: Join[B] | None, state: S | None
    ) -> None:
        """Start from a recovered state, or from none."""
        self._step, self._config_of, self._join, self._state = step, config_of, join, state

    def on_batch(self, values: list[tuple[K, B]]) -> tuple[list[tuple[K, Out]], bool]:
        """One output for each step, in order; with `join`, what arrived together is one step."""
        outputs = []
        if self._join is not None:
            values = [(values[0][0], self._join([batch for _, batch in values]))]
        for key, batch in values:
            self._state, output = self._step(self._config_of(key), self._state, batch)
            outputs.append((key, output))
        return outputs, StatefulBatchLogic.RETAIN

    def snapshot(self) -> S | None:
        """What the kernel returned last."""
        return self._state


def kernel(
    step_id: str,
    up: Stream[tuple[K, B]],
    step: Step[C, S, B, Out],
    config_of: Callable[[K], C],
    join: Join[B] | None = None,
) -> Stream[tuple[K, Out]]:
    """Apply a kernel to every key of a stream."""
    keyed = op.map(f"{step_id}_key", up, lambda item: (str(item[0]), item))
    stepped = op.stateful_batch(step_id, keyed, lambda state: KernelLogic(step, config_of, join, state))
    return op.map(f"{step_id}_out", stepped, lambda item: item[1])


def route(step_id: str, up: Stream[X], way: Callable[[X], Iterable[Y]]) -> Stream[Y]:
    """Send every item where the plan says."""
    return op.flat_map(step_id, up, way)
