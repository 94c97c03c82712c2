"""The position kernel under the laws: a market that lives through all states, four ways of trading it."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from lotus.intake import Action, Commands
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.position.config import BlockConfig, BlockScope, ReclaimConfig
from lotus.position.kernel import Account, Arrival, step
from lotus.records import State
from lotus.timeframe import Timeframe
from tests.conformance.laws import Case
from tests.lotus.stage import DEFAULT, Stage

FOLLOWS: dict[State, tuple[tuple[State, float], ...]] = {
    State.S0: ((State.S0, 0.6), (State.S1, 0.4)),
    State.S1: ((State.S1, 0.6), (State.S2, 0.3), (State.S0, 0.1)),
    State.S2: ((State.S2, 0.6), (State.S1, 0.15), (State.S3, 0.25)),
    State.S3: ((State.S3, 0.94), (State.S0, 0.06)),
}
BARS = 90
LANES = (Lane("TOK", "paper", Timeframe.M15), Lane("TOK", "paper", Timeframe.H1))


def market(rng: np.random.Generator, stage: Stage, bars: int) -> Stage:
    """A script that keeps the rules of the engine: which flags a state may raise, and when an emergency ends."""
    state, price, emergency = State.S0, 100.0, False
    for place in range(bars):
        before = state
        if place:
            following, weights = zip(*FOLLOWS[state], strict=True)
            state = following[int(rng.choice(len(following), p=weights))]
        price *= float(np.exp(rng.normal(0.0, 0.03)))
        flags: list[str] = []
        was_emergency, emergency = emergency, False
        if state is State.S0:
            flags = ["emergency_exit", "exit_position"] if before is not State.S0 else []
        elif state is State.S1 and before is not State.S2:
            flags = ["s1_buy"] if rng.random() < 0.5 else []
        elif state is State.S2 and before is State.S2:
            flags = [name for name in ("s2_buy", "trim") if rng.random() < 0.5]
        elif state is State.S3:
            emergency = bool(rng.random() < 0.15)
            flags = ["emergency_exit"] if emergency else [f for f in ("dx_buy", "trim") if rng.random() < 0.4]
            if was_emergency and before is State.S3 and not emergency:
                flags.append("reclaimed_ema333")
        between = (price * 0.9, price * 1.1) if rng.random() < 0.5 else (price * 1.05, price * 1.1)
        stage.bar(
            state,
            price,
            " ".join(flags),
            atr=price * 0.003,
            level=price * (1.0 + float(rng.integers(-1, 2)) * 0.02) if rng.random() < 0.9 else float("nan"),
            a=round(float(rng.random()), 3),
            e=round(float(rng.random()), 3),
            history=place < bars // 10,
            emas=between,
            margins=tuple(rng.normal(0.0, 1.0, 4).tolist()) if rng.random() < 0.5 else None,
        )
    return stage


def alone(rng: np.random.Generator) -> Sequence[tuple[Arrival, ...]]:
    """One lane, bar by bar."""
    stage = market(rng, Stage(), BARS)
    return [((stage.lane, Chunk(stage.scenes(row, row + 1), stage.known_ms(row))),) for row in range(BARS)]


def together(rng: np.random.Generator) -> Sequence[tuple[Arrival, ...]]:
    """Two timeframes of a token under the same blocks, bar by bar as they become known."""
    fine, coarse = (market(rng, Stage(lane), bars) for lane, bars in zip(LANES, (BARS, BARS // 4), strict=True))
    known = sorted(
        (stage.known_ms(row), stage.lane.timeframe.rank, row)
        for stage in (fine, coarse)
        for row in range(len(stage.rows))
    )
    atoms: list[tuple[Arrival, ...]] = []
    for ts_ms, rank, row in known:
        stage = fine if rank == fine.lane.timeframe.rank else coarse
        other = coarse if stage is fine else fine
        chunk = Chunk(stage.scenes(row, row + 1), ts_ms)
        atoms.append(((stage.lane, chunk), (other.lane, Chunk(other.scenes(0, 0), ts_ms - 1))))
    return atoms


def commands_of(rows: Sequence[tuple[int, Action, str]]) -> Commands:
    """(W it was read at, what to do, id)."""
    ts, action, name = zip(*rows, strict=True) if rows else ((), (), ())
    author = np.array(["operator"] * len(ts), np.object_)
    return Commands(np.array(ts, np.int64), np.array(action, np.int8), np.array(name, np.object_), author)


def commanded(rng: np.random.Generator) -> Sequence[tuple[Arrival, ...]]:
    """One lane and an operator who halts and resumes, sometimes twice, sometimes in the second of a close."""
    stage = market(rng, Stage(), BARS)
    bars: list[Arrival] = []
    orders: list[Arrival] = []
    rows: list[tuple[int, Action, str]] = []
    for row in range(BARS):
        bars.append((stage.lane, Chunk(stage.scenes(row, row + 1), stage.known_ms(row))))
        for _ in range(int(rng.integers(0, 3))):
            after_ms = rows[-1][0] if rows else 0
            known_ms = max(after_ms, stage.known_ms(row) - int(rng.integers(0, 3)) * 1_000)
            again = rows and rng.random() < 0.3
            name = rows[int(rng.integers(0, len(rows)))][2] if again else f"{len(rows)}"
            rows.append((known_ms, Action(int(rng.integers(0, 2))), name))
            orders.append((stage.lane, Chunk(commands_of(rows[-1:]), stage.known_ms(max(row - 1, 0)))))
        orders.append((stage.lane, Chunk(Commands.empty(), stage.known_ms(row))))
    return [(arrival,) for arrival in _interleaved(rng, bars, orders)]


def _interleaved(rng: np.random.Generator, left: Sequence[Arrival], right: Sequence[Arrival]) -> list[Arrival]:
    turns = rng.permutation([0] * len(left) + [1] * len(right))
    sides = (iter(left), iter(right))
    return [next(sides[int(turn)]) for turn in turns]


def joined(atoms: Sequence[tuple[Arrival, ...]]) -> tuple[Arrival, ...]:
    """Several batches as one: the chunks of each stream in order."""
    streams: dict[tuple[Lane, type[Any]], list[Chunk[Any]]] = {}
    for lane, chunk in (arrival for atom in atoms for arrival in atom):
        streams.setdefault((lane, type(chunk.rows)), []).append(chunk)
    return tuple((lane, Chunk.join(chunks)) for (lane, _), chunks in streams.items())


CAREFUL = replace(
    DEFAULT,
    reclaim=ReclaimConfig(hold_bars=2, min_distance_atr=0.1),
    min_notional_usd=Decimal(20),
    dust_usd=Decimal(20),
)
SHARED = replace(DEFAULT, blocks=BlockConfig(scope=BlockScope.ALL_TIMEFRAMES))
ALONE = Lane("TOK", "paper", Timeframe.H1)

CASE = Case("position", step, Account((ALONE,)), alone, joined)
CASES = (
    CASE,
    Case("position-careful", step, Account((ALONE,), CAREFUL), alone, joined),
    Case("position-token-blocks", step, Account(LANES, SHARED), together, joined),
    Case("position-commanded", step, Account((ALONE,), commanded=True), commanded, joined),
)
