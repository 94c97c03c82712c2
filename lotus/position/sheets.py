"""What a step writes: rows of six nouns, gathered in lists and turned into columns once."""

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lotus.columns import I64, Columns
from lotus.lane import Lane
from lotus.position.attempt import Blocks
from lotus.position.episode import MARGINS, Ended
from lotus.position.gates import Gate
from lotus.position.ledger import Fill
from lotus.position.marks import Bar
from lotus.position.plan import Intent, Refusal
from lotus.position.pool import Pool
from lotus.position.record import Record
from lotus.position.wording import list_text, object_text, operands_text, value_text
from lotus.records import DeadLetters, Decisions, Episodes, Fills, OrderKind, Positions, Refusals, State, Status

C = TypeVar("C", bound=Columns)


class Shown(NamedTuple):
    """The columns of a position row, beside its time."""

    status: Status
    qty: Any
    general_buys: Any
    buys: Any
    sells: Any
    locked: Any
    pool_status: int
    pool_basis: Any
    pool_redeployed: Any
    pool_dx_count: int
    pool_next_arm: float | None
    exit_value: Any
    rebuy_used: bool
    attempt_active: bool
    blocked_s1: bool
    blocked_s2: bool


def shown(record: Record, status: Status, blocks: Blocks, *, attempt_active: bool) -> Shown:
    """What a position row says about a record."""
    pool, emergency = record.pool, record.emergency
    return Shown(
        status,
        record.qty,
        record.general_buys,
        record.buys,
        record.sells,
        record.locked,
        pool.status,
        pool.basis,
        pool.redeployed,
        pool.dx_count,
        pool.next_arm,
        emergency.exit_value,
        emergency.rebuy_used,
        attempt_active,
        blocks.s1,
        blocks.s2,
    )


# the margins of a best bar are all finite: %r is the spelling of `wording.value_text`
_MARGINS_TEXT = {kind: "{" + ", ".join(f'"{name}": %r' for name in names) + "}" for kind, names in MARGINS.items()}


class Sheets:
    """Rows written during one step of one lane."""

    def __init__(self) -> None:
        """Start empty."""
        self.refused_rows: list[int] = []
        self.refused: list[Refusal] = []
        self._decisions: list[tuple[Any, ...]] = []
        self._fills: list[tuple[Any, ...]] = []
        self._positions: list[tuple[Any, ...]] = []
        self._episodes: list[tuple[Any, ...]] = []
        self._unbooked: list[tuple[int, str, str]] = []

    def decided(self, bar: Bar, intent: Intent, pool: Pool, sentence: str) -> None:
        """A decision row."""
        order = intent.order
        self._decisions.append(
            (
                bar.ts,
                order.kind,
                order.usd,
                intent.size.fraction,
                bar.price,
                bar.atr,
                order.state,
                bar.bar_index,
                bar.nearest_level,
                bar.a,
                bar.e,
                intent.mode_a,
                intent.mode_e,
                intent.pattern_key,
                intent.category,
                reasons_text(intent, pool),
                sentence,
            )
        )

    def filled(
        self, ts: int, kind: OrderKind, sequence: int, fill_id: str, execution: tuple[Any, ...], state: State
    ) -> None:
        """A fill row; `execution` is usd, qty, price, fee."""
        self._fills.append((ts, kind, sequence, fill_id, *execution, state))

    def positioned(self, ts: int, row: Shown) -> None:
        """A position row."""
        self._positions.append((ts, *row))

    def ended(self, ts: int, episode: Ended) -> None:
        """An episode row."""
        tally = episode.tally
        self._episodes.append(
            (
                ts,
                episode.kind,
                episode.started_ts,
                episode.acted,
                episode.succeeded,
                episode.outcome,
                tally.zone_bars,
                tally.best_ts,
                _MARGINS_TEXT[episode.kind] % tally.margins if tally.margins else None,
            )
        )

    def unbooked(self, number: int, reason: str, fill: Fill, known_ms: int) -> None:
        """An execution that cannot be booked; `number` counts those of the lane from 0."""
        row = {"ts": known_ms, **fill._asdict(), **fill.execution._asdict(), "kind": fill.kind.name}
        del row["execution"]
        self._unbooked.append((number, str(reason), operands_text(tuple(row.items()))))

    def letters(self, lane: Lane) -> DeadLetters:
        """All executions that could not be booked."""
        source = f"executions {lane.venue}:{lane.token} {lane.timeframe}" if self._unbooked else ""
        return _table(DeadLetters, [(source, *letter) for letter in self._unbooked])

    def decisions(self) -> Decisions:
        """All decision rows."""
        return _table(Decisions, self._decisions)

    def refusals(self, ts: I64) -> Refusals:
        """All refusal rows; `ts` are the times of the batch that `refused_rows` counts in."""
        if not self.refused:
            return _table(Refusals, [])
        kinds, gates, operands, margins = zip(*self.refused, strict=True)
        return Refusals(
            ts[np.array(self.refused_rows, dtype=np.int64)],
            np.array(kinds, dtype=np.int8),
            np.array(gates, dtype=np.object_),
            np.array(operands, dtype=np.object_),
            np.array(margins, dtype=np.float64),
        )

    def fills(self) -> Fills:
        """All fill rows."""
        return _table(Fills, self._fills)

    def positions(self) -> Positions:
        """All position rows."""
        return _table(Positions, self._positions)

    def episodes(self) -> Episodes:
        """All episode rows."""
        return _table(Episodes, self._episodes)


def reasons_text(intent: Intent, pool: Pool) -> str:
    """Why: every gate with its operands, the factors and limits of the size, the pool before, what is cancelled."""
    size, cancels = intent.size, intent.cancels
    return object_text(
        (
            ("gates", list_text(_gate_text(gate) for gate in intent.gates)),
            ("size", operands_text(size.factors)),
            ("limits", operands_text(size.limits)),
            ("notional_usd", value_text(size.notional)),
            (
                "pool",
                operands_text(
                    (
                        ("status", pool.status.name),
                        ("basis", pool.basis),
                        ("redeployed", pool.redeployed),
                        ("dx_count", pool.dx_count),
                        ("next_arm", pool.next_arm),
                    )
                ),
            ),
            ("cancels", value_text(cancels.kind.name if cancels else None)),
        )
    )


@lru_cache(maxsize=256)
def _gate_text(gate: Gate) -> str:
    return object_text(
        (
            ("gate", value_text(gate.name)),
            ("operands", operands_text(gate.operands)),
            ("margin", value_text(gate.margin)),
        )
    )


def _table(noun: type[C], rows: list[tuple[Any, ...]]) -> C:
    made_of: Any = noun
    if not rows:
        none: C = _no_rows(made_of)
        return none
    columns = zip(*rows, strict=True)
    table: C = made_of(*(_column(dtype, values) for dtype, values in zip(_dtypes(made_of), columns, strict=True)))
    return table


@lru_cache(maxsize=16)
def _no_rows(noun: Any) -> Any:
    return noun.empty()


@lru_cache(maxsize=16)
def _dtypes(noun: Any) -> tuple[np.dtype[Any], ...]:
    return tuple(column.kind.dtype for column in noun.layout().values())


def _column(dtype: np.dtype[Any], values: tuple[Any, ...]) -> Any:
    if dtype != np.object_:
        return np.array(values, dtype=dtype)  # None in a double column becomes NaN
    cells = np.empty(len(values), dtype=np.object_)
    cells[:] = values
    return cells
