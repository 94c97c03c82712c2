"""Ticks become 1-minute bars: market-data.md 4, 5, 15 (MD-1) and 17 (tests 1, 2, 3)."""

import dataclasses
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from lotus.bar import BarConfig, BarOutputs, BarState, step
from lotus.columns import I64
from lotus.kernel import NEVER_MS, Chunk
from lotus.minute import product
from lotus.records import BarKind, Bars, Rejects, Side, Ticks
from lotus.timeframe import MINUTE_MS
from tests.conformance.cases.bar import CASE

MINUTE = 1_767_225_600_000  # 2026-01-01 00:00 UTC
CONFIG = BarConfig()
MD_1 = (  # seq, offset ms, price, size, trade id
    (1, 120, "88900.0", "0.00196", 11),
    (2, 3500, "88901.0", "0.01000", 12),
    (3, 3500, "88903.0", "0.00500", 13),
    (4, 31007, "88898.0", "0.02000", 14),
    (5, 31007, "88898.0", "0.02000", 14),
    (6, 59999, "88899.0", "0.00300", 15),
    (7, 60000, "88905.0", "0.00100", 16),
    (8, 45000, "88890.0", "0.00400", 17),
)
Row = tuple[int, bool, int, int, int, int, int]


def e8(text: str) -> int:
    return int(Fraction(text) * 10**8)


def tick(offset: int, price: str, size: str = "1", *, seq: int, trade_id: int, side: Side = Side.BUY) -> Row:
    return (MINUTE + offset, False, e8(price), e8(size), side, seq, trade_id)


def beat(offset: int) -> Row:
    return (MINUTE + offset, True, 0, 0, -1, 0, 0)


def ticks(*rows: Row) -> Chunk[Ticks]:
    names = [item.name for item in dataclasses.fields(Ticks)]
    layout = Ticks.layout()
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return Chunk(Ticks(*(np.array(c, layout[name].kind.dtype) for name, c in zip(names, columns, strict=True))), -1)


def run(*rows: Row, state: BarState | None = None) -> tuple[BarState, BarOutputs]:
    return step(CONFIG, state, ticks(*rows))


def md_1(which: int) -> Row:
    seq, offset, price, size, trade_id = MD_1[which]
    return tick(offset, price, size, seq=seq, trade_id=trade_id)


def reasons(rejects: Rejects) -> list[tuple[int, str]]:
    return list(zip(rejects.position.tolist(), rejects.reason.tolist(), strict=True))


def assert_md_1(bars: Bars) -> None:
    assert bars.ts.tolist() == [MINUTE]
    assert bars.kind.tolist() == [BarKind.REAL]
    prices = (bars.open[0], bars.high[0], bars.low[0], bars.close[0])
    assert prices == (88900.0, 88903.0, 88890.0, 88899.0)
    assert (bars.trades[0], bars.volume_base[0], bars.volume[0]) == (6, 0.04396, 3907.986)


def test_the_worked_example_md_1_comes_out_as_printed() -> None:
    state, out = run(*(md_1(i) for i in range(8)), beat(65_000))
    assert_md_1(out.bars.rows)
    assert reasons(out.rejects) == [(5, "duplicate")]
    assert out.bars.watermark_ms == MINUTE + MINUTE_MS
    _, out = run(beat(125_000), state=state)
    assert out.bars.rows.ts.tolist() == [MINUTE + MINUTE_MS]
    assert (out.bars.rows.trades[0], out.bars.rows.volume[0]) == (1, 88.905)


def test_record_8_at_70_seconds_makes_revision_1_of_md_1() -> None:
    state, out = run(*(md_1(i) for i in range(7)), beat(70_000))
    bars = out.bars.rows
    assert (bars.low[0], bars.volume[0]) == (88898.0, 3552.426)
    _, out = run(md_1(7), state=state)
    assert len(out.bars) == 0
    rows = out.revisions
    assert (rows.ts[0], rows.rev[0], rows.known_ts[0]) == (MINUTE, 1, MINUTE + 70_000)
    revised = (rows.open[0], rows.high[0], rows.low[0], rows.close[0])
    assert revised == (88900.0, 88903.0, 88890.0, 88899.0)
    assert (rows.trades[0], rows.volume_base[0], rows.volume[0]) == (6, 0.04396, 3907.986)


