"""The one shape of a stage and the few things all stages share.

    step(config, state, batch) -> (state, outputs)

Pure: no clock, no random, no I/O, no globals; inputs are never modified, the returned state is a new one.
`state is None` means "nothing yet" and nothing else does. The laws (chunks, replay, restart, purity, bounded
state) are tested by `tests/conformance/` for every kernel that is listed there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

import numpy as np

from lotus.columns import I64, Flags

C_contra = TypeVar("C_contra", contravariant=True)
S = TypeVar("S")
R = TypeVar("R", bound="Rows")
B_contra = TypeVar("B_contra", contravariant=True)
O_co = TypeVar("O_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class Rows(Protocol):
    """What a chunk may carry: `Columns`, or several of them side by side."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def take(self, rows: slice | I64 | Flags, /) -> Self:
        """The chosen rows."""
        ...

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        ...

    @classmethod
    def concat(cls, parts: Sequence[Self], /) -> Self:
        """The rows of all parts in the given order."""
        ...


class Step(Protocol[C_contra, S, B_contra, O_co]):
    """What a kernel is."""

    def __call__(self, config: C_contra, state: S | None, batch: B_contra, /) -> tuple[S, O_co]:
        """Advance by one batch."""
        ...


NEVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Chunk(Generic[R]):
    """Rows of one key and the time up to which that key is complete.

    watermark_ms  no row that becomes known at or before this time will follow (ms UTC); -1: nothing promised yet.
                  Rows may be ahead of it.
    last_ms       the series has no row that becomes known after this time: beyond it nothing is missing. Only a
                  replay knows it; live it is NEVER_MS (replay.md 3)
    """

    rows: R
    watermark_ms: int
    last_ms: int = NEVER_MS

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @classmethod
    def join(cls, chunks: "Sequence[Chunk[R]]") -> "Chunk[R]":
        """One chunk with the rows of all, oldest first; watermark and end are the last one's."""
        rows = type(chunks[0].rows).concat([chunk.rows for chunk in chunks])
        return Chunk(rows, chunks[-1].watermark_ms, chunks[-1].last_ms)


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """An instrument on a venue, for lowcaps `chain` and `chain:contract` (market-data.md 1)."""

    venue: str
    token: str


@dataclass(frozen=True, slots=True)
class Number:
    """Where a configured number comes from."""

    spec: str
    unit: str = ""


def number(default: Any, spec: str, unit: str = "") -> Any:
    """Declare a configuration field: its default, the spec section that sets it, its unit."""
    note = {"number": Number(spec, unit)}
    if isinstance(default, list | dict | set):
        raise TypeError("configuration is frozen: use tuples and frozen dataclasses")
    return field(default=default, metadata=note)


ONCE_MAX = 1024


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Remember what a pure function made of these very objects: for what is derived from a frozen configuration.

    `lru_cache` would hash a nested configuration at every step, which takes longer than many steps.
    """
    found: dict[tuple[int, ...], tuple[object, T]] = {}

    def remembered(*arguments: P.args, **named: P.kwargs) -> T:
        key = tuple(map(id, arguments))
        if key not in found:
            if len(found) == ONCE_MAX:
                found.clear()
            found[key] = arguments, function(*arguments, **named)  # held: an id is unique while its object lives
        return found[key][1]

    return remembered


def first_fresh(ts_ms: I64, last_ms: int) -> int:
    """Index of the first row after `last_ms` in ascending times: rows before it were already seen (replay law)."""
    return int(np.searchsorted(ts_ms, last_ms, side="right"))


def arrivals(batches: "Sequence[tuple[Any, ...]]") -> tuple[Any, ...]:
    """Batches of a kernel that merges streams, as one batch: what arrived, in order."""
    return tuple(chain.from_iterable(batches))
