"""What people and venues say in the input log: candles, outages, commands, executions, from message to row."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from lotus.intake import Action, Candles, Commands, Link
from lotus.lane import Lane
from lotus.mending import Replaced
from lotus.paper import PaperConfig, buy, round_qty, round_usd, sell
from lotus.records import Executions, Fills, OrderKind, Positions, Refusals, Status
from lotus.timeframe import MINUTE_MS, Timeframe
from lotus.written import Written
from tests.connectors.memory_log import MemoryLog
from tests.flows.played import SPAN_MS, Played, Scene, Speech, columns, minute_of, says
from tests.flows.rows import Tables, by_flow, by_river, digests

HOURS = 20
COST = PaperConfig()
BUYS = (OrderKind.S1_ENTRY, OrderKind.S2_POOL, OrderKind.S2_FLAT, OrderKind.RECLAIM, OrderKind.DX_BUY)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.of(tmp_path_factory.mktemp("scene"), HOURS)


@pytest.fixture(scope="module")
def on_paper(scene: Scene) -> Played:
    return Played(scene, scene.plan())


def of_noun(found: Tables, noun: str) -> dict[Lane, Any]:
    return {lane: rows for (one, lane), rows in found.items() if one == noun}


def without(found: Tables, *nouns: str) -> Tables:
    return {key: rows for key, rows in found.items() if key[0] not in nouns}


# candles ----------------------------------------------------------------------------------------------------------

TOKEN = "BTC"
OUTAGE = 100  # its first and last minute have trades; the two in between have none


def candle(minute_ms: int, close: int = 7) -> Speech:
    e8 = close * 10**8
    rows = columns(
        Candles, ts=[minute_ms], open_e8=[e8], high_e8=[e8], low_e8=[e8], close_e8=[e8], size_e8=[10**8], trades=[3]
    )
    return says("candle", (TOKEN, "sim", ""), rows)


def together(*speeches: Speech) -> Speech:
    def speak(log: MemoryLog) -> None:
        for speech in speeches:
            speech(log)

    return speak


def outage(scene: Scene, *, mended: bool) -> Played:
    """The connection is lost in minute 100 and back in minute 103; later somebody brings candles of 98 to 104."""
    starts = [minute_of(clock) for clock in scene.clocks]
    down_ms, up_ms = starts[OUTAGE] + 30_000, starts[OUTAGE + 3] + 10_000
    script: dict[int, Speech] = {
        OUTAGE + 1: lambda log: log.connection(down_ms, Link.DOWN, [TOKEN]),
        OUTAGE + 3: lambda log: log.connection(up_ms, Link.UP, [TOKEN]),
    }
    if mended:
        brought = [candle(starts[number]) for number in range(OUTAGE - 2, OUTAGE + 5)]
        script[OUTAGE + 6] = together(*brought, candle(starts[OUTAGE + 1]), candle(starts[OUTAGE + 2], 8))
    return Played(scene, scene.plan(), script, frozenset((OUTAGE + 1, OUTAGE + 2)))


@pytest.fixture(scope="module")
def mended(scene: Scene) -> Played:
    return outage(scene, mended=True)


def test_candles_mend_the_minutes_of_an_outage_and_no_other(scene: Scene, mended: Played) -> None:
    starts = [minute_of(clock) for clock in scene.clocks]
    (rows,) = of_noun(mended.rows, "bar_candle").values()
    told = [
        (starts.index(int(ts)) - OUTAGE, int(sequence), Replaced(int(what)).name)
        for ts, sequence, what in zip(rows.ts, rows.sequence, rows.replaces, strict=True)
    ]
    assert told == [
        (0, 0, "UNCOVERED"),
        (1, 0, "MISSING"),
        (2, 0, "MISSING"),
        (3, 0, "UNCOVERED"),
        (2, 1, "MISSING"),
    ]
    letters = of_noun(mended.rows, "dead_letter")[Lane(f"candles:{TOKEN}", "sim", Timeframe.M1)]
    assert letters.reason.tolist() == ["minute_covered"] * 3 + ["duplicate"]
    assert set(letters.source) == {f"candles sim:{TOKEN}"}


def test_a_mended_minute_never_re_enters_the_river(scene: Scene, mended: Played) -> None:
    lost = outage(scene, mended=False)
    assert digests(without(mended.rows, "bar_candle", "dead_letter")) == digests(without(lost.rows, "dead_letter"))
    bars = of_noun(mended.rows, "bar")[Lane(TOKEN, "sim", Timeframe.M1)]
    assert 7.0 not in bars.close


# commands ---------------------------------------------------------------------------------------------------------


def command(token: str, action: Action, name: str, ts_ms: int) -> Speech:
    rows = columns(Commands, ts=[ts_ms], action=[action], command_id=[name], author=["ada"])
    return says("command", (token, "", ""), rows)


def first_buy(found: Tables) -> tuple[Lane, int]:
    """The first entry or add of a run and when its bar closed."""
    buys = [
        (int(ts) + lane.timeframe.ms, lane)
        for lane, rows in of_noun(found, "decision").items()
        for ts, category in zip(rows.ts, rows.category, strict=True)
        if category in ("entry", "add")
    ]
    close_ms, lane = min(buys)
    return lane, close_ms


def number_of(scene: Scene, at_ms: int) -> int:
    return [minute_of(clock) for clock in scene.clocks].index(minute_of(at_ms))


def halted(scene: Scene, paper: Tables, hours: int = 4) -> tuple[Played, int, int]:
    """All are halted in the minute before the first buy, for some hours."""
    _, close_ms = first_buy(paper)
    begin = number_of(scene, close_ms - MINUTE_MS)
    end = begin + hours * 60
    script = {
        number: together(*(command(token, action, f"{action.name}", scene.clocks[number]) for token in tokens))
        for tokens in [scene.plan().traded_tokens]
        for number, action in ((begin, Action.HALT), (end, Action.RESUME))
    }
    return Played(scene, scene.plan(), script), close_ms - MINUTE_MS, scene.clocks[end]


def test_between_halt_and_resume_nothing_is_bought_and_every_flag_is_a_refusal(scene: Scene, on_paper: Played) -> None:
    lane, close_ms = first_buy(on_paper.rows)
    life, begin_ms, end_ms = halted(scene, on_paper.rows)
    gates: dict[tuple[Lane, int], str] = {}
    for one, rows in of_noun(life.rows, "refusal").items():
        assert isinstance(rows, Refusals)
        for ts, gate in zip(rows.ts, rows.gate, strict=True):
            gates[one, int(ts) + one.timeframe.ms] = str(gate)
    stopped = [known_ms for (_, known_ms), gate in gates.items() if gate == "operator_halt"]
    assert gates[lane, close_ms] == "operator_halt"
    assert all(begin_ms < known_ms <= end_ms for known_ms in stopped)
    for one, rows in of_noun(life.rows, "decision").items():
        known_ms = rows.ts + one.timeframe.ms
        inside = (known_ms > begin_ms + MINUTE_MS) & (known_ms <= end_ms - MINUTE_MS)
        assert not set(rows.category[inside]) & {"entry", "add"}
    bought_before = [kind for kind in decided(on_paper.rows) if kind in BUYS]
    assert len([kind for kind in decided(life.rows) if kind in BUYS]) < len(bought_before)


def test_a_log_without_commands_gives_the_rows_of_a_run_without_an_operator(scene: Scene, on_paper: Played) -> None:
    plain = replace(on_paper.plan, manifest=replace(scene.manifest, logged=False))
    assert digests(by_river(plain, scene.again(on_paper.log, plain, SPAN_MS))) == digests(on_paper.rows)


def decided(found: Tables) -> list[OrderKind]:
    return [OrderKind(int(kind)) for rows in of_noun(found, "decision").values() for kind in rows.kind]


# venues -----------------------------------------------------------------------------------------------------------


@dataclass
class Venue:
    """Executes what is decided; keeps books of its own.

    dice  None: everything at once at the price of the paper broker; else in parts, late, twice or not at all
    """

    dice: np.random.Generator | None = None
    held: dict[Lane, Decimal] = field(default_factory=dict)
    spent: dict[Lane, Decimal] = field(default_factory=dict)
    received: dict[Lane, Decimal] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    later: list[Speech] = field(default_factory=list)
    rejected: int = 0
    repeated: int = 0
    partial: int = 0

    def hear(self, written: list[Written]) -> Sequence[Speech]:
        """Answer what was decided; what is left of the last time comes first."""
        due, self.later = self.later, []
        for item in written:
            if item.noun == "decision":
                for row in range(len(item.rows)):
                    first, rest = self._answers(item.lane, item.rows, row)
                    due.append(first)
                    self.later += rest
        return due

    def _answers(self, lane: Lane, rows: Any, row: int) -> tuple[Speech, list[Speech]]:
        kind, ts, price = OrderKind(int(rows.kind[row])), int(rows.ts[row]), float(rows.price[row])
        name = f"{lane}:{kind.name}:{ts}"
        known_ms = ts + lane.timeframe.ms + 5_500
        if self.dice is None:
            if kind in BUYS:
                done = buy(COST, rows.usd[row], price)
            else:
                done = sell(COST, round_qty(self.held[lane] * rows.fraction[row]), price)
            return self._said(lane, kind, ts, known_ms, name, tuple(done)), []
        if self.dice.random() < 0.2:
            self.rejected += 1
            return self._said(lane, kind, ts, known_ms, name, (Decimal(0),) * 4), []
        exact = Decimal(repr(price))
        whole = rows.usd[row] / exact if kind in BUYS else self.held[lane] * rows.fraction[row]
        half = round_qty(whole / 2)
        part = (round_usd(half * exact), half, exact, Decimal(0))
        first = self._said(lane, kind, ts, known_ms, name + ":1", part, done=False)
        if self.dice.random() < 0.3:
            self.repeated += 1
            first = together(first, first)
        self.partial += 1
        second = self._said(lane, kind, ts, known_ms + 40_000, name + ":2", part)
        return first, [together(second, first)]

    def _said(
        self, lane: Lane, kind: OrderKind, order_ts: int, ts: int, name: str, done_at: Any, *, done: bool = True
    ) -> Speech:
        usd, qty, price, fee = done_at
        sign = 1 if kind in BUYS else -1
        self.held[lane] = self.held.get(lane, Decimal(0)) + sign * qty
        books = self.spent if kind in BUYS else self.received
        books[lane] = books.get(lane, Decimal(0)) + usd
        rows = columns(
            Executions, ts=[ts], kind=[kind], order_ts=[order_ts], fill_id=[name], usd=[usd], qty=[qty], price=[price],
            fee=[fee], done=[done],
        )  # fmt: skip
        return says("execution", (lane.token, lane.venue, str(lane.timeframe)), rows)


@pytest.fixture(scope="module")
def at_once(scene: Scene) -> Played:
    return Played(scene, scene.plan(at_venue=True), hears=Venue().hear)


def ledger(found: Tables) -> dict[Lane, list[tuple[Any, ...]]]:
    """What the position rows of each lane say about money, without repetitions."""
    books: dict[Lane, list[tuple[Any, ...]]] = {}
    for lane, rows in of_noun(found, "position").items():
        assert isinstance(rows, Positions)
        said: list[tuple[Any, ...]] = [(0, 0, 0, 0, 0)]
        for entry in zip(rows.qty, rows.buys, rows.sells, rows.locked, rows.pool_basis, strict=True):
            if entry != said[-1]:
                said.append(entry)
        books[lane] = said
    return books


def test_a_venue_that_executes_at_once_at_the_paper_price_gives_the_ledger_of_the_paper_broker(
    on_paper: Played, at_once: Played
) -> None:
    assert len(decided(on_paper.rows)) > 20, "too few decisions: this would prove nothing"
    assert decided(at_once.rows) == decided(on_paper.rows)
    assert ledger(at_once.rows) == ledger(on_paper.rows)
    mine, theirs = of_noun(at_once.rows, "fill"), of_noun(on_paper.rows, "fill")
    assert mine.keys() == theirs.keys()
    for lane, fills in mine.items():
        paper = theirs[lane]
        for name in ("kind", "usd", "qty", "price", "fee", "state"):
            assert getattr(fills, name).tolist() == getattr(paper, name).tolist()
        assert (fills.ts == paper.ts + lane.timeframe.ms).all(), "it is booked before the next bar"


def test_the_books_of_a_venue_that_fills_in_parts_twice_or_not_at_all_are_ours(scene: Scene) -> None:
    venue = Venue(np.random.default_rng(1))
    life = Played(scene, scene.plan(at_venue=True), hears=venue.hear)
    fills = of_noun(life.rows, "fill")
    assert min(venue.rejected, venue.repeated, venue.partial) > 0, "no such order came: this would prove nothing"
    assert not venue.later, "the recording ended before the venue had said everything"
    for lane, rows in fills.items():
        assert isinstance(rows, Fills)
        assert len(set(rows.fill_id)) == len(rows)
        bought = np.isin(rows.kind, BUYS)
        assert sum(rows.usd[bought], Decimal(0)) == venue.spent.get(lane, Decimal(0))
        assert sum(rows.usd[~bought], Decimal(0)) == venue.received.get(lane, Decimal(0))
        assert sum(rows.qty[bought], Decimal(0)) - sum(rows.qty[~bought], Decimal(0)) == venue.held[lane]
    for lane, rows in of_noun(life.rows, "position").items():
        closed = rows.status == Status.CLOSED
        last = 0 if closed[-1] else slice(-1, None)
        spent = sum(rows.buys[closed], Decimal(0)) + (sum(rows.buys[last], Decimal(0)) if last else Decimal(0))
        assert spent == venue.spent.get(lane, Decimal(0))


def stray(scene: Scene, number: int) -> Speech:
    """An execution of an order that nobody sent."""
    ts, one = scene.clocks[number], Decimal(1)
    rows = columns(
        Executions, ts=[ts], kind=[OrderKind.TRIM], order_ts=[minute_of(ts)], fill_id=["stray"], usd=[one], qty=[one],
        price=[one], fee=[Decimal(0)], done=[True],
    )  # fmt: skip
    return says("execution", (TOKEN, "sim", "15m"), rows)


def test_an_execution_of_an_order_that_is_not_open_is_a_dead_letter_and_changes_nothing_else(
    scene: Scene, at_once: Played
) -> None:
    script = {number: stray(scene, number) for number in (3, 100)}
    life = Played(scene, scene.plan(at_venue=True), script, hears=Venue().hear)
    letters = of_noun(life.rows, "dead_letter")[Lane(f"executions:{TOKEN}", "sim", Timeframe.M15)]
    assert letters.source.tolist() == [f"executions sim:{TOKEN} 15m"] * 2
    assert letters.reason.tolist() == ["order_not_open"] * 2
    assert digests(without(life.rows, "dead_letter")) == digests(without(at_once.rows, "dead_letter"))


def test_a_position_goes_on_when_a_venue_never_answers(scene: Scene, on_paper: Played) -> None:
    life = Played(scene, scene.plan(at_venue=True))
    assert not of_noun(life.rows, "fill")
    assert set(decided(life.rows)) <= set(BUYS)
    gates = [str(gate) for rows in of_noun(life.rows, "refusal").values() for gate in rows.gate]
    assert "in_flight" in gates
    assert life.promises == on_paper.promises, "decisions are complete as far as those of the paper broker"


# all of it ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(scene: Scene, on_paper: Played, mended: Played) -> Played:
    """An outage, candles, a halt of an hour and a venue that does what it likes."""
    halt, _, _ = halted(scene, on_paper.rows, hours=1)
    script = {3: stray(scene, 3), **mended.script, **halt.script}
    venue = Venue(np.random.default_rng(9))
    return Played(scene, scene.plan(at_venue=True), script, mended.silent, venue.hear)


def test_a_life_replayed_from_its_log_gives_its_rows(scene: Scene, everything: Played) -> None:
    assert {noun for noun, _ in everything.rows} >= {"bar_candle", "fill", "refusal", "position", "dead_letter"}
    for span_ms in (13 * MINUTE_MS + 1_000, 5 * SPAN_MS):
        again = scene.again(everything.log, everything.plan, span_ms)
        assert digests(by_river(everything.plan, again)) == digests(everything.rows), span_ms


def test_the_flow_gives_the_bits_of_the_river_on_a_life(scene: Scene, everything: Played) -> None:
    again = scene.again(everything.log, everything.plan, SPAN_MS)
    assert digests(by_flow(everything.plan, again)) == digests(everything.rows)
