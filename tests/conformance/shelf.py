"""Every kernel stands here; standing here is what puts it under the laws."""

from tests.conformance.cases import (
    asof,
    bar,
    basket,
    board,
    dominance,
    grid,
    mending,
    pairing,
    position,
    posture,
    rollup,
    trend,
)
from tests.conformance.laws import Case

CASES: tuple[Case, ...] = (
    bar.CASE,
    mending.CASE,
    rollup.CASE,
    grid.CASE,
    basket.CASE,
    dominance.CASE,
    trend.CASE,
    *asof.CASES,
    board.CASE,
    posture.CASE,
    pairing.CASE,
    *position.CASES,
)
