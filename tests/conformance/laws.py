"""The laws of a kernel (docs/architecture.md) over a `Case`; `test_laws.py` holds every listed kernel to them.

A kernel joins by adding its `Case` to `tests/conformance/shelf.py`. A case delivers its input as atoms: the smallest
batches into which the input can be cut. Any grouping of consecutive atoms must give the same bits.
"""

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lotus.columns import Columns
from lotus.kernel import Chunk
from lotus.scene import Scenes

Rows = dict[str, list[Any]]


@dataclass(frozen=True)
class Case:
    """One kernel under the laws.

    atoms            input for a seed, cut as finely as it can be
    join             several consecutive batches as one
    state_bytes_max  bound of the pickled state, however long the input
    """

    name: str
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    config: Any
    atoms: Callable[[np.random.Generator], Sequence[Any]]
    join: Callable[[Sequence[Any]], Any] = Chunk.join
    state_bytes_max: int = 1_000_000


def collect(outputs: Any, into: Rows, path: str = "") -> None:
    """Sort the columns of nested outputs by the path at which they stand."""
    match outputs:
        case None:
            return
        case Columns() | Scenes():
            into.setdefault(path, []).append(outputs)
        case Chunk():
            collect(outputs.rows, into, path)
        case Mapping():
            for key, value in outputs.items():
                collect(value, into, f"{path}/{key}")
        case tuple() | list() if all(isinstance(item, tuple) and len(item) == 2 for item in outputs):
            for key, value in outputs:
                collect(value, into, f"{path}/{key}")
        case tuple() | list():
            for position, value in enumerate(outputs):
                collect(value, into, f"{path}/{position}")
        case _ if is_dataclass(outputs):
            for item in fields(outputs):
                collect(getattr(outputs, item.name), into, f"{path}/{item.name}")
        case int() | float() | str() | bool():
            return
        case _:
            raise TypeError(f"a kernel returned {type(outputs).__name__}: return Columns, Chunks or mappings of them")


def digest(value: Any) -> str:
    """A hash of every bit in nested dataclasses, tuples, mappings, arrays and scalars."""
    hasher = hashlib.blake2b(digest_size=16)
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: "hashlib.blake2b", value: Any) -> None:
    if isinstance(value, np.ndarray):
        hasher.update(f"{value.dtype}{value.shape}".encode())
        if value.dtype == np.object_:
            for item in value:
                _feed(hasher, item)
        else:
            hasher.update(np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        hasher.update(type(value).__name__.encode())
        for item in fields(value):
            _feed(hasher, getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            hasher.update(repr(key).encode())
            _feed(hasher, value[key])
    elif isinstance(value, tuple | list):
        hasher.update(f"[{len(value)}".encode())
        for item in value:
            _feed(hasher, item)
    else:
        hasher.update(repr(value).encode())


def rows_digest(rows: Rows) -> dict[str, str]:
    """Hash of all rows per path; paths without rows do not count."""
    joined = {path: type(parts[0]).concat(parts) for path, parts in rows.items()}
    return {path: digest(columns) for path, columns in sorted(joined.items()) if len(columns)}


def run(case: Case, batches: Sequence[Any], *, restart: bool = False) -> dict[str, str]:
    """Feed the batches in order; `restart` serialises the state after each."""
    state: Any = None
    rows: Rows = {}
    for batch in batches:
        state, outputs = case.step(case.config, state, batch)
        if restart:
            state = pickle.loads(pickle.dumps(state))
        collect(outputs, rows)
    return rows_digest(rows)


def grouped(case: Case, atoms: Sequence[Any], rng: np.random.Generator, cuts: int) -> list[Any]:
    """The atoms joined into `cuts + 1` random groups."""
    edges = sorted({0, len(atoms), *(int(x) for x in rng.integers(1, len(atoms), cuts))})
    return [case.join(atoms[start:end]) for start, end in pairwise(edges)]


def cut_differently(case: Case, splits: int, seed: int) -> int:
    """How many of so many random cuts of one input do not give the bits of the whole (reliability.md C49)."""
    rng = np.random.default_rng([seed, 1])
    atoms = case.atoms(rng)
    whole = run(case, [case.join(atoms)])
    assert whole, f"{case.name} gave no output: its case proves nothing"
    wrong = 0
    for _ in range(splits):
        cuts = int(rng.integers(1, min(12, len(atoms))))
        wrong += run(case, grouped(case, atoms, rng, cuts)) != whole
    return wrong
