"""One hash of what was decided: blind to order, framing and partitions, and to nothing else."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from connectors.avro.codec import codec_of
from connectors.avro.contract import contracts
from connectors.avro.framing import Confluent, FrameError, Framing, SingleObject
from connectors.decisions_digest import Digest, DigestError, digest_of_bodies, digest_of_messages, digest_of_written
from lotus.lane import Lane
from lotus.records import Decisions
from lotus.written import Written
from tests.connectors.sample_rows import LANES, sample

CONFLUENT = Confluent({name: number for number, name in enumerate(contracts())})


class Sent(NamedTuple):
    """A message of a topic."""

    value: bytes
    headers: list[tuple[str, bytes]]


def decided(seed: int = 1) -> list[Written]:
    return [Written("decision", lane, finite(seed + number)) for number, lane in enumerate(LANES)]


def finite(seed: int) -> Decisions:
    rows = sample("decision", 30, seed)
    assert isinstance(rows, Decisions)
    return rows


def sent(items: list[Written], framing: Framing, run: bytes = b"live") -> list[Sent]:
    """The rows as a relay would put them on the topic, in any order, between other records."""
    found = []
    for item in items:
        codec = codec_of(item.noun)
        bodies = codec.encode((item.lane.token, item.lane.venue, str(item.lane.timeframe)), item.rows)
        prefix = framing.prefix(codec.contract)
        found += [Sent(prefix + body, [("noun", item.noun.encode()), ("run", run)]) for body in bodies]
    order = np.random.default_rng(7).permutation(len(found))
    watermark = Sent(b"not looked at", [("noun", b"watermark")])
    return [message for at in order for message in (found[at], watermark)]


@pytest.mark.parametrize("framing", [SingleObject(), CONFLUENT])
def test_topic_and_rows_have_one_digest_whatever_the_framing_and_the_order(framing: Framing) -> None:
    items = decided()
    found = digest_of_written(items)
    assert found.n == 30 * len(LANES)
    assert digest_of_messages(sent(items, framing), framing) == found
    assert digest_of_messages(sent(items[::-1], framing, b"another run"), framing) == found
    assert digest_of_written(items[::-1]) == found


def test_rows_in_other_batches_have_the_same_digest() -> None:
    items = decided()
    cut = [
        Written(item.noun, item.lane, item.rows.take(rows))
        for rows in (slice(20, None), slice(0, 20))
        for item in items
    ]
    assert digest_of_written(cut) == digest_of_written(items)


@pytest.mark.parametrize("column", ["ts", "kind", "usd", "price", "sentence", "reasons"])
def test_one_cell_changes_the_digest(column: str) -> None:
    items = decided()
    rows = items[2].rows
    cells = getattr(rows, column).copy()
    cells[3] = cells[3] + 1 if column in ("ts", "price") else getattr(finite(99), column)[5]
    cells[3] = (int(rows.kind[3]) + 1) % 8 if column == "kind" else cells[3]  # type: ignore[attr-defined]
    assert cells[3] != getattr(rows, column)[3]
    changed = [*items[:2], items[2]._replace(rows=replace(rows, **{column: cells})), *items[3:]]
    assert digest_of_written(changed).n == digest_of_written(items).n
    assert digest_of_written(changed).sha256 != digest_of_written(items).sha256


def test_another_lane_a_missing_and_a_doubled_row_change_the_digest() -> None:
    items = decided()
    found = digest_of_written(items)
    moved = [items[0]._replace(lane=Lane("DOGE", *items[0].lane[1:])), *items[1:]]
    fewer = [items[0]._replace(rows=items[0].rows.take(slice(1, None))), *items[1:]]
    assert len({found, digest_of_written(moved), digest_of_written(fewer), digest_of_written([*items, items[0]])}) == 4


def test_nothing_has_a_digest_that_says_so() -> None:
    assert digest_of_written([]).n == digest_of_bodies([]).n == 0
    assert isinstance(digest_of_messages([], SingleObject()), Digest)


def test_what_is_no_decision_is_told() -> None:
    with pytest.raises(DigestError, match="body 0 is no decision"):
        digest_of_bodies([b"\x02"])
    with pytest.raises(FrameError):
        digest_of_messages([Sent(b"??", [("noun", b"decision")])], SingleObject())
