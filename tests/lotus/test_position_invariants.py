"""The invariants of scaling.md 19 over random lives, with crashes at random points.

The rows that a run writes are audited one bar at a time by a bookkeeper who knows nothing of the kernel but the spec.
"""

import pickle
from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_UP, Decimal, localcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus.kernel import Chunk
from lotus.paper import PaperConfig
from lotus.position.config import BlockConfig, PoolOnFullExit, PositionConfig, TrimConfig, TrimPolicy
from lotus.position.kernel import Account, AccountState, LaneOutputs, step
from lotus.position.record import FRESH, Record
from lotus.position.sizing import trim_size
from lotus.records import Mode, OrderKind, PoolStatus, Status
from tests.conformance.cases.position import market
from tests.conformance.laws import Rows, collect, rows_digest
from tests.lotus.stage import DEFAULT, FREE, LANE, Stage

BARS = 500
LIVES = 200  # lives of BARS bars each: 100,000 bars
CAP = DEFAULT.sizing.cap_usd
CENT = Decimal("0.01")
BUYS = {OrderKind.S1_ENTRY, OrderKind.S2_FLAT, OrderKind.S2_POOL, OrderKind.DX_BUY, OrderKind.RECLAIM}
S2_BUYS = {OrderKind.S2_FLAT, OrderKind.S2_POOL}
EXITS = {OrderKind.STRUCTURAL_EXIT, OrderKind.EMERGENCY_EXIT}
FRACTIONS = {Decimal(text) for text in ("0.15", "0.225", "0.30", "0.45", "0.60", "0.90")}
KEEP = replace(DEFAULT, pool_on_full_exit=PoolOnFullExit.KEEP)
CURVE = replace(DEFAULT, trim=TrimConfig(policy=TrimPolicy.EXTRACTION_CURVE))
LOSSES = replace(DEFAULT, blocks=BlockConfig(requires_loss=True))


def life(seed: int, bars: int = BARS) -> Stage:
    return market(np.random.default_rng(seed), Stage(), bars)


def lived(
    stage: Stage, config: PositionConfig, paper: PaperConfig, cuts: list[int], *, crash: bool = False
) -> tuple[LaneOutputs, dict[str, str]]:
    """All rows of a life that was cut into batches, with the state lost and restored between them if asked."""
    account = Account((LANE,), config, paper)
    state: AccountState | None = None
    rows: Rows = {}
    edges = sorted({0, len(stage.rows), *(cut % len(stage.rows) for cut in cuts)})
    scenes = stage.scenes()
    for start, end in pairwise(edges):
        chunk = Chunk(scenes.take(slice(start, end)), stage.known_ms(end - 1))
        if crash:
            step(account, state, ((LANE, chunk),))
            state = pickle.loads(pickle.dumps(state))
        state, out = step(account, state, ((LANE, chunk),))
        collect(out.lanes[0], rows)
        lane = state.lanes[0]
        assert lane.record.cycle or lane.record == FRESH, "12: a closed cycle left something behind"
    joined = {path: type(parts[0]).concat(parts) for path, parts in rows.items()}
    nouns = [joined[f"/{item.name}"] for item in fields(LaneOutputs) if item.name != "lane"]
    return LaneOutputs(LANE, *nouns), rows_digest(rows)


@dataclass
class Cycle:
    """What the bookkeeper remembers of the running cycle."""

    s1_entries: int = 0
    buys: Decimal = Decimal(0)
    sells: Decimal = Decimal(0)
    rights: int = 0
    reclaims: int = 0
    exited: bool = False


