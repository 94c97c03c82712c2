"""Chunk, replay, restart, purity and bounded state, for every kernel on the shelf."""

import pickle

import numpy as np
import pytest

from tests.conformance.laws import Case, collect, cut_differently, digest, grouped, rows_digest, run
from tests.conformance.shelf import CASES

CHUNKINGS = 10_000  # random splits over all kernels (reliability.md C49)

every_kernel = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_kernel
def test_cutting_the_input_differently_changes_no_bit(case: Case) -> None:
    share = CHUNKINGS // len(CASES) + 1
    rounds = max(1, share // 50)
    for seed in range(rounds):
        wrong = cut_differently(case, -(-share // rounds), seed)
        assert not wrong, f"{case.name} breaks the chunk law {wrong} times, seed {seed}"


@every_kernel
def test_one_row_at_a_time_is_the_same_as_all_at_once(case: Case) -> None:
    atoms = case.atoms(np.random.default_rng(2))
    assert run(case, atoms) == run(case, [case.join(atoms)])


@every_kernel
def test_rows_seen_again_change_nothing_and_emit_nothing(case: Case) -> None:
    rng = np.random.default_rng(3)
    atoms = case.atoms(rng)
    whole = run(case, [case.join(atoms)])
    half = len(atoms) // 2
    for start in (0, half // 2):
        again = [case.join(atoms[:half]), case.join(atoms[start:half]), case.join(atoms[half:])]
        assert run(case, again) == whole, f"{case.name} breaks the replay law"


@every_kernel
def test_state_survives_serialisation_after_every_batch(case: Case) -> None:
    rng = np.random.default_rng(4)
    atoms = case.atoms(rng)
    batches = grouped(case, atoms, rng, min(20, len(atoms) - 1))
    assert run(case, batches, restart=True) == run(case, batches)


@every_kernel
def test_a_step_modifies_neither_state_nor_input(case: Case) -> None:
    rng = np.random.default_rng(5)
    atoms = case.atoms(rng)
    state = None
    for batch in grouped(case, atoms, rng, min(10, len(atoms) - 1)):
        before = digest((state, batch))
        following, outputs = case.step(case.config, state, batch)
        assert digest((state, batch)) == before, f"{case.name} modified its state or its input"
        once: dict[str, list[object]] = {}
        twice: dict[str, list[object]] = {}
        collect(outputs, once)
        collect(case.step(case.config, state, batch)[1], twice)
        assert rows_digest(once) == rows_digest(twice)
        state = following


@every_kernel
def test_state_stays_bounded(case: Case) -> None:
    atoms = case.atoms(np.random.default_rng(6))
    state, _ = case.step(case.config, None, case.join(atoms))
    assert len(pickle.dumps(state)) <= case.state_bytes_max
