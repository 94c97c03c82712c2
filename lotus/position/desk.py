"""The work on one bar of one lane, in the order of scaling.md 5.

    record of the bar -> attempt, episodes, emergency event -> plan -> send -> fills -> end of the cycle -> row

A `Desk` is the working copy of a lane during a step. Marked bars are worked on one by one (`marks.py`); between them
nothing can change, except while the desk is on the alert: something is owed, pending, or not yet written down. Then
it looks at every bar.
"""

from bisect import bisect_left
from dataclasses import dataclass

from lotus import paper
from lotus.paper import Execution, PaperConfig
from lotus.position import marks
from lotus.position.attempt import FRESH_ATTEMPT, TURNS, Attempt, Blocks, Turn, after_failure, after_success
from lotus.position.config import PositionConfig
from lotus.position.episode import BUY_MARGINS, DX_MARGINS, NO_TALLY, DxWindow, Ended, Tally
from lotus.position.gates import Halt, Moment
from lotus.position.ledger import Fill, UnbookableError, apply_fill
from lotus.position.marks import Bar, Window, marks_of
from lotus.position.plan import Intent, plan, refused_empty_trim
from lotus.position.pool import Fuel, PoolEvent, moved
from lotus.position.record import FRESH, NONE_YET, SELLS, STARTED, Order, Owed, Record
from lotus.position.sheets import Sheets, Shown, shown
from lotus.records import EpisodeKind, OrderKind, State, Status
from lotus.scene import Scenes

_S0, _S1, _S3 = int(State.S0), int(State.S1), int(State.S3)  # reading a member of an enum takes longer than an if
WATCHING = shown(FRESH, Status.WATCH, Blocks(), attempt_active=False)


@dataclass(frozen=True, slots=True)
class LaneState:
    """Everything a lane remembers between steps.

    state        engine state of the last bar that was worked on, -1: none
    alarm        emergency in S3 on the last bar
    written      what the last position row said
    unwritten    the record changed after the last bar
    fill_count   fills of a venue so far in its bar, by kind
    reports      reports of a venue so far
    halt         the operator's command that stops buys
    """

    record: Record = FRESH
    attempt: Attempt = FRESH_ATTEMPT
    tally_s1: Tally = NO_TALLY
    tally_s2: Tally = NO_TALLY
    window: DxWindow | None = None
    state: int = NONE_YET
    alarm: bool = False
    written: Shown = WATCHING
    unwritten: bool = False
    fill_bar: int = NONE_YET
    fill_count: tuple[int, ...] = (0,) * len(OrderKind)
    reports: int = 0
    halt: Halt | None = None


class Board:
    """The blocks in force; lanes of one token share a board if blocks span timeframes."""

    def __init__(self, blocks: Blocks, *, shared: bool) -> None:
        """Pin up the blocks."""
        self.blocks, self.shared = blocks, shared


