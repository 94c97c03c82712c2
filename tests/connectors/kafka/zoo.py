"""Bad and odd messages of the input log, each with its one outcome (docs/bad-input.md, "Messages").

accepted   it counts, or is known to change nothing
refused    the reader refuses it: a dead letter of its partition
rejected   the kernel refuses it: a dead letter of its series
"""

import json
import struct
from decimal import Decimal
from typing import Any, NamedTuple

from connectors.avro.contract import contracts
from lotus.intake import Action, Link
from lotus.lane import Lane
from lotus.records import OrderKind
from lotus.timeframe import Timeframe
from tests.connectors.kafka.log_rows import BEGIN_MS, FRAMING, SOURCE, beat, execution, framed, link, record, tick

NOW_MS = BEGIN_MS + 190_000  # what the clock says when the animal comes
LANE = Lane("BTC", "hl", Timeframe.M1)
EARLIER = {"seq": 500, "trade_id": 7, "ts": NOW_MS - 1_000}  # a tick that was accepted before
LONGEST = 2**63 - 1
LEAST = -(2**63)
WIDE = 2**62
ACCEPTED = "accepted"


class Animal(NamedTuple):
    """One message."""

    name: str
    value: bytes | None
    outcome: str


def refused(name: str, value: bytes | None, reason: str) -> Animal:
    return Animal(name, value, f"refused: {reason}")


def rejected(name: str, value: bytes, reason: str) -> Animal:
    return Animal(name, value, f"rejected: {reason}")


def accepted(name: str, value: bytes) -> Animal:
    return Animal(name, value, ACCEPTED)


def long(number: int) -> bytes:
    """A number as Avro has it."""
    word = (number << 1) ^ (number >> 63)
    out = bytearray()
    while word > 0x7F:
        out.append(word & 0x7F | 0x80)
        word >>= 7
    return bytes([*out, word])


def text(content: bytes) -> bytes:
    return long(len(content)) + content


def body(**parts: bytes) -> bytes:
    """The body of a good tick with some fields replaced by bytes."""
    fields = {
        "token": text(b"BTC"), "venue": text(b"hl"), "ts": long(NOW_MS), "price_e8": long(10**8),
        "size_e8": long(10**8), "side": long(1) + text(b"buy"), "seq": long(900), "trade_id": long(900),
    }  # fmt: skip
    return b"".join({**fields, **parts}.values())


def raw(**parts: bytes) -> bytes:
    return framed("tick", body(**parts))


def trade(**cells: Any) -> bytes:
    return tick(cells.pop("token", "BTC"), cells.pop("ts", NOW_MS), **{"seq": 900, "trade_id": 900, **cells})


def named(token: str = "BTC", venue: str = "hl") -> bytes:
    return raw(token=text(token.encode()), venue=text(venue.encode()))


def level(ts: int, value: float, asset: str = "dom:BTC") -> bytes:
    whole = framed("sample", text(asset.encode()) + long(ts))
    return whole + struct.pack("<d", value) + text(b"zoo")


def report(ts: int = NOW_MS, timeframe: str = "1m", **money: str) -> bytes:
    texts = {"usd": "10", "qty": "1", "price": "10", "fee": "0", **money}
    head = text(b"BTC") + text(b"hl") + text(timeframe.encode()) + long(ts) + text(b"s1_entry") + long(ts) + text(b"f")
    return framed("execution", head + b"".join(text(one.encode()) for one in texts.values()) + b"\x01")


def candle(token: str = "BTC", ts: int = BEGIN_MS, **cells: int) -> bytes:
    given: dict[str, Any] = {"open_e8": 5, "high_e8": 9, "low_e8": 3, "close_e8": 5, "size_e8": 1, "trades": 1} | cells
    return record("candle", token, "hl", ts=ts, **given)


def command(token: str = "BTC") -> bytes:
    return record("command", token, ts=NOW_MS, action=Action.HALT, command_id="c1", author="ann")


