"""Scaling in and out: scenes in, decisions with their reasons and fills out (scaling.md, replay.md 6, 8).

    scenes of a lane ------+                              +--> decisions, refusals
                           +--by event time--> desk ------+--> fills, positions
    executions of a venue -+   (bars of an instant first) +--> episodes

- One account per (token, venue, timeframe); with `block_scope = token` one per token with all its lanes, whose rows
  are worked on by (close time, timeframe ascending, venue) once every lane's watermark has passed.
- With a paper broker intents fill on their own bar. Without one they stay in flight until executions arrive: those
  known after the close of a bar and up to the close of the next one are booked before that next bar.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import localcontext
from typing import Any

from lotus.columns import I64
from lotus.kernel import NEVER_MS, Chunk, first_fresh
from lotus.lane import Lane
from lotus.paper import CONTEXT, Execution, PaperConfig
from lotus.position.attempt import Blocks
from lotus.position.config import BlockScope, PositionConfig
from lotus.position.desk import Board, Desk, LaneState
from lotus.position.inbox import Inbox, receive
from lotus.position.ledger import Fill
from lotus.records import Decisions, Episodes, Executions, Fills, OrderKind, Positions, Refusals
from lotus.scene import Scenes

Arrival = tuple[Lane, Chunk[Scenes] | Chunk[Executions]]


@dataclass(frozen=True)
class Account:
    """Positions that are worked on together.

    lanes  different ones; all of one token if blocks span timeframes
    paper  costs of the paper broker; None: a venue executes
    """

    lanes: tuple[Lane, ...]
    config: PositionConfig = PositionConfig()
    paper: PaperConfig | None = PaperConfig()

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
    def blocks_shared(self) -> bool:
        """Whether all lanes stand under the same blocks."""
        return self.config.blocks.scope is BlockScope.ALL_TIMEFRAMES


@dataclass(frozen=True)
class AccountState:
    """State of an account, lanes in the order of the configuration.

    blocks      one entry for all lanes if they share them, else one per lane
    scenes      scenes that wait for another stream
    executions  reports of the venue that wait for bars
    """

    lanes: tuple[LaneState, ...]
    blocks: tuple[Blocks, ...]
    scenes: tuple[Inbox[Scenes], ...]
    executions: tuple[Inbox[Executions], ...]


@dataclass(frozen=True)
class LaneOutputs:
    """What one lane wrote down."""

    lane: Lane
    decisions: Decisions
    refusals: Refusals
    fills: Fills
    positions: Positions
    episodes: Episodes


@dataclass(frozen=True)
class PositionOutputs:
    """Rows of all lanes, in the order of the configuration."""

    lanes: tuple[LaneOutputs, ...]


def step(
    config: Account, state: AccountState | None, arrivals: tuple[Arrival, ...]
) -> tuple[AccountState, PositionOutputs]:
    """Work on all bars whose inputs are complete.

    arrivals  (lane, chunk of scenes or executions) in any interleaving
    raises    ValueError for an execution without a kind, or of an order that is not open
    source    scaling.md 5, replay.md 6
    """
    state = state or _nothing_yet(config)
    strangers = {lane for lane, _ in arrivals} - set(config.lanes)
    assert not strangers, f"arrivals of lanes outside this account: {strangers}"
    assert config.traded or not any(isinstance(chunk.rows, Executions) for _, chunk in arrivals), (
        "executions of a venue reached an account that trades on paper"
    )
    scenes = [
        receive(inbox, Scenes, _addressed(lane, Scenes, arrivals), _closing(lane))
        for lane, inbox in zip(config.lanes, state.scenes, strict=True)
    ]
    executions = [
        receive(inbox, Executions, _addressed(lane, Executions, arrivals), _reporting)
        for lane, inbox in zip(config.traded, state.executions, strict=True)
    ]
    watermarks = [received.inbox.watermark_ms for received in (*scenes, *executions)]
    # a single stream has nothing to wait for: its rows come in order
    passed_ms = min(watermarks) if len(watermarks) > 1 else NEVER_MS
    bars = [received.until(passed_ms) for received in scenes]
    reports = [received.until(passed_ms) for received in executions]
    with localcontext(CONTEXT):
        return _worked(config, state, bars, reports)


def _nothing_yet(config: Account) -> AccountState:
    count = len(config.lanes)
    return AccountState(
        lanes=(LaneState(),) * count,
        blocks=(Blocks(),) * (1 if config.blocks_shared else count),
        scenes=(Inbox(),) * count,
        executions=(Inbox(),) * len(config.traded),
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
) -> tuple[AccountState, PositionOutputs]:
    boards = [Board(blocks, shared=config.blocks_shared) for blocks in state.blocks]
    tracks = []
    for place, (scenes, _) in enumerate(bars):
        board = boards[0] if config.blocks_shared else boards[place]
        desk = Desk(config.config, config.paper, state.lanes[place], board, scenes)
        tracks.append(_Track(config.lanes[place], desk, scenes, reports[place][0] if reports else None))
    if len(tracks) == 1 and not reports:
        tracks[0].desk.run(tracks[0].rows)
    else:
        _in_event_time(tracks)
    following = AccountState(
        lanes=tuple(track.desk.lane_state() for track in tracks),
        blocks=tuple(board.blocks for board in boards),
        scenes=tuple(inbox for _, inbox in bars),
        executions=tuple(inbox for _, inbox in reports),
    )
    return following, PositionOutputs(tuple(track.outputs() for track in tracks))


class _Track:
    """One lane's desk with the times of its bars and the reports of its venue."""

    def __init__(self, lane: Lane, desk: Desk, scenes: Scenes, reports: Executions | None) -> None:
        """Lay out what every stream has passed."""
        self.lane, self.desk, self.rows = lane, desk, len(scenes)
        self._ts = scenes.trend.ts
        self._known = scenes.trend.ts + lane.timeframe.ms
        self._reports = [] if reports is None else list(_fills_of(reports))
        self._booked = 0

    def upcoming(self) -> tuple[int, int, int, str, str]:
        """Order of the next thing to do: time, bars before reports, finer before coarser, venue, token."""
        rank = (self.lane.timeframe.rank, self.lane.venue, self.lane.token)
        row = self.desk.upcoming()
        bar_ms = int(self._known[row]) if row < self.rows else NEVER_MS
        report_ms = self._reports[self._booked][0] if self._booked < len(self._reports) else NEVER_MS
        return (bar_ms, 0, *rank) if bar_ms <= report_ms else (report_ms, 1, *rank)

    def work(self, is_report: int, ts_ms: int) -> None:
        """Do the next thing."""
        if not is_report:
            self.desk.run(self.desk.upcoming() + 1)
            return
        fill = self._reports[self._booked][1]
        self._booked += 1
        span_ms = self.lane.timeframe.ms
        self.desk.book_of_venue(fill, ts_ms // span_ms * span_ms)

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
        )


def _in_event_time(tracks: list[_Track]) -> None:
    while True:
        order, place = min((track.upcoming(), place) for place, track in enumerate(tracks))
        ts_ms, is_report, *rank = order
        if ts_ms == NEVER_MS:
            break
        for other, track in enumerate(tracks):
            if other != place or is_report:
                mine = [track.lane.timeframe.rank, track.lane.venue, track.lane.token]
                track.pass_by(ts_ms, included=bool(is_report) or mine < rank)
        tracks[place].work(is_report, ts_ms)
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
