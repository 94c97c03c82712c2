"""What a check has found. A check that ran nothing has proved nothing: void counts as not run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST_LANDED = 0.8
MOST_TOLD = 5


@dataclass(frozen=True)
class Outcome:
    """One check, run once.

    n         faults that were tried, or cases; void: those of them that hit nothing
    failures  sentences, one for everything that is not as it must be
    landed    faults that hit what they were meant for
    figure    what was measured, with its unit
    bar       what the figure must be
    bar_met   whether it is
    """

    id: str
    seed: int
    n: int
    failures: Sequence[str] = ()
    void: int = 0
    landed: int | None = None
    figure: str = ""
    bar: str = "0 failures"
    bar_met: bool = True
    seconds: float = field(default=0.0, compare=False)

    @property
    def ran(self) -> int:
        """What counts."""
        return self.n - self.void

    @property
    def met(self) -> bool:
        """Whether it proves what it is for."""
        return self.ran > 0 and self.ran >= LEAST_LANDED * self.n and not self.failures and self.bar_met

    def line(self) -> str:
        """One line of JSON."""
        told: dict[str, Any] = {
            "id": self.id,
            "seed": self.seed,
            "n": self.n,
            "failures": len(self.failures),
            "void": self.void,
            "landed": self.ran if self.landed is None else self.landed,
            "figure": self.figure,
            "bar": self.bar,
            "met": self.met,
            "seconds": round(self.seconds, 1),
        }
        if self.failures:
            told["told"] = list(self.failures[:MOST_TOLD])
        return json.dumps(told)


@dataclass
class Tally:
    """Faults of one check, counted while they happen."""

    n: int = 0
    void: int = 0
    failures: list[str] = field(default_factory=list)

    def hit(self, landed: bool) -> None:
        """Another fault."""
        self.n += 1
        self.void += not landed

    def fail(self, sentence: str) -> None:
        """Something is wrong."""
        self.failures.append(sentence)

    def outcome(self, check_id: str, seed: int, **more: Any) -> Outcome:
        """The end."""
        return Outcome(check_id, seed, self.n, tuple(self.failures), self.void, **more)
