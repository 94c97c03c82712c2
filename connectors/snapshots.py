"""Snapshots as bytes: sealed, so that damage is noticed; opened without running what somebody may have put there.

    kind 4 | digest 16 of everything else | total 8 | body: pickle of the state

A recovery store holds pickles. The engine loads what it finds, so what it finds are bytes objects and nothing else
(`unwrapped` refuses the rest before it starts), and the states inside are opened here: a pickle that names anything
but Lotus's own records and the arrays and numbers they are made of is refused. Finding damage is no signature: who may
write into the folder may write a sealed state. The folder is its owner's alone.
"""

import io
import pickle
import struct
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from hashlib import blake2b
from importlib import import_module
from typing import Any
from zlib import crc32

STATE, CLOSING = b"LTs1", b"LTc1"  # a closing snapshot is the last one of an epoch: its total covers the others
WORD = 0xFFFF_FFFF_FFFF_FFFF
_DIGEST = slice(4, 20)
_TOTAL = slice(20, 28)
_BODY = 28
_PROTOCOL = 4  # arrays come back writable, as they were
_OWN = frozenset(("lotus", "connectors"))
_NAMED: Mapping[tuple[str, str], Any] = {
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, complex, bytearray)},
    **{("collections", kind.__name__): kind for kind in (OrderedDict, Counter, deque)},
}
_FROM: Mapping[str, frozenset[str]] = {
    "decimal": frozenset(("Decimal",)),
    "datetime": frozenset(("datetime", "timedelta", "timezone", "date")),
    "numpy": frozenset(("ndarray", "dtype")),
    "numpy._core.multiarray": frozenset(("_reconstruct", "scalar")),
    "numpy.core.multiarray": frozenset(("_reconstruct", "scalar")),
}


# a pickle is a program: with one byte changed it can run into any of these
_WHAT_DAMAGE_RAISES = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RecursionError,
    struct.error,
)


class DamagedSnapshotError(RuntimeError):
    """A snapshot is not what was written, or it is none of ours."""


def seal(state: object, *, total: int | None = None) -> bytes:
    """A state as bytes. `total` makes it a closing snapshot: what `word` sums to over all others."""
    kind = STATE if total is None else CLOSING
    counted = (total or 0).to_bytes(8, "big")
    written = io.BytesIO()
    written.write(b"".join((kind, bytes(16), counted)))
    pickle.Pickler(written, _PROTOCOL).dump(state)
    with written.getbuffer() as view:  # in place: states are large, and a copy costs as much as the digest
        view[_DIGEST] = _digest(kind, counted, view[_BODY:])
    return written.getvalue()


def opened(sealed: bytes) -> Any:
    """The state; raises DamagedSnapshotError if a bit of it is another one, or if it holds something foreign."""
    check(sealed)
    try:
        return _Careful(io.BytesIO(memoryview(sealed)[_BODY:])).load()
    except _WHAT_DAMAGE_RAISES as error:
        raise DamagedSnapshotError(f"a snapshot cannot be opened: {error}") from error


def check(sealed: bytes) -> None:
    """Raise DamagedSnapshotError unless it is what was sealed."""
    kind, view = bytes(sealed[:4]), memoryview(sealed)
    if kind not in (STATE, CLOSING) or len(sealed) <= _BODY:
        raise DamagedSnapshotError("a snapshot is none of this version of Lotus")
    if _digest(kind, view[_TOTAL], view[_BODY:]) != view[_DIGEST]:
        raise DamagedSnapshotError("a snapshot has other contents than were written")


def closing_total(sealed: bytes) -> int | None:
    """What the snapshots of its epoch sum to; None if it is no closing snapshot."""
    return int.from_bytes(sealed[_TOTAL], "big") if sealed.startswith(CLOSING) else None


def word(step: str, key: str, sealed: bytes) -> int:
    """One number for a snapshot in its place; sums of them say whether a set of snapshots is whole."""
    placed = "\0".join((step, key, "")).encode() + sealed[_DIGEST]
    return int.from_bytes(blake2b(placed, digest_size=8).digest(), "big")


def unwrapped(pickled: bytes) -> bytes:
    """The sealed bytes inside what the engine stored of them; nothing that a pickle asks for is looked up.

    raises  DamagedSnapshotError
    """
    try:
        found = _Nothing(io.BytesIO(pickled)).load()
    except _WHAT_DAMAGE_RAISES as error:
        raise DamagedSnapshotError(f"a snapshot cannot be opened: {error}") from error
    if not isinstance(found, bytes):
        raise DamagedSnapshotError(f"a snapshot holds a {type(found).__name__} that nobody sealed")
    return found


def wrapped(sealed: bytes) -> bytes:
    """As the engine stores it."""
    return pickle.dumps(sealed, _PROTOCOL)


def _digest(kind: bytes, counted: bytes | memoryview, body: bytes | memoryview) -> bytes:
    """Of megabytes in every epoch, so of their CRC: it notices every burst up to 32 bits, and costs next to nothing."""
    return blake2b(
        b"".join((kind, counted, len(body).to_bytes(8, "big"), crc32(body).to_bytes(4, "big"))), digest_size=16
    ).digest()


class _Careful(pickle.Unpickler):
    """Knows the classes that states are made of."""

    def find_class(self, module: str, name: str) -> Any:
        """Look one up."""
        return _allowed(module, name)


class _Nothing(pickle.Unpickler):
    """Knows no class at all."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse."""
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


@cache
def _allowed(module: str, name: str) -> Any:
    if (module, name) in _NAMED:
        return _NAMED[module, name]
    if name in _FROM.get(module, ()):
        return getattr(import_module(module), name)
    if module.split(".", maxsplit=1)[0] in _OWN and name.isidentifier():
        found = getattr(import_module(module), name)
        if isinstance(found, type) and found.__module__ == module and _holds_values(found):
            return found
    raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no state of ours is made of")


def _holds_values(found: type) -> bool:
    """A record, a named tuple, a kind: nothing that acts when it is made."""
    return is_dataclass(found) or issubclass(found, tuple | Enum)
