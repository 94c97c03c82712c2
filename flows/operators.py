"""The one adapter between kernels and the engine: a kernel becomes a keyed stateful step.

A stream carries `(key, batch)` pairs whose key may be any value with a text form of its own; the engine partitions
by that text, the kernel's configuration is looked up by the value.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import StatefulBatchLogic

from connectors.snapshots import opened, seal, word
from flows.ledger import Ledger
from lotus.kernel import Step

K = TypeVar("K")
C = TypeVar("C")
S = TypeVar("S")
B = TypeVar("B")
Out = TypeVar("Out")
X = TypeVar("X")
Y = TypeVar("Y")
Join = Callable[[Sequence[B]], B]


class KernelLogic(StatefulBatchLogic[tuple[K, B], tuple[K, Out], bytes], Generic[K, C, S, B, Out]):
    """Runs one kernel for one key. A kernel never modifies a state, so a snapshot is the state itself, sealed."""

    def __init__(
        self,
        step_id: str,
        step: Step[C, S, B, Out],
        config_of: Callable[[K], C],
        join: Join[B] | None,
        ledger: Ledger,
        stored: bytes | None,
    ) -> None:
        """Start from a recovered state, which is opened when it is first needed, or from none."""
        self._step_id, self._step, self._config_of, self._join = step_id, step, config_of, join
        self._ledger, self._stored = ledger, stored
        self._key: str | None = None
        self._state: S | None = None
        self._word = 0

    def on_batch(self, values: list[tuple[K, B]]) -> tuple[list[tuple[K, Out]], bool]:
        """One output for each step, in order; with `join`, what arrived together is one step."""
        if self._key is None:
            self._wake(str(values[0][0]))
        outputs = []
        if self._join is not None:
            values = [(values[0][0], self._join([batch for _, batch in values]))]
        for key, batch in values:
            self._state, output = self._step(self._config_of(key), self._state, batch)
            outputs.append((key, output))
        return outputs, StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """What the kernel returned last."""
        if self._stored is not None:
            return self._stored  # nothing has come since the start
        assert self._key is not None, "a kernel without a state has had a batch"
        sealed = seal(self._state)
        before, self._word = self._word, word(self._step_id, self._key, sealed)
        self._ledger.enter(before, self._word)
        return sealed

    def _wake(self, key: str) -> None:
        """Open what was stored; raises DamagedSnapshotError."""
        self._key = key
        if self._stored is not None:
            self._state = opened(self._stored)
            self._word = word(self._step_id, key, self._stored)
            self._stored = None


def kernel(
    step_id: str,
    up: Stream[tuple[K, B]],
    step: Step[C, S, B, Out],
    config_of: Callable[[K], C],
    join: Join[B] | None = None,
) -> Stream[tuple[K, Out]]:
    """Apply a kernel to every key of a stream."""
    text_of = lru_cache(maxsize=None)(str)  # of a key: there are as many as there are lanes
    keyed = op.map(f"{step_id}_key", up, lambda item: (text_of(item[0]), item))
    full_id, ledger = f"{up.flow().flow_id}.{step_id}", Ledger.current()
    stepped = op.stateful_batch(
        step_id, keyed, lambda stored: KernelLogic(full_id, step, config_of, join, ledger, stored)
    )
    return op.map(f"{step_id}_out", stepped, lambda item: item[1])


def route(step_id: str, up: Stream[X], way: Callable[[X], Iterable[Y]]) -> Stream[Y]:
    """Send every item where the plan says."""
    return op.flat_map(step_id, up, way)
