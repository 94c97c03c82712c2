"""Scaling in and out: scenes in, decisions with their reasons and fills out (scaling.md, replay.md 6, 8).

    scenes of a lane ------+                              +--> decisions, refusals
    executions of a venue -+--by event time--> desk ------+--> fills, positions
    an operator's commands +   (bars of an instant first) +--> episodes

- One account per (token, venue, timeframe); with `block_scope = token` one per token with all its lanes, whose rows
  are worked on by (close time, timeframe ascending, venue) once every lane's watermark has passed.
- With a paper broker intents fill on their own bar. Without one they stay in flight until executions arrive: those
  known after the close of a bar and up to the close of the next one are booked before that next bar.
- A commanded account waits for commands as it waits for executions: one read at W holds for bars that close after W.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import localcontext
from functools import lru_cache
from typing import Any

from lotus.columns import I64
from lotus.intake import Commands
from lotus.kernel import NEVER_MS, Chunk, first_fresh
from lotus.lane import Lane
from lotus.paper import CONTEXT, Execution, PaperConfig
from lotus.position.attempt import Blocks
from lotus.position.commands import CommandBox, halts_of
from lotus.position.config import BlockScope, PositionConfig
from lotus.position.desk import Board, Desk, LaneState
from lotus.position.inbox import Inbox, receive
from lotus.position.ledger import Fill
from lotus.records import DeadLetters, Decisions, Episodes, Executions, Fills, OrderKind, Positions, Refusals
from lotus.scene import Scenes

_BAR, _REPORT, _COMMAND = range(3)  # what comes first of one instant

Arrival = tuple[Lane, Chunk[Scenes] | Chunk[Executions] | Chunk[Commands]]


@dataclass(frozen=True)
class Account:
    """Positions that are worked on together.

    lanes      different ones; all of one token if blocks span timeframes
    paper      costs of the paper broker; None: a venue executes
    commanded  an operator's commands may come: bars wait for them
    """

    lanes: tuple[Lane, ...]
    config: PositionConfig = PositionConfig()
    paper: PaperConfig | None = PaperConfig()
    commanded: bool = False

    def __post_init__(self) -> None:
        """Check that the lanes can share what they share."""
        if not self.lanes or len(set(self.lanes)) < len(self.lanes):
            raise ValueError(f"an account needs at least one lane and no lane twice, got {self.lanes}")
        if self.blocks_shared and len({lane.token for lane in self.lanes}) > 1:
            raise ValueError(f"blocks of scope token span one token, got {self.lanes}")

    @property
    def traded(self) -> tuple[Lane, ...]:
        """Lanes whose orders a venue executes."""
        return self.lanes if self.paper is None else ()

    @property
    def obedient(self) -> tuple[Lane, ...]:
        """Lanes that hear an operator's commands."""
        return self.lanes if self.commanded else ()

    @property
    def blocks_shared(self) -> bool:
        """Whether all lanes stand under the same blocks."""
        return self.config.blocks.scope is BlockScope.ALL_TIMEFRAMES


@dataclass(frozen=True)
class AccountState:
    """State of an account, lanes in the order of the configuration.

    blocks      one entry for all lanes if they share them, else one per lane
    scenes      scenes that wait for another stream
    executions  reports of the venue that wait for bars
    commands    commands that wait for bars
    """

    lanes: tuple[LaneState, ...]
    blocks: tuple[Blocks, ...]
    scenes: tuple[Inbox[Scenes], ...]
    executions: tuple[Inbox[Executions], ...]
    commands: tuple[CommandBox, ...]


@dataclass(frozen=True)
class LaneOutputs:
    """What one lane wrote down; `unbooked` are the executions that no order of ours explains."""

    lane: Lane
    decisions: Decisions
    refusals: Refusals
    fills: Fills
    positions: Positions
    episodes: Episodes
    unbooked: DeadLetters


@dataclass(frozen=True)
class PositionOutputs:
    """Rows of all lanes, in the order of the configuration, and how far they are complete, ms UTC."""

    lanes: tuple[LaneOutputs, ...]
    watermark_ms: int


