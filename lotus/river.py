"""The river without an engine: the same kernels, joined by lists.

It is what every flow is tested against, and the insurance that the engine stays replaceable.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from lotus import bar, basket, dominance, grid, mending, rollup
from lotus.feed import Feed
from lotus.kernel import Step, arrivals
from lotus.plan import Plan
from lotus.position import kernel as position
from lotus.posture import board
from lotus.posture import kernel as posture
from lotus.published import refused_published
from lotus.trend import kernel as trend
from lotus.written import (
    Written,
    bars_written,
    dead_written,
    dominance_written,
    mended_written,
    position_written,
    posture_written,
    ticks_written,
    trend_written,
)

K = TypeVar("K", bound=Hashable)
C = TypeVar("C")
S = TypeVar("S")
B = TypeVar("B")
Out = TypeVar("Out")
X = TypeVar("X")
Y = TypeVar("Y")


class Stage(Generic[K, C, S, B, Out]):
    """A kernel and its states by key.

    join  how batches of one key become one where several arrive at once; without it each is a step of its own
    """

    def __init__(
        self, step: Step[C, S, B, Out], config_of: Callable[[K], C], join: Callable[[Sequence[B]], B] | None = None
    ) -> None:
        """Start with no key seen."""
        self._step, self._config_of, self._join = step, config_of, join
        self._states: dict[K, S] = {}

    def __call__(self, items: Iterable[tuple[K, B]]) -> list[tuple[K, Out]]:
        """One output for each step, in order of the items."""
        outputs = []
        for key, batch in gathered(items, self._join):
            self._states[key], output = self._step(self._config_of(key), self._states.get(key), batch)
            outputs.append((key, output))
        return outputs


def gathered(items: Iterable[tuple[K, B]], join: Callable[[Sequence[B]], B] | None) -> Iterable[tuple[K, B]]:
    """The items with those of one key joined."""
    if join is None:
        return items
    batches: dict[K, list[B]] = {}
    for key, batch in items:
        batches.setdefault(key, []).append(batch)
    return [(key, join(found)) for key, found in batches.items()]


def routed(route: Callable[[X], Iterable[Y]], items: Iterable[X]) -> list[Y]:
    """What a route makes of every item."""
    return [routed_item for item in items for routed_item in route(item)]


def run(plan: Plan, feed: Feed) -> Iterator[list[Written]]:
    """Replay a feed through the whole river; the rows of each slice, in the order in which they came about."""
    ticked = Stage(bar.step, plan.bar_config)
    mended = Stage(mending.step, plan.mend_config, arrivals)
    rolled = Stage(rollup.step, plan.rollups.__getitem__)
    gridded = Stage(grid.step, plan.grid_config)
    indexed = Stage(basket.step, plan.indices.__getitem__, arrivals)
    sampled = Stage(dominance.step, plan.dominance.__getitem__)
    engine = Stage(trend.step, plan.engine_config)
    board_of_drivers = Stage(board.step, plan.board_config, arrivals)
    postured = Stage(posture.step, plan.postures.__getitem__, arrivals)
    positioned = Stage(position.step, plan.accounts.__getitem__, arrivals)

    for piece in feed.slices():
        minutes = ticked(piece.ticks)
        sewn = mended([*routed(plan.to_mending, minutes), *routed(plan.to_mending, piece.patches)])
        series = gridded(routed(plan.to_grid, rolled([*piece.raw, *routed(plan.to_rollup, minutes)])))
        samples = sampled(routed(plan.to_dominance, piece.samples))
        indices = indexed(routed(plan.to_baskets, series))
        formed = gridded([*indices, *routed(plan.to_driver_grid, samples)])
        records = engine(routed(plan.to_engine, [*formed, *series]))
        boards = board_of_drivers(routed(plan.to_board, records))
        scenes = postured([*routed(plan.to_posture, records), *routed(plan.to_postures, boards)])
        commands = routed(plan.to_command, piece.commands)
        deeds = positioned([*routed(plan.to_position, scenes), *routed(plan.to_execution, piece.executions), *commands])
        yield [
            *dead_written(piece.dead),
            *routed(refused_published, piece.refused),
            *routed(ticks_written, minutes),
            *routed(mended_written, sewn),
            *routed(dominance_written, routed(plan.to_letters, samples)),
            *routed(bars_written, [*series, *formed]),
            *routed(trend_written, records),
            *routed(posture_written, scenes),
            *routed(position_written, deeds),
        ]