class Desk:
    """One lane at work. Its inputs are never modified; `lane_state` hands back the new state."""

    def __init__(
        self, config: PositionConfig, broker: PaperConfig | None, state: LaneState, board: Board, scenes: Scenes
    ) -> None:
        """Lay out a batch."""
        self._config, self._broker, self._board = config, broker, board
        self._record, self._attempt, self._window = state.record, state.attempt, state.window
        self._tally_s1, self._tally_s2 = state.tally_s1, state.tally_s2
        self._state, self._written, self._unwritten = state.state, state.written, state.unwritten
        self._fill_bar, self._fill_count = state.fill_bar, list(state.fill_count)
        self._halt, self._reports = state.halt, state.reports
        self._columns = Window(scenes)
        self._marks = marks_of(scenes.trend, state.alarm)
        self._next_row, self._next_mark, self._next_zone = 0, 0, 0
        self._empty_trim = refused_empty_trim(config.dust_usd)
        self._confirmed = not config.reclaim.immediate
        self.sheets = Sheets()
        self._settle()

    # ------------------------------------------------------------------------------------------------------- pace

    def upcoming(self) -> int:
        """The next row that has to be looked at; the number of rows when there is none."""
        if self._alert or self._unseen_blocks():
            return self._next_row
        return self._marks.rows[self._next_mark]

    def run(self, end: int) -> None:
        """Work through all rows before `end`."""
        words, rows, zones = self._marks.words, self._marks.rows, self._marks.zones
        refused_rows, refused, refusal = self.sheets.refused_rows, self.sheets.refused, self._empty_trim
        while (row := self.upcoming()) < end:
            self._next_row = row + 1
            if rows[self._next_mark] == row:
                self._next_mark += 1
            if zones[self._next_zone] < row:
                self._count_zones(row)
            word = words[row]
            if word == marks.ONLY_TRIM and self._idle:
                refused_rows.append(row)
                refused.append(refusal)
            else:
                self._work(row, word)
        self.skip(end)

    def skip(self, end: int) -> None:
        """Never look at the rows before `end` again: they came before whatever happens next."""
        self._next_row = max(self._next_row, end)
        if self._marks.zones[self._next_zone] < end:
            self._count_zones(end)

    def lane_state(self) -> LaneState:
        """What the lane remembers."""
        return LaneState(
            record=self._record,
            attempt=self._attempt,
            tally_s1=self._tally_s1,
            tally_s2=self._tally_s2,
            window=self._window,
            state=self._state,
            alarm=self._marks.alarm,
            written=self._written,
            unwritten=self._unwritten,
            fill_bar=self._fill_bar,
            fill_count=tuple(self._fill_count),
            reports=self._reports,
            halt=self._halt,
        )

    def _unseen_blocks(self) -> bool:
        if not self._board.shared:
            return False
        written = self._written
        return (written.blocked_s1, written.blocked_s2) != self._board.blocks

    def _settle(self) -> None:
        """Whether the next bar needs a look even without a mark, and whether a trim flag can only be refused."""
        record = self._record
        self._alert = (
            self._unwritten
            or record.exiting is not None
            or (self._confirmed and record.emergency.reclaim_since != NONE_YET)
            or (record.emergency.event_on and bool(record.qty))
            or (record.cycle and (record.overdue or self._state == _S0))
        )
        self._idle = not (self._alert or record.qty or record.unresolved or self._window is not None)

    # ------------------------------------------------------------------------------------------------ order of work

    def _work(self, row: int, word: int) -> None:
        bar, live = self._columns.bar(row), not word & marks.HISTORY
        self._state = bar.state
        closed = self._window is not None and self._close_window(self._window, bar, live)
        if word & marks.TURN_OF_STATE:
            self._turn(bar, live)
        if self._marks.zones[self._next_zone] == row:
            if closed:  # the bar that closed a window opens none
                self._next_zone += 1
            else:
                self._count_zones(row + 1)
        emergency = self._record.emergency
        if bar.emergency_exit or bar.reclaimed or emergency.event_on or emergency.reclaim_since != NONE_YET:
            self._follow_emergency(bar)
        must_leave = bar.emergency_exit and self._record.qty
        if live and (word & marks.TRADES or must_leave or self._alert):
            self._trade(bar, row)
        if self._record.cycle and (bar.state == _S0 or self._record.overdue):
            self._end_cycle(bar, live)
        if self._unwritten or self._board.shared:
            self._write(bar, live)
        self._settle()

    def _change(self, record: Record) -> None:
        self._record = record
        self._unwritten = True

    # --------------------------------------------------------------------------------------- attempts and episodes

    def _turn(self, bar: Bar, live: bool) -> None:
        turn = TURNS.get((bar.prev_state, bar.state))
        if turn is None:
            return
        before, self._attempt = self._attempt, self._attempt.after(turn, bar.ts)
        if turn is Turn.START:
            self._tally_s1 = self._tally_s2 = NO_TALLY
            self._change(self._record._replace(overdue=True) if self._record.cycle else STARTED)
        elif before.active and turn in (Turn.SUCCESS, Turn.FAILURE):
            succeeded, self._unwritten = turn is Turn.SUCCESS, True
            if live:
                self._report_attempt(bar.ts, succeeded)
            if succeeded:
                self._board.blocks = after_success()
            elif self._blocks_now(bar.price):
                self._board.blocks = after_failure(self._board.blocks, self._attempt)

    def _blocks_now(self, price: float) -> bool:
        if not self._config.blocks.requires_loss:
            return True
        record = self._record
        return record.sells + record.value(price) - record.buys < paper.ZERO

    def _report_attempt(self, ts: int, succeeded: bool) -> None:
        attempt = self._attempt
        self.sheets.ended(ts, Ended(EpisodeKind.S1, attempt.started_ts, attempt.entered_s1, succeeded, self._tally_s1))
        if attempt.s2_started_ts != NONE_YET:
            self.sheets.ended(
                ts, Ended(EpisodeKind.S2, attempt.s2_started_ts, attempt.entered_s2, succeeded, self._tally_s2)
            )

    def _close_window(self, window: DxWindow, bar: Bar, live: bool) -> bool:
        failed = bar.emergency_exit or bar.state == _S0
        if not (bar.trim or failed):
            return False
        self._window = None
        if live:
            # an emergency on the bar of a trim comes first in precedence, so it does here
            succeeded = not failed
            self.sheets.ended(bar.ts, Ended(EpisodeKind.DX, window.started_ts, window.acted, succeeded, window.tally))
        return True

    def _count_zones(self, end: int) -> None:
        """Count the zone bars before `end`. They share a state: changes of state are worked on one by one."""
        zones, first = self._marks.zones, self._next_zone
        self._next_zone = last = bisect_left(zones, end, first)
        state = self._columns.state(zones[first])
        if state == _S3:
            window = self._window or DxWindow(self._columns.ts(zones[first]))
            self._window = window._replace(tally=self._counted(window.tally, first, last, DX_MARGINS))
            self._idle = False
        elif self._attempt.active:
            if state == _S1:
                self._tally_s1 = self._counted(self._tally_s1, first, last, BUY_MARGINS)
            else:
                self._tally_s2 = self._counted(self._tally_s2, first, last, BUY_MARGINS)

    def _counted(self, tally: Tally, first: int, last: int, names: tuple[str, ...]) -> Tally:
        """The tally after the zone bars number `first` to `last`; of equally good bars the earliest stays."""
        worst = self._marks.worst[first:last]
        best = max(worst)
        zone_bars = tally.zone_bars + last - first
        if best <= tally.worst:
            return tally._replace(zone_bars=zone_bars)
        row = self._marks.zones[first + worst.index(best)]
        return Tally(zone_bars, best, self._columns.ts(row), self._columns.margins(row, len(names)))

    def _follow_emergency(self, bar: Bar) -> None:
        before = emergency = self._record.emergency
        in_s3 = bar.state == _S3
        if in_s3 and bar.emergency_exit:
            if not before.event_on:
                emergency = before._replace(
                    event_on=True, event_value=None, event_executed=False, reclaim_since=NONE_YET
                )
        elif before.event_on or bar.reclaimed or not in_s3:
            since = bar.bar_index if in_s3 and bar.reclaimed else NONE_YET
            if before.event_on or since != before.reclaim_since:
                emergency = before._replace(event_on=False, reclaim_since=since)
        if emergency is not before:
            self._record = self._record._replace(emergency=emergency)

    # ------------------------------------------------------------------------------------------------------ trading

    def _trade(self, bar: Bar, row: int) -> None:
        record, config = self._record, self._config
        value = record.value(bar.price)
        if record.exiting is not None and value < config.dust_usd:
            self._change(record._replace(exiting=None))
        moment = Moment(config, self._record, self._attempt, self._board.blocks, bar, value, self._halt)
        outcome = plan(moment)
        for refusal in outcome.refusals:
            self.sheets.refused_rows.append(row)
            self.sheets.refused.append(refusal)
        if outcome.intent is not None:
            self._send(bar, outcome.intent, self._columns.sentence(row))

    def _send(self, bar: Bar, intent: Intent, sentence: str) -> None:
        record, order = self._record, intent.order
        self.sheets.decided(bar, intent, record.pool, sentence)
        if order.is_exit:
            owed = Owed(order.kind, order.state)
            emergency = record.emergency
            if order.exit_value is not None:
                emergency = emergency._replace(event_value=order.exit_value)
            record = record._replace(exiting=owed, emergency=emergency)
            if intent.cancels is not None:
                record = record._replace(cancelled=intent.cancels, cancelled_by=owed)
        self._change(record._replace(in_flight=order))
        if self._broker is not None:
            execution = _paper_execution(self._broker, order, bar.price)
            fill_id = f"{order.kind.name.lower()}:{bar.ts}:0"
            self.book(Fill(order.kind, bar.ts, fill_id, execution, done=True), bar.ts, 0)

    def command(self, halt: Halt | None) -> None:
        """An operator stops buys (a halt that runs goes on as it began), or lets them go on."""
        self._halt = halt and (self._halt or halt)

    def book_of_venue(self, fill: Fill, ts: int, known_ms: int) -> None:
        """Apply a report of a venue, known in the bar that opened at `ts`, or write down why not."""
        number, self._reports = self._reports, self._reports + 1
        if ts != self._fill_bar:
            self._fill_bar, self._fill_count = ts, [0] * len(OrderKind)
        try:
            if self.book(fill, ts, self._fill_count[fill.kind]):
                self._fill_count[fill.kind] += 1
        except UnbookableError as error:
            self.sheets.unbooked(number, error.reason, fill, known_ms)

    def book(self, fill: Fill, ts: int, sequence: int) -> bool:
        """Apply a fill: the ledger, then what counts as entered. Returns whether a row was written."""
        booked = apply_fill(self._config, self._record, fill)
        order, execution = booked.order, fill.execution
        if order is None:
            return False
        self._change(booked.record)
        if execution.qty > paper.ZERO:
            self.sheets.filled(ts, order.kind, sequence, fill.fill_id, execution, order.state)
            self._enter(order, execution)
        self._settle()
        return execution.qty > paper.ZERO

    def _enter(self, order: Order, execution: Execution) -> None:
        if order.kind is OrderKind.DX_BUY and self._window is not None:
            self._window = self._window._replace(acted=True)
        if order.attempt_ts != self._attempt.started_ts or order.kind in SELLS:
            return
        attempt = self._attempt.entered(order.kind)
        if attempt is not self._attempt:
            self._attempt = attempt
            if attempt.failed and self._blocks_now(float(execution.price)):
                # the attempt failed before its fill arrived: it does count as entered (scaling.md 12)
                self._board.blocks = after_failure(self._board.blocks, attempt)

    # ------------------------------------------------------------------------------------------- end of the cycle

    def _end_cycle(self, bar: Bar, live: bool) -> None:
        record = self._record
        if record.unresolved or record.value(bar.price) >= self._config.dust_usd:
            return
        pool, locked = moved(record.pool, PoolEvent.CLOSE, Fuel())
        frozen = record._replace(pool=pool, locked=record.locked + locked)
        if live:
            closed = shown(frozen, Status.CLOSED, self._board.blocks, attempt_active=self._attempt.active)
            self.sheets.positioned(bar.ts, closed)
        if record.overdue:
            # the attempt that has begun meanwhile goes on in a cycle of its own, from the next bar on
            self._record = STARTED
        else:
            self._record, self._attempt = FRESH, FRESH_ATTEMPT
        self._written, self._unwritten = self._shown(flat=True), False

    def _write(self, bar: Bar, live: bool) -> None:
        if not (self._unwritten or self._unseen_blocks()):
            return
        flat = self._record.value(bar.price) < self._config.dust_usd
        now = self._shown(flat=flat)
        if live and now != self._written:
            self.sheets.positioned(bar.ts, now)
        self._written, self._unwritten = now, False

    def _shown(self, *, flat: bool) -> Shown:
        record = self._record
        return shown(record, record.status(flat=flat), self._board.blocks, attempt_active=self._attempt.active)


def _paper_execution(broker: PaperConfig, order: Order, close: float) -> Execution:
    if order.usd is not None:
        return paper.buy(broker, order.usd, close)
    assert order.qty is not None, "an order buys or sells"
    return paper.sell(broker, order.qty, close)