@pytest.mark.parametrize("first", range(8))
def test_md_1_is_the_same_in_all_40320_orders_of_arrival(first: int) -> None:
    """Every order gets a day of its own: a clock that lets all records in, the records, the clock that closes."""
    orders = np.array([(first, *order) for order in permutations([i for i in range(8) if i != first])])
    days = np.arange(len(orders))[:, None]
    seq, offset, price, size, trade_id = (list(column) for column in zip(*MD_1, strict=True))

    def column(values: list[int], per_day: int = 0, opening: int = 0, closing: int = 0) -> I64:
        records = np.array(values)[orders]
        edges = [np.full((len(orders), 1), edge) for edge in (opening, closing)]
        return np.asarray((np.hstack((edges[0], records, edges[1])) + days * per_day).ravel(), np.int64)

    batch = Ticks(
        ts=column(offset, 86_400_000, 55_000, 125_000) + MINUTE,
        heartbeat=np.tile([True, *[False] * 8, True], len(orders)),
        price_e8=column([e8(x) for x in price]),
        size_e8=column([e8(x) for x in size]),
        side=np.zeros(10 * len(orders), np.int8),
        seq=column(seq, per_day=10),
        trade_id=column(trade_id),
    )
    _, out = step(CONFIG, None, Chunk(batch, -1))
    assert len(out.bars) == 2 * len(orders)
    bars = out.bars.rows.take(np.arange(0, 2 * len(orders), 2))
    assert bars.ts.tolist() == (MINUTE + days[:, 0] * 86_400_000).tolist()
    for name in ("open", "high", "low", "close", "trades", "volume", "volume_base"):
        assert len(np.unique(getattr(bars, name))) == 1, name
    assert_md_1(bars.take(slice(0, 1)))


def test_a_snapshot_of_30_trades_already_seen_changes_nothing() -> None:
    sent = [tick(1000 * i, f"{100 + i}", seq=i, trade_id=i) for i in range(1, 41)]
    state, _ = run(beat(45_000), *sent)
    again = [tick(1000 * i, f"{100 + i}", seq=100 + i, trade_id=i) for i in range(11, 41)]
    state, out = run(*again, state=state)
    assert reasons(out.rejects) == [(100 + i, "duplicate") for i in range(11, 41)]
    _, out = run(beat(65_000), state=state)
    assert (out.bars.rows.trades[0], out.bars.rows.volume_base[0]) == (40, 40.0)


def test_a_row_read_again_is_not_even_a_duplicate() -> None:
    rows = [
        beat(0),
        tick(10, "100", seq=1, trade_id=1),
        tick(10, "100", seq=2, trade_id=1),
        tick(90_000, "1", seq=3, trade_id=9),
    ]
    state, first = run(*rows)
    assert reasons(first.rejects) == [(2, "duplicate"), (3, "future")]
    following, out = run(beat(95_000), *rows, state=state)
    assert len(out.rejects) == 0
    assert len(following.journal) == len(state.journal)


def test_the_trade_with_the_smallest_seq_stays_whatever_comes_first() -> None:
    early, late = tick(10, "100", "2", seq=1, trade_id=7), tick(10, "101", "3", seq=5, trade_id=7)
    between = tick(10, "99", seq=3, trade_id=8)
    for order in permutations((early, late, between)):
        _, out = run(beat(0), *order, beat(65_000))
        bars = out.bars.rows
        assert (bars.open[0], bars.high[0], bars.close[0], bars.volume[0], bars.trades[0]) == (100, 100, 99, 299, 2)
        assert reasons(out.rejects) == [(5, "duplicate")]


def test_a_smaller_seq_after_the_close_is_a_revision_only_if_the_bar_changes() -> None:
    state, _ = run(beat(0), tick(10, "100", seq=5, trade_id=1), tick(10, "101", seq=7, trade_id=2), beat(65_000))
    state, out = run(tick(10, "101", seq=6, trade_id=2), state=state)
    assert len(out.revisions) == 0
    _, out = run(tick(10, "101", seq=4, trade_id=2), state=state)
    assert (out.revisions.open[0], out.revisions.close[0], out.revisions.rev[0]) == (101, 100, 1)


@pytest.mark.parametrize(("after_ms", "late"), [(74_999, False), (75_000, True), (75_001, True)])
def test_a_late_tick_corrects_the_bar_until_75_seconds_after_the_minute(after_ms: int, late: bool) -> None:
    state, out = run(tick(10, "100", seq=1, trade_id=1), beat(MINUTE_MS + after_ms))
    assert len(out.bars) == 1
    _, out = run(tick(20, "90", seq=2, trade_id=2), state=state)
    assert len(out.bars) == 0
    assert reasons(out.rejects) == ([(2, "too_late")] if late else [])
    assert out.revisions.rev.tolist() == ([] if late else [1])


def test_every_late_tick_counts_the_revision_up() -> None:
    late = [tick(20 + i, "90", seq=2 + i, trade_id=2 + i) for i in range(3)]
    state, _ = run(tick(10, "100", seq=1, trade_id=1), beat(70_000))
    _, out = run(*late, state=state)
    assert out.revisions.rev.tolist() == [1, 2, 3]
    assert out.revisions.trades.tolist() == [2, 3, 4]


