"""What an operator's HALT stops and what it does not: entries and adds wait, trims and exits go on."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from lotus.intake import Action, Commands
from lotus.kernel import Chunk
from lotus.position.commands import IDS_KEPT
from lotus.position.kernel import Account, AccountState, Arrival, LaneOutputs, step
from lotus.records import Executions, OrderKind, State
from lotus.scene import Scenes
from tests.conformance.cases.position import commands_of
from tests.lotus.stage import DEFAULT, FREE, LANE, Stage, fills, opening, refusals, rows_of

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3
HALT, RESUME = Action.HALT, Action.RESUME


class Office:
    """A script of bars with an operator beside it; what is said is said after the last bar was known."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account((LANE,), DEFAULT, FREE, commanded=True)
        self.stage = Stage()
        self.state: AccountState | None = None
        self.said: list[tuple[int, Action, str]] = []
        self._played = 0

    def bars(self, stage: Stage) -> LaneOutputs:
        """Further bars."""
        self.stage.rows, outputs = stage.rows, None
        for place in range(self._played, len(stage.rows)):
            known = stage.known_ms(place)
            outputs = self.arrive(Chunk(stage.scenes(place, place + 1), known), Chunk(Commands.empty(), known))
        self._played = len(stage.rows)
        assert outputs is not None
        return outputs

    def bar(self, *args: Any, **named: Any) -> LaneOutputs:
        """The next bar."""
        return self.bars(self.stage.bar(*args, **named))

    def say(self, action: Action, name: str = "", after_ms: int = 1) -> None:
        """A command, read so long after the last bar was known."""
        known = self.stage.known_ms(-1)
        row = (known + after_ms, action, name or f"c{len(self.said)}")
        self.said.append(row)
        self.arrive(Chunk(Scenes.empty(), known), Chunk(commands_of([row]), known))

    def arrive(self, *chunks: Chunk[Any]) -> LaneOutputs:
        """Bars and commands come in."""
        arrivals: tuple[Arrival, ...] = tuple((LANE, chunk) for chunk in chunks)
        self.state, outputs = step(self.account, self.state, arrivals)
        return outputs.lanes[0]


def halted(stage: Stage) -> Office:
    """An operator has halted after these bars."""
    office = Office()
    office.bars(stage)
    office.say(HALT)
    return office


def in_s3() -> Stage:
    """A position in S3 with an open pool."""
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S3, 1.2)
    return stage.bar(S3, 2.0, "trim", level=2.0)


BUYS = {
    "S1_ENTRY": (opening(), (S1, 1.0, "s1_buy")),
    "S2_FLAT": (opening().bar(S2, 1.0), (S2, 1.0, "s2_buy")),
    "S2_POOL": (
        opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 2.0, "trim", level=2.0),
        (S2, 1.0, "s2_buy"),
    ),
    "DX_BUY": (in_s3(), (S3, 1.9, "dx_buy")),
    "RECLAIM": (in_s3().bar(S3, 1.0, "emergency_exit"), (S3, 1.1, "reclaimed_ema333")),
}


@pytest.mark.parametrize("kind", BUYS)
def test_no_buy_is_sent_between_halt_and_resume(kind: str) -> None:
    before, flag = BUYS[kind]
    free = Office()
    free.bars(replace_rows(before))
    assert list(free.bar(*flag).decisions.kind) == [OrderKind[kind]], "without a halt it is sent"
    office = halted(replace_rows(before))
    out = office.bar(*flag)
    assert refusals(out) == [(kind, "operator_halt")]
    assert not len(out.decisions)


def replace_rows(stage: Stage) -> Stage:
    """A script of its own."""
    copy = Stage(stage.lane)
    copy.rows = list(stage.rows)
    return copy


def test_a_refusal_says_who_halted_and_since_when() -> None:
    office = halted(opening())
    out = office.bar(S1, 1.0, "s1_buy")
    told = json.loads(out.refusals.operands[0])
    assert told == {"since_ms": office.said[0][0], "author": "operator", "command_id": "c0"}


def test_trims_go_on() -> None:
    office = halted(opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2))
    assert [kind for kind, _, _ in fills(office.bar(S2, 2.0, "trim", level=2.0))] == ["TRIM"]


@pytest.mark.parametrize(("state", "flags", "kind"), [(S3, "emergency_exit", 1), (S0, "exit_position", 0)])
def test_exits_go_on(state: State, flags: str, kind: int) -> None:
    office = halted(in_s3())
    out = office.bar(state, 1.0, flags)
    assert list(out.decisions.kind) == [kind]
    assert list(out.positions.qty)[-1] == 0


def test_resume_lets_buys_go_on_from_the_next_close() -> None:
    office = halted(opening())
    assert refusals(office.bar(S1, 1.0, "s1_buy")) == [("S1_ENTRY", "operator_halt")]
    office.say(RESUME)
    assert list(office.bar(S1, 1.0, "s1_buy").decisions.kind) == [OrderKind.S1_ENTRY]


