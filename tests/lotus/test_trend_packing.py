"""A state of the engine is kept without what nobody will read, and goes on as if all of it had been."""

import pickle

import numpy as np
import pytest

from lotus.kernel import Chunk
from lotus.records import Bars, State, Trend
from lotus.timeframe import Timeframe
from lotus.trend.kernel import Engine, TrendState, step
from tests.lotus.engine_bars import bars_of, wandering
from tests.plain.fixture_f import fixture_f

WHOLE = pickle.dumps(np.zeros(42_000))  # about what the arrays of a memory take


def played(engine: Engine, bars: Bars, cuts: list[int]) -> tuple[list[TrendState], Trend]:
    """The states after each part, each made of the one before as a store keeps it, and all records."""
    state: TrendState | None = None
    states, records = [], []
    for start, end in zip([0, *cuts], [*cuts, len(bars)], strict=True):
        state, chunk = step(engine, state, Chunk(bars.take(slice(start, end)), -1))
        states.append(state)
        records.append(chunk.rows)
        state = pickle.loads(pickle.dumps(state))
    return states, Trend.concat(records)


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1])
def test_a_state_that_was_kept_goes_on_with_the_same_bits(timeframe: Timeframe) -> None:
    bars = bars_of(wandering(np.random.default_rng(11), 2600, timeframe.ms))
    engine = Engine(timeframe)
    _, whole = step(engine, None, Chunk(bars, -1))
    cuts = sorted({*np.random.default_rng(5).integers(1, len(bars), 150).tolist(), 1, 2, 63, 64, 65})
    _, found = played(engine, bars, cuts)
    assert {int(state) for state in np.unique(whole.rows.state)} >= {State.S0, State.S3}
    for name in Trend.layout():
        np.testing.assert_array_equal(getattr(found, name), getattr(whole.rows, name), err_msg=name)


def test_a_young_series_is_kept_in_little_space() -> None:
    states, _ = played(Engine(Timeframe.M1), bars_of(fixture_f()), [5, 400])
    assert len(pickle.dumps(states[0])) < len(WHOLE) / 20
    assert len(pickle.dumps(states[1])) < len(WHOLE) / 2