def test_a_late_tick_of_a_minute_without_bar_is_a_revision_not_a_bar() -> None:
    state, out = run(beat(70_000), tick(59_000, "100", seq=1, trade_id=1), tick(69_000, "101", seq=2, trade_id=2))
    assert len(out.bars) == 0
    assert (out.revisions.ts.tolist(), out.revisions.rev.tolist()) == ([MINUTE], [1])
    _, out = run(beat(125_000), state=state)
    assert out.bars.rows.ts.tolist() == [MINUTE + MINUTE_MS]


def test_a_tick_more_than_5_seconds_ahead_of_the_clock_is_refused() -> None:
    ahead = [tick(5_000, "100", seq=1, trade_id=1), tick(5_001, "100", seq=2, trade_id=2)]
    _, out = run(beat(0), *ahead)
    assert reasons(out.rejects) == [(2, "future")]
    _, out = run(*ahead, beat(0), beat(65_000))
    assert len(out.rejects) == 0
    assert out.bars.rows.trades.tolist() == [2]


def test_a_price_or_size_that_no_trade_can_have_is_refused() -> None:
    odd = [("0", "1"), ("1", "0"), ("-1", "1"), ("90000000000", "90000000000")]
    _, out = run(*(tick(i, price, size, seq=i, trade_id=i) for i, (price, size) in enumerate(odd)))
    assert out.rejects.reason.tolist() == ["not_positive"] * 3 + ["too_large"]


def test_minutes_close_in_order_and_only_once() -> None:
    rows = [tick(60_000 * m + 5, "100", seq=9 - m, trade_id=m) for m in (3, 1, 2)]
    state, out = run(*rows, beat(186_000))
    assert ((out.bars.rows.ts - MINUTE) // MINUTE_MS).tolist() == [1, 2]
    assert out.bars.watermark_ms == MINUTE + 3 * MINUTE_MS
    _, out = run(beat(186_000), beat(260_000), state=state)
    assert ((out.bars.rows.ts - MINUTE) // MINUTE_MS).tolist() == [3]


def test_the_watermark_of_the_bars_says_nothing_before_the_first_heartbeat() -> None:
    _, out = run(tick(0, "100", seq=1, trade_id=1))
    assert (out.bars.watermark_ms, out.bars.last_ms) == (-1, NEVER_MS)


def test_the_end_of_the_ticks_is_the_end_of_their_last_minute() -> None:
    chunk = dataclasses.replace(ticks(tick(500, "100", seq=1, trade_id=1)), last_ms=MINUTE + 500)
    assert step(CONFIG, None, chunk)[1].bars.last_ms == MINUTE + MINUTE_MS


def test_sums_are_exact_and_rounded_once() -> None:
    rng = np.random.default_rng(11)
    for scale in (20, 40, 46):
        prices, sizes = rng.integers(1, 2**scale, (2, 500)).tolist()
        sides = rng.integers(0, 2, 500).tolist()
        rows: list[Row] = [
            (MINUTE + i, False, price, size, side, i, i)
            for i, (price, size, side) in enumerate(zip(prices, sizes, sides, strict=True))
        ]
        _, out = run(*rows, beat(65_000))
        bars = out.bars.rows
        values = [price * size for price, size in zip(prices, sizes, strict=True)]
        assert bars.volume[0] == float(Fraction(sum(values), 10**16))
        assert bars.volume_base[0] == float(Fraction(sum(sizes), 10**8))
        bought = sum(value for value, side in zip(values, sides, strict=True) if side == Side.BUY)
        assert bars.buy_volume[0] == float(Fraction(bought, 10**16))
        assert bars.high[0] == float(Fraction(max(prices), 10**8))


def test_the_128_bit_product_equals_that_of_integers_without_bound() -> None:
    rng = np.random.default_rng(12)
    edges = [1, 2**31, 2**32 - 1, 2**32, 2**63 - 1]
    for left in [*edges, *rng.integers(1, 2**63 - 1, 50).tolist()]:
        for right in [*edges, *rng.integers(1, 2**63 - 1, 50).tolist()]:
            high, low = product(left, right)
            assert (int(high) << 64) + int(low) == left * right


def test_the_journal_holds_the_last_three_minutes_only() -> None:
    rows = [row for s in range(2000) for row in (beat(1000 * s), tick(1000 * s, "100", seq=s, trade_id=s))]
    state, out = run(*rows)
    assert len(state.journal) == 185
    assert len(state.minutes) <= 4
    assert len(out.rejects) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"grace_ms": 80_000}, "grace_ms"), ({"future_ms": -1}, "future_ms"), ({"dedupe_ms": 100_000}, "dedupe_ms")],
)
def test_a_configuration_that_cannot_hold_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BarConfig(**change)