@pytest.mark.parametrize(("offset_ms", "is_halted"), [(-1, True), (0, False), (1, False)])
def test_a_command_holds_for_bars_that_close_after_it_was_read(offset_ms: int, is_halted: bool) -> None:
    office = Office()
    office.bars(opening())
    office.stage.bar(S1, 1.0, "s1_buy")
    known = office.stage.known_ms(-1)
    row = (known + offset_ms, HALT, "a")
    office.arrive(Chunk(Scenes.empty(), known - 1), Chunk(commands_of([row]), known - 2))
    out = office.arrive(Chunk(office.stage.scenes(2), known), Chunk(Commands.empty(), known))
    assert bool(len(out.refusals)) == is_halted
    assert bool(len(out.decisions)) != is_halted


def test_a_bar_waits_until_all_commands_before_its_close_are_known() -> None:
    office = Office()
    office.bars(opening())
    office.stage.bar(S1, 1.0, "s1_buy")
    known = office.stage.known_ms(-1)
    out = office.arrive(Chunk(office.stage.scenes(2), known))
    assert not len(out.decisions)
    out = office.arrive(Chunk(commands_of([(known - 5, HALT, "a")]), known))
    assert refusals(out) == [("S1_ENTRY", "operator_halt")]


def test_a_command_that_comes_again_changes_nothing() -> None:
    office = halted(opening())
    office.say(RESUME)
    office.say(HALT, "c0", after_ms=2)
    assert list(office.bar(S1, 1.0, "s1_buy").decisions.kind) == [OrderKind.S1_ENTRY]


def test_a_second_halt_is_the_same_halt() -> None:
    office = halted(opening())
    office.say(HALT, after_ms=7)
    told = json.loads(office.bar(S1, 1.0, "s1_buy").refusals.operands[0])
    assert told["command_id"] == "c0"
    office.say(RESUME)
    assert list(office.bar(S1, 1.0, "s1_buy").decisions.kind) == [OrderKind.S1_ENTRY], "one resume ends both"


def test_commands_of_one_second_may_come_in_several_batches() -> None:
    office = Office()
    office.bars(opening())
    for action in (HALT, RESUME, HALT):
        office.say(action)
    assert refusals(office.bar(S1, 1.0, "s1_buy")) == [("S1_ENTRY", "operator_halt")]


def test_the_memory_of_commands_is_bounded() -> None:
    office = Office()
    office.bars(opening())
    for number in range(3 * IDS_KEPT):
        office.say(Action(number % 2), after_ms=number)
    assert office.state is not None
    assert len(office.state.commands[0].ids) == IDS_KEPT
    office.bar(S1, 1.0)
    assert not len(office.state.commands[0].waiting)


def test_an_account_without_an_operator_waits_for_nobody() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy")
    _, out = stage.play()
    assert list(out.decisions.kind) == [OrderKind.S1_ENTRY]


def test_commands_do_not_reach_an_account_that_hears_none() -> None:
    with pytest.raises(AssertionError, match="hears none"):
        step(Account((LANE,)), None, ((LANE, Chunk(Commands.empty(), 0)),))


def test_an_order_that_was_sent_before_the_halt_is_filled() -> None:
    office = Office(replace(Account((LANE,), DEFAULT, None), commanded=True))
    account = office.account
    stage = opening().bar(S1, 1.0, "s1_buy")
    known = stage.known_ms(-1)
    state, _ = step(
        account,
        None,
        ((LANE, Chunk(stage.scenes(), known)), (LANE, Chunk(commands_of([]), known)), (LANE, report(stage, known))),
    )
    assert state.lanes[0].record.in_flight is not None
    later = known + LANE.timeframe.ms
    halt = Chunk(commands_of([(known + 1, HALT, "a")]), later)
    fill = report(stage, later, known + 2)
    state, out = step(account, state, ((LANE, Chunk(Scenes.empty(), later)), (LANE, halt), (LANE, fill)))
    assert len(out.lanes[0].fills) == 1
    assert state.lanes[0].record.qty == 600


def report(stage: Stage, watermark_ms: int, ts: int | None = None) -> Chunk[Any]:
    """What the venue says of the order of the last bar."""
    if ts is None:
        return Chunk(Executions.empty(), watermark_ms)
    row = {
        "ts": ts, "kind": OrderKind.S1_ENTRY, "order_ts": stage.rows[-1]["ts"], "fill_id": "f",
        "usd": Decimal(600), "qty": Decimal(600), "price": Decimal(1), "fee": Decimal(0), "done": True,
    }  # fmt: skip
    return Chunk(rows_of(Executions, [row]), watermark_ms)