def step(
    config: Account, state: AccountState | None, arrivals: tuple[Arrival, ...]
) -> tuple[AccountState, PositionOutputs]:
    """Work on all bars whose inputs are complete.

    arrivals  (lane, chunk of scenes, executions or commands) in any interleaving
    raises    ValueError for an execution without a kind
    source    scaling.md 5, replay.md 6
    """
    state = state or _nothing_yet(config)
    strangers = {lane for lane, _ in arrivals} - set(config.lanes)
    assert not strangers, f"arrivals of lanes outside this account: {strangers}"
    _refuse_unheard(config, arrivals)
    scenes = [
        receive(inbox, Scenes, _addressed(lane, Scenes, arrivals), _closing(lane))
        for lane, inbox in zip(config.lanes, state.scenes, strict=True)
    ]
    executions = [
        receive(inbox, Executions, _addressed(lane, Executions, arrivals), _reporting)
        for lane, inbox in zip(config.traded, state.executions, strict=True)
    ]
    boxes = [
        box.after(_addressed(lane, Commands, arrivals))
        for lane, box in zip(config.obedient, state.commands, strict=True)
    ]
    watermarks = [received.inbox.watermark_ms for received in (*scenes, *executions)]
    watermarks += [box.watermark_ms for box in boxes]
    # a single stream has nothing to wait for: its rows come in order
    passed_ms = min(watermarks) if len(watermarks) > 1 else NEVER_MS
    bars = [received.until(passed_ms) for received in scenes]
    reports = [received.until(passed_ms) for received in executions]
    commands = [box.until(passed_ms) for box in boxes]
    if not any(len(rows) for rows, _ in (*bars, *reports, *commands)):
        following = _following(state.lanes, state.blocks, bars, reports, commands)
        return following, PositionOutputs(tuple(map(_silent, config.lanes)), _complete_ms(following))
    with localcontext(CONTEXT):
        return _worked(config, state, bars, reports, commands)


def _refuse_unheard(config: Account, arrivals: tuple[Arrival, ...]) -> None:
    """Streams that nobody here waits for would be lost."""
    kinds = {type(chunk.rows) for _, chunk in arrivals}
    assert config.traded or Executions not in kinds, "executions of a venue reached an account that trades on paper"
    assert config.commanded or Commands not in kinds, "commands reached an account that hears none"


def _nothing_yet(config: Account) -> AccountState:
    count = len(config.lanes)
    return AccountState(
        lanes=(LaneState(),) * count,
        blocks=(Blocks(),) * (1 if config.blocks_shared else count),
        scenes=(Inbox(),) * count,
        executions=(Inbox(),) * len(config.traded),
        commands=(CommandBox(),) * len(config.obedient),
    )


def _closing(lane: Lane) -> Callable[[Scenes], I64]:
    return lambda scenes: scenes.trend.ts + lane.timeframe.ms


def _reporting(executions: Executions) -> I64:
    return executions.ts


def _addressed(lane: Lane, rows: type[Any], arrivals: tuple[Arrival, ...]) -> list[Chunk[Any]]:
    return [chunk for to, chunk in arrivals if to == lane and isinstance(chunk.rows, rows)]


def _worked(
    config: Account,
    state: AccountState,
    bars: list[tuple[Scenes, Inbox[Scenes]]],
    reports: list[tuple[Executions, Inbox[Executions]]],
    commands: list[tuple[Commands, CommandBox]],
) -> tuple[AccountState, PositionOutputs]:
    boards = [Board(blocks, shared=config.blocks_shared) for blocks in state.blocks]
    tracks = []
    for place, (scenes, _) in enumerate(bars):
        board = boards[0] if config.blocks_shared else boards[place]
        desk = Desk(config.config, config.paper, state.lanes[place], board, scenes)
        reported = reports[place][0] if reports else None
        track = _Track(config.lanes[place], desk, scenes, reported, commands[place][0] if commands else None)
        tracks.append(track)
    if len(tracks) == 1 and not tracks[0].interrupted:
        tracks[0].desk.run(tracks[0].rows)
    else:
        _in_event_time(tracks)
    lanes = tuple([track.desk.lane_state() for track in tracks])
    following = _following(lanes, tuple([board.blocks for board in boards]), bars, reports, commands)
    return following, PositionOutputs(tuple([track.outputs() for track in tracks]), _complete_ms(following))


def _following(
    lanes: tuple[LaneState, ...],
    blocks: tuple[Blocks, ...],
    bars: list[tuple[Scenes, Inbox[Scenes]]],
    reports: list[tuple[Executions, Inbox[Executions]]],
    commands: list[tuple[Commands, CommandBox]],
) -> AccountState:
    return AccountState(
        lanes=lanes,
        blocks=blocks,
        scenes=tuple([inbox for _, inbox in bars]),
        executions=tuple([inbox for _, inbox in reports]),
        commands=tuple([box for _, box in commands]),
    )