PREFIX = FRAMING.prefix(contracts()["tick"])
DOUBLES = {name: struct.pack("<d", value) for name, value in (("NaN", float("nan")), ("infinity", float("inf")))}

BYTES = (
    refused("tombstone", None, "tombstone"),
    refused("nothing", b"", "schema_unknown"),
    refused("one byte", b"\xc3", "schema_unknown"),
    refused("half a fingerprint", PREFIX[:5], "schema_unknown"),
    refused("unknown fingerprint", b"\xc3\x01" + b"\xff" * 8 + body(), "schema_unknown"),
    refused("fingerprint turned around", b"\xc3\x01" + PREFIX[:1:-1] + body(), "schema_unknown"),
    refused("registry framing", b"\0\0\0\0\x01" + body(), "schema_unknown"),
    refused("JSON", json.dumps({"token": "BTC", "ts": NOW_MS}).encode(), "schema_unknown"),
    refused("gzip", b"\x1f\x8b\x08" + bytes(40), "schema_unknown"),
    refused("zeros", bytes(64), "schema_unknown"),
    refused("a bare body", body(), "schema_unknown"),
    refused("a watermark", record("watermark", ts=NOW_MS), "noun_unknown"),
    refused("a dead letter", record("dead_letter", "a", "b", "1m", row="{}"), "noun_unknown"),
    refused("no body", PREFIX, "undecodable"),
    refused("cut by a byte", raw()[:-1], "undecodable"),
    refused("a byte left over", raw() + b"\0", "undecodable"),
    refused("twice in one", raw() + body(), "undecodable"),
    refused("a token that claims 2^40 bytes", raw(token=long(2**40) + b"BTC"), "undecodable"),
    refused("a token of negative length", raw(token=long(-3) + b"BTC"), "undecodable"),
    refused("a token that is no UTF-8", raw(token=text(b"\xff\xfe")), "undecodable"),
    refused("a token in overlong UTF-8", raw(token=text(b"\xc1\x82TC")), "undecodable"),
    refused("half a character", raw(token=text(b"\xed\xa0\x80")), "undecodable"),
    refused("a token with NUL", raw(token=text(b"BT\0C")), "undecodable"),
    refused("a number of 11 bytes", raw(price_e8=b"\xff" * 10 + b"\x01"), "undecodable"),
    refused("a number with spare bytes", raw(price_e8=b"\x80\x00"), "undecodable"),
    refused("a number of 65 bits", raw(price_e8=b"\xff" * 9 + b"\x02"), "undecodable"),
    refused("side of no branch", raw(side=long(2)), "undecodable"),
    refused("side of a negative branch", raw(side=long(-1)), "undecodable"),
    refused("side 'buyer'", raw(side=long(1) + text(b"buyer")), "undecodable"),
    refused("side 'BUY'", raw(side=long(1) + text(b"BUY")), "undecodable"),
    refused("NaN as a double", raw(price_e8=DOUBLES["NaN"]), "undecodable"),
    refused("infinity as a double", raw(price_e8=DOUBLES["infinity"]), "undecodable"),
    refused("-0.0 as a double", raw(price_e8=struct.pack("<d", -0.0)), "undecodable"),
    refused("price as text", raw(price_e8=text(b"88901.5")), "undecodable"),
    refused("100 KB", raw(token=text(b"B" * 100_000)), "undecodable"),
)
NAMES = (
    refused("unknown symbol", named("LUNA"), "series_unknown"),
    refused("no symbol", named(""), "series_unknown"),
    refused("lower case", named("btc"), "series_unknown"),
    refused("a blank behind", named("BTC "), "series_unknown"),
    refused("a letter that looks alike", named("ВTC"), "series_unknown"),
    refused("an emoji", named("🪷"), "series_unknown"),
    refused("a symbol of 10 KB", named("B" * 10_000), "series_unknown"),
    refused("a program", named("'; drop table tick; --"), "series_unknown"),
    refused("unknown venue", named(venue="mtgox"), "series_unknown"),
    refused("no venue", named(venue=""), "series_unknown"),
)
VALUES = (
    rejected("price 0", trade(price=0), "not_positive"),
    rejected("price -1", trade(price=-1), "not_positive"),
    rejected("the least price", trade(price=LEAST), "not_positive"),
    rejected("size 0", trade(size=0), "not_positive"),
    rejected("size -1", trade(size=-1), "not_positive"),
    rejected("the least size", trade(size=LEAST), "not_positive"),
    rejected("price times size of 126 bits", trade(price=LONGEST, size=LONGEST), "too_large"),
    accepted("the largest price", trade(price=LONGEST, size=1)),
    accepted("the smallest price", trade(price=1, size=1)),
    accepted("the largest size", trade(price=1, size=WIDE)),
    accepted("no side", raw(side=long(0))),
    accepted("trade id 0", trade(trade_id=0)),
    accepted("a negative trade id", trade(trade_id=LEAST)),
    accepted("seq 0", trade(seq=0)),
    accepted("the largest seq", trade(seq=LONGEST)),
    refused("seq -1", trade(seq=-1), "seq_negative"),
    refused("the least seq", trade(seq=LEAST), "seq_negative"),
)
TIMES = (
    refused("time 0", trade(ts=0), "time_out_of_range"),
    refused("time -1", trade(ts=-1), "time_out_of_range"),
    refused("the least time", trade(ts=LEAST), "time_out_of_range"),
    refused("the largest time", trade(ts=LONGEST), "time_out_of_range"),
    refused("seconds", trade(ts=NOW_MS // 1000), "time_out_of_range"),
    refused("microseconds", trade(ts=NOW_MS * 1000), "time_out_of_range"),
    refused("nanoseconds", trade(ts=NOW_MS * 1_000_000), "time_out_of_range"),
    refused("before any coin", trade(ts=1_230_767_999_999), "time_out_of_range"),
    refused("after 2100", trade(ts=4_102_444_800_001), "time_out_of_range"),
    rejected("tomorrow", trade(ts=NOW_MS + 86_400_000), "future"),
    rejected("5.001 s ahead", trade(ts=NOW_MS + 5_001), "future"),
    accepted("5 s ahead", trade(ts=NOW_MS + 5_000)),
    accepted("late, before the minute is sealed", trade(ts=BEGIN_MS + 119_999)),
    accepted("late, as late as may be", trade(ts=BEGIN_MS + 66_000)),
    rejected("a minute that is sealed", trade(ts=BEGIN_MS + 59_999), "too_late"),
    rejected("yesterday", trade(ts=NOW_MS - 86_400_000), "too_late"),
)
COPIES = (
    rejected("twin with a later seq", trade(**{**EARLIER, "seq": 501}), "duplicate"),
    rejected("twin with an earlier seq: the one before goes", trade(**{**EARLIER, "seq": 499}), "duplicate"),
    rejected("twin with another price", trade(**{**EARLIER, "seq": 501, "price": 5}), "duplicate"),
    accepted("the very row again", trade(**EARLIER)),
    accepted("its trade id at another time", trade(**{**EARLIER, "ts": NOW_MS - 999, "seq": 501})),
    accepted("its seq again", trade(**{**EARLIER, "trade_id": 8})),
)
CLOCKS = (
    refused("heartbeat of a stranger", beat(NOW_MS + 1, "stranger"), "source_unknown"),
    refused("heartbeat of nobody", beat(NOW_MS + 1, ""), "source_unknown"),
    refused("heartbeat at 0", beat(0), "time_out_of_range"),
    refused("heartbeat after 2100", beat(LONGEST), "time_out_of_range"),
    refused("heartbeat in seconds", beat(NOW_MS // 1000), "time_out_of_range"),
    refused("heartbeat cut", beat(NOW_MS)[:-1], "undecodable"),
    accepted("heartbeat that goes back", beat(NOW_MS - 100_000)),
    accepted("heartbeat again", beat(NOW_MS)),
    refused("connection of a stranger", link(NOW_MS, Link.RELEASED, "stranger"), "source_unknown"),
    refused(
        "connection in an unknown state",
        framed("connection", long(NOW_MS) + text(SOURCE.encode()) + text(b"asleep") + text(b"")),
        "undecodable",
    ),
    accepted("connection down", link(NOW_MS, Link.DOWN)),
)
SAMPLES = (
    refused("level NaN", level(NOW_MS, float("nan")), "undecodable"),
    refused("level infinite", level(NOW_MS, float("-inf")), "undecodable"),
    refused("unknown asset", level(NOW_MS, 50.0, "dom:DOGE"), "asset_unknown"),
    refused("sample in seconds", level(NOW_MS // 1000, 50.0), "time_out_of_range"),
    refused("sample of tomorrow", level(NOW_MS + 86_400_000, 50.0), "future"),
    refused("sample of a closed minute", level(BEGIN_MS + 180_000, 50.0), "too_late"),
    refused("sample before the last one", level(NOW_MS - 3_000, 50.0), "too_late"),
    refused("sample at the time of the last one", level(NOW_MS - 2_000, 50.0), "duplicate"),
    rejected("level -0.0", level(NOW_MS, -0.0), "dominance_range"),
    rejected("level 100", level(NOW_MS, 100.0), "dominance_range"),
    rejected("level as a fraction", level(NOW_MS, 0.5), "dominance_jump"),
    accepted("sample of now", level(NOW_MS, 50.1)),
)
REPORTS = (
    refused("lane that is not traded", report(timeframe="1h"), "lane_unknown"),
    refused("no timeframe", report(timeframe="2m"), "lane_unknown"),
    refused("report at 0", report(0), "time_out_of_range"),
    refused("money NaN", report(usd="NaN"), "undecodable"),
    refused("money infinite", report(price="Infinity"), "undecodable"),
    refused("money without digits", report(fee=""), "undecodable"),
    refused("money with a billion digits", report(qty="1E+999999999"), "undecodable"),
    refused("money below 0", report(qty="-1"), "amount_out_of_range"),
    refused("money of nobody", report(usd="1E+15"), "amount_out_of_range"),
    accepted("report of long ago: known now", report(NOW_MS - 86_400_000)),
    accepted("report of tomorrow: known now", report(NOW_MS + 86_400_000)),
    accepted("report of now", execution(LANE, NOW_MS, "fill")),
    refused(
        "order of no kind",
        record(
            "execution", "BTC", "hl", "1m", ts=NOW_MS, kind=OrderKind.TRIM, usd=Decimal(1), qty=Decimal(1),
            price=Decimal(1), fee=Decimal(0),
        ).replace(text(b"trim"), text(b"trip")),
        "undecodable",
    ),
)  # fmt: skip
CANDLES = (
    refused("candle of nobody", candle("LUNA"), "series_unknown"),
    refused("candle off the grid", candle(ts=BEGIN_MS + 1), "time_not_on_grid"),
    refused("candle at 0", candle(ts=0), "time_out_of_range"),
    refused("candle with price 0", candle(low_e8=0), "price_not_positive"),
    refused("candle with high below low", candle(high_e8=2), "prices_crossed"),
    refused("candle with a negative size", candle(size_e8=-1), "volume_negative"),
    accepted("candle", candle()),
    refused("command for nobody", command("LUNA"), "token_unknown"),
    refused("command to do what nobody knows", command().replace(text(b"halt"), text(b"hurt")), "undecodable"),
    accepted("command", command()),
)
ZOO = (*BYTES, *NAMES, *VALUES, *TIMES, *COPIES, *CLOCKS, *SAMPLES, *REPORTS, *CANDLES)
