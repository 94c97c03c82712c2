"""Bands of A and E: patient, normal, aggressive (scaling.md 3).

     0 ........ 0.3 ............ 0.7 ........ 1
      patient  |     normal     |  aggressive

A value is rounded to 9 decimals before it is compared, so that a sum that should land on an edge does.
"""

from dataclasses import dataclass
from functools import lru_cache

from lotus.kernel import number
from lotus.records import Mode

DECIMALS = 9


@dataclass(frozen=True)
class ModeBands:
    """Edges of the bands.

    patient_below    values below it are patient, 0..1
    aggressive_from  values from it on are aggressive, 0..1, above `patient_below`
    """

    patient_below: float = number(0.3, "scaling.md 3", "0..1")
    aggressive_from: float = number(0.7, "scaling.md 3", "0..1")

    def __post_init__(self) -> None:
        """Check that the three bands exist."""
        if not 0.0 < self.patient_below < self.aggressive_from <= 1.0:
            raise ValueError(
                "modes need 0 < patient_below < aggressive_from <= 1, "
                f"got {self.patient_below} and {self.aggressive_from}"
            )

    def mode_of(self, value: float) -> Mode:
        """Band of one value of A or E, rounded to 9 decimals first.

        value    A or E, 0..1, finite
        returns  its band
        source   scaling.md 3
        """
        return _mode_of(self.patient_below, self.aggressive_from, value)


@lru_cache(maxsize=1024)
def _mode_of(patient_below: float, aggressive_from: float, value: float) -> Mode:
    rounded = round(value, DECIMALS)
    if rounded < patient_below:
        return Mode.PATIENT
    return Mode.NORMAL if rounded < aggressive_from else Mode.AGGRESSIVE