@dataclass
class Bookkeeper:
    """Follows the rows of a life bar by bar."""

    config: PositionConfig
    cycle: Cycle = field(default_factory=Cycle)
    before: dict[str, Any] = field(default_factory=dict)
    dx_fills: int = 0

    def audit(self, stage: Stage, out: LaneOutputs) -> None:
        """Check every bar that wrote something."""
        nouns = {name: by_ts(getattr(out, name)) for name in ("decisions", "fills", "positions", "episodes")}
        for bar in stage.rows:
            rows = {name: found.get(bar["ts"], []) for name, found in nouns.items()}
            if not any(rows.values()):
                continue
            assert len(rows["decisions"]) <= 1, "at most one intent per bar"
            for decision in rows["decisions"]:
                self.decided(bar, decision)
            for fill in rows["fills"]:
                self.filled(bar, fill)
            for position in rows["positions"]:
                self.stood(rows, position)

    def decided(self, bar: dict[str, Any], decision: dict[str, Any]) -> None:
        kind = OrderKind(decision["kind"])
        if kind in BUYS:
            assert not bar["flag_emergency_exit"], "5"
            assert not bar["flag_exit_position"], "5"
            assert self.before.get("status") != Status.EXITING, "5"
        if kind is OrderKind.TRIM and self.config.trim.policy is TrimPolicy.SEED_CROWDING:
            assert decision["fraction"] in FRACTIONS, "8"
        if kind is OrderKind.DX_BUY and self.before.get("pool_dx_count"):
            assert bar["price"] <= self.before["pool_next_arm"], "2"

    def filled(self, bar: dict[str, Any], fill: dict[str, Any]) -> None:
        kind, cycle = OrderKind(fill["kind"]), self.cycle
        if kind in BUYS:
            cycle.buys += fill["usd"]
        else:
            cycle.sells += fill["usd"]
        if kind is OrderKind.S1_ENTRY:
            cycle.s1_entries += 1
            assert cycle.s1_entries == 1, "1"
            assert not self.before.get("blocked_s1"), "9"
        if kind in S2_BUYS:
            assert not self.before.get("blocked_s2"), "9"
        if kind is OrderKind.EMERGENCY_EXIT:
            cycle.rights, cycle.exited = cycle.rights + 1, True
        if kind is OrderKind.RECLAIM:
            cycle.reclaims += 1
            assert cycle.reclaims <= cycle.rights, "7"
            assert fill["usd"] <= Decimal("0.6") * self.before["exit_value"] + CENT, "7"
        self.dx_fills = self.dx_fills + 1 if kind is OrderKind.DX_BUY else self.dx_fills
        if kind is OrderKind.TRIM or kind in S2_BUYS or kind in EXITS:
            self.dx_fills = 0
        assert self.dx_fills <= 3, "2"

    def stood(self, rows: dict[str, list[dict[str, Any]]], now: dict[str, Any]) -> None:
        cycle, fill = self.cycle, rows["fills"][0] if rows["fills"] else None
        assert (now["buys"], now["sells"]) == (cycle.buys, cycle.sells), "the ledger is the sum of its fills"
        assert now["qty"] >= 0
        assert now["general_buys"] <= CAP, "1"
        assert now["pool_redeployed"] <= Decimal("0.6") * now["pool_basis"] + CENT, "3"
        if (now["blocked_s1"], now["blocked_s2"]) != (
            self.before.get("blocked_s1", False),
            self.before.get("blocked_s2", False),
        ):
            assert rows["episodes"], "9"
        self.follow_pool(fill, now)
        if not cycle.exited and now["status"] != Status.CLOSED:
            headroom = CAP - (now["buys"] - now["sells"])
            unspent = now["pool_basis"] - now["pool_redeployed"]
            assert CAP - now["general_buys"] == headroom - now["locked"] - unspent, "4"
        self.before = now
        if now["status"] == Status.CLOSED:
            self.before = {name: now[name] for name in ("blocked_s1", "blocked_s2")}
            self.cycle, self.dx_fills = Cycle(), 0

    def follow_pool(self, fill: dict[str, Any] | None, now: dict[str, Any]) -> None:
        before = self.before
        if not before.get("pool_basis"):
            return
        basis, redeployed = before["pool_basis"], before["pool_redeployed"]
        kind = OrderKind(fill["kind"]) if fill else None
        if kind in EXITS:
            kept = self.config.pool_on_full_exit is PoolOnFullExit.KEEP and now["status"] != Status.CLOSED
            assert now["pool_basis"] == (basis if kept else 0), "6"
        if now["pool_status"] == PoolStatus.EMPTY:
            drawn = fill["usd"] if fill is not None and kind in (OrderKind.DX_BUY, OrderKind.S2_POOL) else Decimal(0)
            assert now["locked"] - before["locked"] == basis - redeployed - drawn, "3"


def by_ts(columns: Any) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    names = list(columns.layout())
    for row in zip(*(getattr(columns, name).tolist() for name in names), strict=True):
        found.setdefault(row[0], []).append(dict(zip(names, row, strict=True)))
    return found


@settings(max_examples=LIVES, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    config=st.sampled_from([DEFAULT, KEEP, CURVE, LOSSES]),
    paper=st.sampled_from([FREE, PaperConfig()]),
    cuts=st.lists(st.integers(1, BARS - 1), max_size=6),
)
def test_a_random_life_keeps_every_invariant(
    seed: int, config: PositionConfig, paper: PaperConfig, cuts: list[int]
) -> None:
    stage = life(seed)
    out, _ = lived(stage, config, paper, cuts)
    Bookkeeper(config).audit(stage, out)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, BARS - 1), min_size=1, max_size=12))
def test_crashes_and_cuts_change_no_bit_of_the_ledger(seed: int, cuts: list[int]) -> None:
    stage = life(seed)
    assert lived(stage, DEFAULT, FREE, cuts, crash=True)[1] == lived(stage, DEFAULT, FREE, [])[1]


def test_the_global_decimal_context_changes_no_bit() -> None:
    stage = life(7)
    normal = lived(stage, DEFAULT, PaperConfig(), [])[1]
    with localcontext() as context:
        context.prec, context.rounding = 5, ROUND_UP
        assert lived(stage, DEFAULT, PaperConfig(), [])[1] == normal


def test_random_lives_do_everything_there_is_to_do() -> None:
    kinds: set[int] = set()
    for seed in range(20):
        kinds |= set(lived(life(seed), DEFAULT, FREE, [])[0].fills.kind.tolist())
    assert kinds == {int(kind) for kind in OrderKind}


@pytest.mark.parametrize("mode", list(Mode))
def test_a_trim_depends_on_e_and_the_ledger_alone(mode: Mode) -> None:
    record = Record(cycle=True, qty=Decimal(600), buys=Decimal(600))
    shares = {name: replace(getattr(DEFAULT, name)) for name in ("s1_frac", "s2_flat_frac", "s2_pool_frac")}
    other = replace(DEFAULT, **{name: replace(share, patient=Decimal(0)) for name, share in shares.items()})
    assert trim_size(DEFAULT, record, mode, 2.0) == trim_size(other, record, mode, 2.0)
