"""Columns and Avro bodies: what goes in comes out, byte for byte as fastavro writes it, and nothing else gets in."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.avro import fields
from connectors.avro.codec import LONGEST_BODY_BYTES, Decoded, codec_of
from connectors.cells import RowRefusedError
from connectors.messages import MESSAGES
from connectors.nouns import NEVER_WRITTEN
from lotus.columns import ABSENT, Column, Columns, Kind
from lotus.intake import Trades, Watermarks
from tests.connectors.avro.plain_codec import plain_bodies, plain_rows, read, stored, written
from tests.connectors.sample_rows import sample

LANE = ("BTC", "hyperliquid", "1h")


def changed(rows: Columns, **cells: Any) -> Columns:
    return type(rows)(*(cells.get(name, getattr(rows, name)) for name in rows.layout()))


def objects(*values: Any) -> Any:
    cells = np.empty(len(values), dtype=np.object_)
    cells[:] = values
    return cells


def faults(noun: str, body: bytes) -> list[str]:
    """Why a body is refused; it stands between two good ones, which have to come through."""
    good = codec_of(noun).encode(LANE, sample(noun, 2))
    decoded = codec_of(noun).decode([good[0], body, good[1]])
    assert decoded.index.tolist() == ([0, 2] if decoded.faults else [0, 1, 2])
    assert all(number == 1 for number, _ in decoded.faults)
    return [reason for _, reason in decoded.faults]


def assert_same(noun: str, decoded: Decoded, rows: Columns) -> None:
    """Same bits in every column; what is absent is absent."""
    for name in MESSAGES[noun].layout():
        ours, theirs = getattr(decoded.rows, name), getattr(rows, name)
        assert ours.dtype == theirs.dtype, name
        assert repr(ours.tolist()) == repr(theirs.tolist()), name


@pytest.mark.parametrize("noun", MESSAGES)
def test_every_row_of_every_message_comes_back_and_its_bytes_are_those_of_fastavro(noun: str) -> None:
    rows = sample(noun, 200)
    codec = codec_of(noun)
    bodies = codec.encode(LANE, rows)
    assert list(bodies) == plain_bodies(codec.message, codec.contract, LANE, rows)
    decoded = codec.decode(list(bodies))
    assert decoded.faults == []
    assert decoded.index.tolist() == list(range(200))
    assert_same(noun, decoded, rows)


@pytest.mark.parametrize("noun", MESSAGES)
def test_the_key_of_a_body_is_the_lane_and_what_it_leaves_out_is_empty(noun: str) -> None:
    codec = codec_of(noun)
    key = codec.message.key
    expected = tuple(
        text if name in key else "" for name, text in zip(("token", "venue", "timeframe"), LANE, strict=True)
    )
    decoded = codec.decode(list(codec.encode(LANE, sample(noun, 3))))
    assert decoded.lanes == [expected]
    assert decoded.lane.tolist() == [0, 0, 0]


def test_lanes_are_numbered_as_they_come_and_a_refused_body_numbers_none() -> None:
    codec = codec_of("trend")
    tokens = ["HYPE", "BTC", "Größe", "HYPE", "", "BTC"]
    bodies = [codec.encode((token, "venue", "1m"), sample("trend", 1))[0] for token in tokens]
    decoded = codec.decode([codec.encode(("gone", "v", "1m"), sample("trend", 1))[0][:-1], *bodies])
    assert [decoded.lanes[number][0] for number in decoded.lane] == tokens
    assert decoded.lanes == [(token, "venue", "1m") for token in ("HYPE", "BTC", "Größe", "")]


@pytest.mark.parametrize("noun", ["bar", "bar_history", "trend", "trend_history"])
def test_rows_of_the_warm_up_are_marked_by_their_noun(noun: str) -> None:
    codec = codec_of(noun)
    rows = codec.decode(list(codec.encode(LANE, sample(noun, 2)))).rows
    assert getattr(rows, NEVER_WRITTEN).tolist() == [noun.endswith("_history")] * 2


def test_no_bodies_make_no_rows_and_no_rows_no_bodies() -> None:
    for noun in MESSAGES:
        decoded = codec_of(noun).decode([])
        assert (len(decoded.rows), decoded.lanes, decoded.faults, len(decoded.lane)) == (0, [], [], 0)
        assert len(codec_of(noun).encode(LANE, MESSAGES[noun].rows.empty())) == 0


def cells(column: Column, count: int) -> st.SearchStrategy[Any]:
    """Any cells that a column may hold."""
    one: st.SearchStrategy[Any]
    absent: Any = ABSENT
    if column.enum is not None:
        one = st.integers(0, len(column.enum) - 1)
    elif column.kind in (Kind.TIME, Kind.INT):
        one = st.integers(-(2**63), 2**63 - 1)
    elif column.kind is Kind.FLOAT:
        one, absent = st.floats(allow_nan=False, allow_infinity=False), np.nan
    elif column.kind is Kind.FLAG:
        one = st.booleans()
    elif column.kind is Kind.MONEY:
        one, absent = st.decimals(-(10**20), 10**20, allow_nan=False), None
    else:
        one, absent = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), None
    one = one | st.just(absent) if column.nullable else one

    def array(values: list[Any]) -> Any:
        made = np.empty(count, dtype=column.kind.dtype)
        made[:] = values
        return made

    return st.lists(one, min_size=count, max_size=count).map(array)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), noun=st.sampled_from(sorted(MESSAGES)), lane=st.tuples(*[st.text("aB9ß🪷:", max_size=90)] * 3))
def test_any_row_of_any_message_is_what_fastavro_says_it_is(data: st.DataObject, noun: str, lane: Any) -> None:
    codec = codec_of(noun)
    kind = MESSAGES[noun].rows
    rows = kind(*[data.draw(cells(column, 3), name) for name, column in kind.layout().items()])
    bodies = list(codec.encode(lane, rows))
    schema = stored(codec.contract.schema)
    assert bodies == plain_bodies(codec.message, codec.contract, lane, rows)
    assert repr([read(schema, body) for body in bodies]) == repr(plain_rows(codec.message, lane, rows))
    decoded = codec.decode(bodies)
    assert decoded.faults == []
    assert_same(noun, decoded, rows)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), noun=st.sampled_from(sorted(MESSAGES)), seed=st.integers(0, 99))
def test_a_body_that_is_accepted_is_written_again_with_the_same_bytes(
    data: st.DataObject, noun: str, seed: int
) -> None:
    codec = codec_of(noun)
    body = bytearray(codec.encode(LANE, sample(noun, 1, seed))[0])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not body:
            break
    decoded = codec.decode([bytes(body)])
    assert len(decoded.rows) + len(decoded.faults) == 1
    if not decoded.faults:
        assert codec.encode(decoded.lanes[0], decoded.rows)[0] == bytes(body)
        schema = stored(codec.contract.schema)
        assert repr(read(schema, bytes(body))) == repr(plain_rows(codec.message, decoded.lanes[0], decoded.rows)[0])


LONG = 2**63 - 1
WATERMARKS = [  # one long: what its bytes mean
    (b"\0", 0),
    (b"\1", -1),
    (b"\2", 1),
    (b"\x80\1", 64),
    (b"\xfe" + b"\xff" * 8 + b"\1", LONG),
    (b"\xff" * 9 + b"\1", -LONG - 1),
    (b"", "ts: the body ends inside of it"),
    (b"\x80", "ts: the body ends inside of it"),
    (b"\x80\0", "ts: a number with spare bytes"),
    (b"\xff" * 9 + b"\2", "ts: a number of more than 64 bits"),
    (b"\xff" * 9 + b"\x81\0", "ts: a number of more than 64 bits"),
    (b"\xff" * 60_000, "ts: a number of more than 64 bits"),
    (b"\0\0", "ts: bytes are left over behind it"),
]


@pytest.mark.parametrize(("body", "meaning"), WATERMARKS)
def test_a_number_has_one_way_to_be_written(body: bytes, meaning: Any) -> None:
    decoded = codec_of("watermark").decode([body])
    if isinstance(meaning, str):
        assert decoded.faults == [(0, meaning)]
    else:
        assert decoded.rows.ts.tolist() == [meaning]  # type: ignore[attr-defined]  # Watermarks
        assert codec_of("watermark").encode(LANE, Watermarks(np.array([meaning])))[0] == body


def tick_body(side: bytes) -> bytes:
    """A tick with other bytes where its side stands."""
    return b"\6BTC\2v" + b"\2\4\6" + side + b"\x08\x0a"


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (b"\0", None),
        (b"\2\6buy", None),
        (b"\2\x08sell", None),
        (b"\1", "side: neither null nor a value"),
        (b"\4", "side: neither null nor a value"),
        (b"\2\6BUY", "side: no name that this field may hold"),
        (b"\2\0", "side: no name that this field may hold"),
        (b"\2\x0ahodl!", "side: no name that this field may hold"),
        (b"\2\5buy", "side: a text of negative length"),
        (b"\2\x86\0buy", "side: a number with spare bytes"),
        (b"\2\xfe\xff\xff\xff\x0fbuy", "side: the body ends inside of it"),
    ],
)
def test_a_name_is_one_that_the_field_may_hold(side: bytes, reason: str | None) -> None:
    assert faults("tick", tick_body(side)) == ([] if reason is None else [reason])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", None),
        ("Größe 東京 🪷 \U0010ffff".encode(), None),
        (b"\x7f \xdf\xbf \xef\xbf\xbf \xee\x80\x80 \xed\x9f\xbf \xf0\x90\x80\x80", None),
        (b"a\0", "source: a text with a NUL character"),
        (b"\x80", "source: a text that is not UTF-8"),
        (b"\xc0\xaf", "source: a text that is not UTF-8"),
        (b"\xc3", "source: a text that is not UTF-8"),
        (b"\xe0\x80\xaf", "source: a text that is not UTF-8"),
        (b"\xed\xa0\x80", "source: a text that is not UTF-8"),
        (b"\xf0\x80\x80\x80", "source: a text that is not UTF-8"),
        (b"\xf4\x90\x80\x80", "source: a text that is not UTF-8"),
        (b"\xf5\x80\x80\x80", "source: a text that is not UTF-8"),
        (b"\xe6\x9d", "source: a text that is not UTF-8"),
    ],
)
def test_a_text_is_unicode_without_nul(text: bytes, reason: str | None) -> None:
    body = b"\2" + bytes([2 * len(text)]) + text
    assert faults("heartbeat", body) == ([] if reason is None else [reason])
    if reason is not None and b"\0" not in text:
        with pytest.raises(UnicodeDecodeError):
            text.decode()


@settings(max_examples=500, deadline=None)
@given(text=st.binary(max_size=12))
def test_what_is_unicode_is_what_python_says(text: bytes) -> None:
    try:
        text.decode()
        good = b"\0" not in text
    except UnicodeDecodeError:
        good = False
    assert (faults("heartbeat", b"\2" + bytes([2 * len(text)]) + text) == []) == good


def money_body(noun: str, **cells: str | None) -> bytes:
    codec = codec_of(noun)
    record = plain_rows(codec.message, LANE, sample(noun, 1))[0]
    schema = stored(codec.contract.schema)
    return written(schema, {**record, **cells})


@pytest.mark.parametrize("text", ["0", "-0", "1.50", "-1E-8", "0.000001", "1E+7", "1E-12", "9" * 100, "1E+100", "0E-8"])
def test_money_comes_back_with_all_its_digits(text: str) -> None:
    decoded = codec_of("fill").decode([money_body("fill", usd=text)])
    assert decoded.rows.usd[0].as_tuple() == Decimal(text).as_tuple()  # type: ignore[attr-defined]  # Fills


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " 1",
            "0.0000001",
            "1_0",
            "+1",
            "01",
            "1e5",
            ".5",
            "5.",
            "\uff11",
            "NaN",
            "sNaN",
            "Infinity",
            "0x1",
            "buy",
        ),
        *("1E+101", "1E-101", "9" * 101, "1E+999999999", "1E+99999999999999999999999", "9" * 30_000),
    ],
)
def test_money_is_a_finite_decimal_in_its_one_way_of_writing(text: str) -> None:
    assert faults("fill", money_body("fill", usd=text, fee=text)) == [
        "usd: not the text of a decimal of at most 100 digits"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_measured_is_finite(value: float) -> None:
    body = codec_of("sample").encode(LANE, changed(sample("sample", 1), level=np.array([7.0])))[0]
    hostile = body.replace(np.array([7.0]).tobytes(), np.array([value]).tobytes())
    assert hostile != body
    assert faults("sample", hostile) == ["level: not a finite number"]


def test_a_flag_is_true_or_false() -> None:
    body = codec_of("execution").encode(LANE, sample("execution", 1))[0]
    assert faults("execution", body[:-1] + b"\2") == ["done: neither true nor false"]
    assert faults("execution", body[:-1]) == ["done: the body ends inside of it"]


def test_what_stands_for_absent_is_no_value_where_a_value_may_be_absent() -> None:
    rows = changed(sample("board", 1), since_emergency_ts=np.array([5]))
    body = codec_of("board").encode(LANE, rows)[0]
    assert body.endswith(b"\2\x0a")
    assert faults("board", body[:-1] + b"\1") == ["since_emergency_ts: -1, which stands for absent, as a value"]


def test_a_body_has_at_most_64_kib() -> None:
    codec = codec_of("heartbeat")
    room = LONGEST_BODY_BYTES - 6 - 3
    rows = sample("heartbeat", 1)
    longest = codec.encode(LANE, changed(rows, source=objects("x" * room)))[0]
    assert len(longest) == LONGEST_BODY_BYTES
    assert faults("heartbeat", longest) == []
    assert faults("heartbeat", longest + b"x") == [f"a body of more than {LONGEST_BODY_BYTES} bytes"]
    with pytest.raises(RowRefusedError, match=r"heartbeat has more than 65536 bytes in one row \(row 0, ts 1700"):
        codec.encode(LANE, changed(rows, source=objects("x" * (room + 1))))


@pytest.mark.parametrize(
    ("noun", "change", "told"),
    [
        ("bar", {"coverage": np.array([1.0, np.nan])}, r"bar.coverage = .*nan.* never absent \(row 1"),
        ("bar", {"coverage": np.array([1.0, np.inf])}, "bar.coverage = .*inf.* is infinite"),
        ("bar", {"close": np.array([-np.inf, 1.0])}, "bar.close = .* is infinite"),
        ("bar", {"kind": np.array([0, 9], dtype=np.int8)}, "bar.kind = .*9.* no code"),
        ("bar", {"kind": np.array([0, -2], dtype=np.int8)}, "bar.kind = .*-2.* no code"),
        ("bar", {"kind": np.array([0, ABSENT], dtype=np.int8)}, "bar.kind .* never absent"),
        ("fill", {"usd": objects(Decimal(1), Decimal("NaN"))}, "fill.usd = NaN is not a number of at most 100 digits"),
        ("fill", {"usd": objects(Decimal(1), Decimal("1E+101"))}, r"fill.usd = 1E\+101 is not a number"),
        ("fill", {"usd": objects(Decimal(1), None)}, r"fill.usd = None is absent, .* \(row 1"),
        ("fill", {"fill_id": objects("a\0b", "")}, "fill.fill_id holds a NUL"),
        ("fill", {"fill_id": objects("\ud800", "")}, "fill.fill_id holds half a character"),
        ("fill", {"fill_id": objects("", None)}, "fill.fill_id = None is absent"),
    ],
)
def test_what_no_message_may_hold_is_refused_by_name(noun: str, change: dict[str, Any], told: str) -> None:
    with pytest.raises(RowRefusedError, match=told):
        codec_of(noun).encode(LANE, changed(sample(noun, 2), **change))


def test_a_key_is_a_text_without_nul() -> None:
    with pytest.raises(RowRefusedError, match=r"tick.token holds a NUL"):
        codec_of("tick").encode(("B\0", "v", ""), Trades.empty())


def test_every_reason_of_a_refusal_has_words() -> None:
    named = {value for name, value in vars(fields).items() if name.isupper() and isinstance(value, int)}
    assert set(fields.FAULTS) == set(range(1, 13)) <= named
