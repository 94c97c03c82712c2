"""Bands of A and E (scaling.md 3)."""

import pytest

from lotus.modes import ModeBands
from lotus.records import Mode


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        (0.0, Mode.PATIENT),
        (0.299999999, Mode.PATIENT),
        (0.2999999999, Mode.NORMAL),
        (0.3, Mode.NORMAL),
        (0.1 + 0.2, Mode.NORMAL),
        (0.699999999, Mode.NORMAL),
        (0.6999999999, Mode.AGGRESSIVE),
        (0.7, Mode.AGGRESSIVE),
        (1.0, Mode.AGGRESSIVE),
    ],
)
def test_a_value_is_rounded_to_nine_decimals_before_its_band_is_read(value: float, mode: Mode) -> None:
    assert ModeBands().mode_of(value) is mode


@pytest.mark.parametrize("edges", [(0.7, 0.3), (0.5, 0.5), (0.0, 0.7), (0.3, 1.1), (float("nan"), 0.7)])
def test_bands_that_do_not_exist_are_refused(edges: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="modes need"):
        ModeBands(*edges)
