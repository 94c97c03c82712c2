"""Every kernel stands here; standing here is what puts it under the laws."""

from tests.conformance.cases import asof, bar, basket, board, dominance, grid, position, posture, rollup, trend
from tests.conformance.laws import Case

CASES: tuple[Case, ...] = (
    bar.CASE,
    rollup.CASE,
    grid.CASE,
    basket.CASE,
    dominance.CASE,
    trend.CASE,
    *asof.CASES,
    board.CASE,
    posture.CASE,
    *position.CASES,
)
