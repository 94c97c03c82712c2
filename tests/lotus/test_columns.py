"""Batches: equally long columns, cut and joined without copies where nothing changes."""

import numpy as np
import pytest

from lotus.asof import Origins
from lotus.kernel import ONCE_MAX, once
from lotus.records import Samples


def samples(count: int) -> Samples:
    return Samples(np.arange(count), np.arange(count) / 2)


def test_columns_of_different_length_are_refused_by_name() -> None:
    with pytest.raises(AssertionError, match=r"Samples are not equally long: \{'ts': 2, 'level': 1\}"):
        Samples(np.arange(2), np.zeros(1))


def test_a_mask_that_keeps_everything_keeps_the_batch_itself() -> None:
    rows = samples(3)
    assert rows.take(np.ones(3, dtype=np.bool_)) is rows
    assert rows.take(np.array([True, False, True])).ts.tolist() == [0, 2]
    assert rows.take(np.array([2, 0])).level.tolist() == [1.0, 0.0]
    assert rows.take(slice(1)).ts.tolist() == [0]


def test_joining_one_filled_part_copies_nothing() -> None:
    rows = samples(2)
    assert Samples.concat([Samples.empty(), rows, Samples.empty()]) is rows
    assert Samples.concat([]) is Samples.empty()
    assert Samples.concat([rows, rows]).ts.tolist() == [0, 1, 0, 1]


def test_a_batch_of_a_single_column_is_cut_like_others() -> None:
    rows = Origins(np.arange(4))
    assert Origins.concat([rows.take(slice(2)), rows.take(slice(3, None))]).stream.tolist() == [0, 1, 3]


def test_what_is_derived_from_a_configuration_is_made_once_per_object() -> None:
    made: list[object] = []

    @once
    def derived(config: list[int]) -> int:
        made.append(config)
        return sum(config)

    first, equal = [1, 2], [1, 2]
    assert [derived(first), derived(first), derived(equal)] == [3, 3, 3]
    assert len(made) == 2


def test_what_is_remembered_of_configurations_stays_bounded_and_right() -> None:
    derived = once(sum)
    assert [derived([number]) for number in range(2 * ONCE_MAX)] == list(range(2 * ONCE_MAX))