def _complete_ms(state: AccountState) -> int:
    inboxes: tuple[Inbox[Any], ...] = (*state.scenes, *state.executions)
    return min([*[inbox.watermark_ms for inbox in inboxes], *[box.watermark_ms for box in state.commands]])


@lru_cache(maxsize=4096)
def _silent(lane: Lane) -> LaneOutputs:
    """Of a lane on which nothing happened."""
    return LaneOutputs(
        lane,
        Decisions.empty(),
        Refusals.empty(),
        Fills.empty(),
        Positions.empty(),
        Episodes.empty(),
        DeadLetters.empty(),
    )


class _Track:
    """One lane's desk with the times of its bars, the reports of its venue and an operator's commands."""

    def __init__(
        self, lane: Lane, desk: Desk, scenes: Scenes, reports: Executions | None, commands: Commands | None
    ) -> None:
        """Lay out what every stream has passed."""
        self.lane, self.desk, self.rows = lane, desk, len(scenes)
        self._ts = scenes.trend.ts
        self._known = scenes.trend.ts + lane.timeframe.ms
        self._reports = [] if reports is None else list(_fills_of(reports))
        self._booked = 0
        self._commands = [] if commands is None else halts_of(commands)
        self._obeyed = 0

    @property
    def interrupted(self) -> bool:
        """Whether anything comes between the bars."""
        return bool(self._reports or self._commands)

    def upcoming(self) -> tuple[int, int, int, str, str]:
        """Order of the next thing to do: time, bars, reports, commands; then finer before coarser, venue, token."""
        row = self.desk.upcoming()
        bar_ms = int(self._known[row]) if row < self.rows else NEVER_MS
        report_ms = self._reports[self._booked][0] if self._booked < len(self._reports) else NEVER_MS
        command_ms = self._commands[self._obeyed][0] if self._obeyed < len(self._commands) else NEVER_MS
        first = min((bar_ms, _BAR), (report_ms, _REPORT), (command_ms, _COMMAND))
        return (*first, self.lane.timeframe.rank, self.lane.venue, self.lane.token)

    def work(self, thing: int, ts_ms: int) -> None:
        """Do the next thing."""
        if thing == _BAR:
            self.desk.run(self.desk.upcoming() + 1)
            return
        if thing == _COMMAND:
            self.desk.command(self._commands[self._obeyed][1])
            self._obeyed += 1
            return
        fill = self._reports[self._booked][1]
        self._booked += 1
        span_ms = self.lane.timeframe.ms
        self.desk.book_of_venue(fill, ts_ms // span_ms * span_ms, ts_ms)

    def pass_by(self, ts_ms: int, *, included: bool) -> None:
        """Bars before a thing that was done elsewhere are not looked at because of it."""
        before_ms = ts_ms if included else ts_ms - 1
        self.desk.skip(min(self.rows, first_fresh(self._known, before_ms)))

    def outputs(self) -> LaneOutputs:
        """Everything the lane wrote."""
        sheets = self.desk.sheets
        return LaneOutputs(
            self.lane,
            sheets.decisions(),
            sheets.refusals(self._ts),
            sheets.fills(),
            sheets.positions(),
            sheets.episodes(),
            sheets.letters(self.lane),
        )


def _in_event_time(tracks: list[_Track]) -> None:
    while True:
        order, place = min((track.upcoming(), place) for place, track in enumerate(tracks))
        ts_ms, thing, *rank = order
        if ts_ms == NEVER_MS:
            break
        for other, track in enumerate(tracks):
            if other != place or thing != _BAR:
                mine = [track.lane.timeframe.rank, track.lane.venue, track.lane.token]
                track.pass_by(ts_ms, included=thing != _BAR or mine < rank)
        tracks[place].work(thing, ts_ms)
    for track in tracks:
        track.desk.run(track.rows)


def _fills_of(reports: Executions) -> Iterator[tuple[int, Fill]]:
    for row in range(len(reports)):
        kind = int(reports.kind[row])
        if kind not in OrderKind.__members__.values():
            raise ValueError(f"execution {reports.fill_id[row]} has no kind")
        execution = Execution(reports.usd[row], reports.qty[row], reports.price[row], reports.fee[row])
        fill = Fill(
            OrderKind(kind),
            int(reports.order_ts[row]),
            str(reports.fill_id[row]),
            execution,
            bool(reports.done[row]),
        )
        yield int(reports.ts[row]), fill


__all__ = ["Account", "AccountState", "LaneOutputs", "PositionOutputs", "step"]