@dataclasses.dataclass
class Read:
    """A tick as the slow rules remember it."""

    ts: int
    trade_id: int
    seq: int
    price: int
    size: int
    at: int
    fate: str = "accepted"

    @property
    def minute(self) -> int:
        return self.ts // MINUTE_MS * MINUTE_MS


def slow_bar(read: list[Read], minute: int) -> tuple[int, ...]:
    inside = [row for row in read if row.fate == "accepted" and row.minute == minute]
    inside.sort(key=lambda row: (row.ts, row.seq, row.trade_id))
    prices = [row.price for row in inside]
    value = sum(row.price * row.size for row in inside)
    return (minute, len(inside), prices[0], max(prices), min(prices), prices[-1], value) if inside else ()


def slow_bars(rows: Ticks) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[tuple[int, str]]]:
    """The rules in plain Python, every tick kept: bars, revisions (with rev, known_ts), rejects; units of 1e-8."""
    clock, forgotten, closed, revs = -1, -1, set[int](), dict[int, int]()
    read: list[Read] = []
    bars: list[tuple[int, ...]] = []
    revisions: list[tuple[int, ...]] = []
    rejects: list[tuple[int, str]] = []
    for i in range(len(rows)):
        if rows.heartbeat[i]:
            first, clock = clock < 0, max(clock, int(rows.ts[i]))
            read = [dataclasses.replace(row, at=clock) if first else row for row in read]
            for minute in sorted({row.minute for row in read} - closed):
                if minute + 65_000 <= clock and slow_bar(read, minute):
                    bars.append(slow_bar(read, minute))
                    closed.add(minute)
            forgotten = max([forgotten, *(row.seq for row in read if row.at + 185_000 <= clock)])
            read = [row for row in read if row.at + 185_000 > clock]
            continue
        row = Read(
            ts=int(rows.ts[i]),
            trade_id=int(rows.trade_id[i]),
            seq=int(rows.seq[i]),
            price=int(rows.price_e8[i]),
            size=int(rows.size_e8[i]),
            at=clock,
        )
        same = [other for other in read if (other.ts, other.trade_id) == (row.ts, row.trade_id)]
        if row.seq <= forgotten or row.seq in [other.seq for other in same]:
            continue
        twin = next((other for other in same if other.fate == "accepted"), None)
        before, sealed = slow_bar(read, row.minute), row.minute + 135_000 <= clock
        if row.price <= 0 or row.size <= 0:
            row.fate = "not_positive"
        elif twin and (sealed or twin.seq < row.seq):
            row.fate = "duplicate"
        elif twin:
            twin.fate = "duplicate"
            rejects.append((twin.seq, "duplicate"))
        elif clock >= 0 and row.ts > clock + 5_000:
            row.fate = "future"
        elif sealed:
            row.fate = "too_late"
        read.append(row)
        if row.fate != "accepted":
            rejects.append((row.seq, row.fate))
        elif row.minute + 65_000 <= clock and slow_bar(read, row.minute) != before:
            closed.add(row.minute)
            revs[row.minute] = revs.get(row.minute, 0) + 1
            revisions.append((*slow_bar(read, row.minute), revs[row.minute], clock))
    return bars, revisions, rejects


@pytest.mark.parametrize("seed", range(12))
def test_a_disorderly_stream_gives_what_the_rules_say_in_plain_python(seed: int) -> None:
    atoms = CASE.atoms(np.random.default_rng([seed, 7]))
    stream = Chunk.join(atoms)
    bars, revisions, rejects = slow_bars(stream.rows)
    _, out = step(CONFIG, None, stream)
    assert reasons(out.rejects) == rejects
    assert {reason for _, reason in rejects} == {"duplicate", "future", "too_late", "not_positive"}
    names = ("ts", "trades", "open", "high", "low", "close", "volume")
    for rows, expected in ((out.bars.rows, bars), (out.revisions, revisions)):
        assert len(rows) == len(expected)
        assert len(expected) > 4
        for k, figures in enumerate(expected):
            units = (1, 1, 10**8, 10**8, 10**8, 10**8, 10**16)
            exact = [float(Fraction(figure, unit)) for figure, unit in zip(figures, units, strict=False)]
            assert [float(getattr(rows, name)[k]) for name in names] == exact
    assert list(zip(out.revisions.rev.tolist(), out.revisions.known_ts.tolist(), strict=True)) == [
        figures[-2:] for figures in revisions
    ]
