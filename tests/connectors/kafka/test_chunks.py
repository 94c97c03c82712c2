"""Derived topics become chunks at their watermarks, and nothing is lost, doubled or out of order on the way."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.chunks import BARS, BOARD, POSTURES, TREND, ChunkConfig, ChunkReader, Kind
from connectors.kafka.inlet import Mark, Part
from connectors.kafka.records import Origin
from connectors.kafka.stops import BrokenRecordError, ForeignPartitionError, HoleError
from lotus.columns import Columns
from lotus.lane import Lane
from lotus.records import Bars
from lotus.timeframe import Timeframe
from schemas.partition import partition_of
from tests.connectors.kafka.log_rows import BEGIN_MS, record, values_of
from tests.connectors.sample_rows import sample

TOTAL = 2
MINUTE = 60_000
LANES = tuple(Lane(token, "hl", Timeframe.M1) for token in ("BTC", "ETH", "SOL", "HYPE"))
HOME = partition_of("BTC", TOTAL)
HERE = tuple(lane for lane in LANES if partition_of(lane.token, TOTAL) == HOME)
Record = tuple[str, bytes]


def bars(*starts: int, history: bool = False) -> Bars:
    rows = sample("bar", len(starts))
    assert isinstance(rows, Bars)
    columns = {name: getattr(rows, name) for name in Bars.layout()}
    columns["ts"] = np.array([BEGIN_MS + start * MINUTE for start in starts], np.int64)
    columns["history"] = np.full(len(starts), history, np.bool_)
    return Bars(**columns)


def bar(lane: Lane, *starts: int, noun: str = "bar") -> list[Record]:
    return [(noun, value) for value in values_of(noun, (lane.token, lane.venue, lane.timeframe), bars(*starts))]


def watermark(minute: int) -> Record:
    return "watermark", record("watermark", ts=BEGIN_MS + minute * MINUTE)


def part(records: Sequence[Record], *, first: int = 1, offset: int = 0, run: str = "run", at: int = HOME) -> Part:
    """Records with the headers that a relay gives them; every offset that is divisible by 5 is a control record."""
    offsets = [found for found in range(offset, 3 * len(records) + offset + 5) if found % 5][: len(records)]
    headers = [Origin(noun, run, "0/1", number, number).headers() for number, (noun, _) in enumerate(records, first)]
    return Part(at, offsets, [value for _, value in records], headers)


def reader(kind: Kind = BARS, lanes: tuple[Lane, ...] = LANES, **given: Any) -> ChunkReader:
    return ChunkReader(ChunkConfig("md.bars.v1", kind, TOTAL, "run", lanes=lanes, **given))


def told(chunks: Sequence[tuple[Lane, Any]]) -> dict[str, tuple[list[int], int]]:
    """Minutes of the rows and of the watermark, by token."""
    return {
        lane.token: (((chunk.rows.ts - BEGIN_MS) // MINUTE).tolist(), (chunk.watermark_ms - BEGIN_MS) // MINUTE)
        for lane, chunk in chunks
    }


def test_rows_come_with_their_watermark_and_lanes_without_rows_get_it_too() -> None:
    piece = reader().read([part([*bar(LANES[0], 0, 1), watermark(2)])])
    expected: dict[str, tuple[list[int], int]] = {lane.token: ([], 2) for lane in HERE} | {"BTC": ([0, 1], 2)}
    assert told(piece.bars) == expected
    assert len(expected) > 1


def test_rows_wait_for_their_watermark() -> None:
    inlet = reader()
    records = [*bar(LANES[0], 0), watermark(1), *bar(LANES[0], 1)]
    assert told(inlet.read([part(records)]).bars)["BTC"] == ([0], 1)
    assert inlet.held(HOME) == 1
    later = part([*bar(LANES[0], 2), watermark(3)], first=4, offset=10)
    assert told(inlet.read([later]).bars)["BTC"] == ([1, 2], 3)
    assert inlet.held(HOME) == 0


def test_a_restart_reads_again_what_was_held() -> None:
    inlet = reader()
    batch = part([*bar(LANES[0], 0), watermark(1), *bar(LANES[0], 1, 2)])
    inlet.read([batch])
    mark = inlet.marks()[HOME]
    assert mark.offset == batch.offsets[1] + 1
    again = reader()
    again.resume({HOME: mark})
    assert again.reached_ms(HOME) == BEGIN_MS + MINUTE
    rest = part([*bar(LANES[0], 1, 2), watermark(3)], first=3, offset=mark.offset)
    assert told(again.read([rest]).bars)["BTC"] == ([1, 2], 3)


def test_gaps_and_warm_up_stand_where_they_belong() -> None:
    records = [
        *bar(LANES[0], -2, -1, noun="bar_history"),
        *bar(LANES[0], 1, 3, noun="gap"),
        *bar(LANES[0], 0, 2, 4),
        watermark(5),
    ]
    ((_, chunk), *_) = reader(lanes=LANES[:1]).read([part(records)]).bars
    assert ((chunk.rows.ts - BEGIN_MS) // MINUTE).tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert chunk.rows.history.tolist() == [True, True, False, False, False, False, False]


def test_other_nouns_other_lanes_and_other_runs_are_passed_over() -> None:
    inlet = reader(lanes=LANES[:1])
    other = Lane("BTC", "hl", Timeframe.H1)
    inlet.read([part([*bar(LANES[0], 7), watermark(8)], run="an older run")])
    revision = [
        ("bar_revision", value) for value in values_of("bar_revision", ("BTC", "hl", "1m"), sample("bar_revision", 1))
    ]
    piece = inlet.read([part([*bar(LANES[0], 0), *revision, *bar(other, 0), watermark(1)])])
    assert told(piece.bars) == {"BTC": ([0], 1)}
    assert inlet.passed_over == 4


def test_a_partition_without_lanes_is_not_waited_for() -> None:
    inlet = reader(lanes=HERE)
    assert inlet.reached_ms(HOME) == -1
    assert inlet.reached_ms(1 - HOME) is None


@pytest.mark.parametrize(
    ("kind", "noun", "field"),
    [(TREND, "trend", "trend"), (POSTURES, "posture", "postures"), (TREND, "trend_history", "trend")],
)
def test_other_topics_fill_other_parts_of_a_slice(kind: Kind, noun: str, field: str) -> None:
    values = values_of(noun, ("BTC", "hl", "1m"), sample(noun.removesuffix("_history"), 3))
    inlet = ChunkReader(ChunkConfig("a topic", kind, TOTAL, "run", lanes=LANES[:1]))
    piece = inlet.read([part([(noun, value) for value in values] + [watermark(10**6)])])
    ((lane, chunk),) = getattr(piece, field)
    assert (lane, len(chunk)) == (LANES[0], 3)
    if kind is TREND:
        assert chunk.rows.history.tolist() == [noun == "trend_history"] * 3


def test_the_board_is_one_chunk_whatever_the_partition() -> None:
    cells = {"slot": 3, "buy": True, "since_buy_ts": -1, "since_trim_ts": -1, "since_emergency_ts": -1}
    value = record("board", "board", "", "1m", known_ts=BEGIN_MS, source_ts=BEGIN_MS - MINUTE, **cells)
    driver_bar = bar(Lane("idx:ALT", "hl", Timeframe.H1), 0)
    inlet = ChunkReader(ChunkConfig("md.drivers.v1", BOARD, 1, "run"))
    piece = inlet.read([part([*driver_bar, ("board", value), watermark(1)], at=0)])
    (chunk,) = piece.board
    assert (chunk.rows.slot.tolist(), chunk.watermark_ms) == ([3], BEGIN_MS + MINUTE)


# ---------------------------------------------------------------------------------------------- what stops the flow


@pytest.mark.parametrize(("first", "what"), [(2, "lost"), (0, "doubled")])
def test_a_log_begins_with_number_one(first: int, what: str) -> None:
    with pytest.raises(HoleError, match=what if first else "doubled"):
        reader().read([part([watermark(1)], first=first)])


@pytest.mark.parametrize(("first", "what"), [(5, "lost"), (3, "doubled"), (2, "doubled"), (9, "lost")])
def test_a_hole_and_a_step_back_in_the_numbers_stop_the_flow(first: int, what: str) -> None:
    inlet = reader()
    inlet.read([part([*bar(LANES[0], 0, 1), watermark(2)])])
    with pytest.raises(HoleError, match=f"record {first} of run run follows record 3, so records were {what}"):
        inlet.read([part([watermark(3)], first=first, offset=20)])


def test_a_start_in_the_middle_has_to_be_allowed() -> None:
    piece = reader(from_start=False).read([part([*bar(LANES[0], 0), watermark(1)], first=17)])
    assert told(piece.bars)["BTC"] == ([0], 1)
    with pytest.raises(HoleError):
        reader(from_start=False).read([part([watermark(1)], first=17), part([watermark(2)], first=19, offset=9)])


def test_a_watermark_that_goes_back_stops_the_flow() -> None:
    with pytest.raises(HoleError, match="goes back"):
        reader().read([part([watermark(2)]), part([watermark(1)], first=2, offset=9)])


def test_a_row_of_another_partition_stops_the_flow() -> None:
    stranger = next(lane for lane in LANES if partition_of(lane.token, TOTAL) != HOME)
    with pytest.raises(ForeignPartitionError, match=stranger.token):
        reader().read([part([*bar(stranger, 0), watermark(1)])])


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xc3\x01",
        values_of("bar", ("BTC", "hl", "1m"), bars(0))[0][:-1],
        record("heartbeat", ts=1, source="x"),
    ],
)
def test_a_record_that_cannot_be_read_stops_the_flow(value: bytes | None) -> None:
    broken = part([("bar", b"x"), watermark(1)])
    with pytest.raises(BrokenRecordError, match="do not go on"):
        reader().read([broken._replace(values=[value, broken.values[1]])])


def test_a_record_without_its_headers_stops_the_flow() -> None:
    bare = part([watermark(1)])
    for headers in (None, [], [("noun", b"watermark")], [*(bare.headers[0] or ()), ("noun", b"bar")]):
        with pytest.raises(BrokenRecordError):
            reader().read([bare._replace(headers=[headers])])


# ------------------------------------------------------------------------------------------------------------- cuts


def a_topic() -> list[Record]:
    random = np.random.default_rng(3)
    records: list[Record] = [*bar(HERE[0], -3, -2, noun="bar_history")]
    for minute in range(40):
        for lane in HERE:
            if random.random() < 0.7:
                records += bar(lane, minute, noun="gap" if random.random() < 0.2 else "bar")
        if random.random() < 0.6:
            records.append(watermark(minute + 1))
    return [*records, watermark(41)]


def rows_of(pieces: Sequence[Any]) -> dict[Lane, tuple[Columns, int]]:
    found: dict[Lane, list[Any]] = {}
    for piece in pieces:
        for lane, chunk in piece.bars:
            found.setdefault(lane, []).append(chunk)
    return {
        lane: (Bars.concat([chunk.rows for chunk in chunks]), chunks[-1].watermark_ms) for lane, chunks in found.items()
    }


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), min_size=1, max_size=12), restarts=st.booleans())
def test_no_cut_and_no_restart_changes_a_row(cuts: list[int], restarts: bool) -> None:
    whole = part(a_topic())
    expected = rows_of([reader().read([whole])])
    inlet, pieces, at, turn, restarted = reader(), [], 0, 0, -1
    while at < len(whole.offsets):
        size = cuts[turn % len(cuts)]
        chosen = slice(at, at + size)
        pieces.append(inlet.read([Part(HOME, whole.offsets[chosen], whole.values[chosen], whole.headers[chosen])]))
        at, turn = at + size, turn + 1
        marks = inlet.marks()
        if restarts and turn % 3 == 0 and marks and marks[HOME].offset != restarted:
            restarted = marks[HOME].offset
            inlet = reader()
            inlet.resume({HOME: Mark(marks[HOME].offset, marks[HOME].state)})
            at = next(place for place, offset in enumerate([*whole.offsets, 10**9]) if offset >= marks[HOME].offset)
    found = rows_of(pieces)
    assert found.keys() == expected.keys() == set(HERE)
    for lane in HERE:
        assert found[lane][0].ts.tolist() == expected[lane][0].ts.tolist()  # type: ignore[attr-defined]
        assert found[lane][1] == expected[lane][1]
