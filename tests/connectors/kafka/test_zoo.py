"""C41: every animal of the zoo has its one outcome, alone and among the others; in = accepted + dead."""

import json
from collections import Counter

import numpy as np
import pytest

from connectors.kafka.inlet import Part
from connectors.kafka.input_log import InputConfig, InputReader
from connectors.kafka.letters import Refusal
from connectors.kafka.stops import ForeignPartitionError
from lotus import bar, dominance
from lotus.bar import BarConfig
from lotus.dominance import DominanceConfig
from lotus.feed import Slice
from lotus.kernel import Series
from lotus.timeframe import Timeframe
from schemas.partition import partition_of
from tests.connectors.kafka.log_rows import BEGIN_MS, SOURCE, beat, sample, tick
from tests.connectors.kafka.zoo import ACCEPTED, EARLIER, LANE, NOW_MS, ZOO, Animal, trade

TOPIC = "md.ticks.v1"
DOMINANCE = DominanceConfig(Timeframe.H1, 2.0, 3_600_000)
BEFORE = [
    beat(BEGIN_MS),
    beat(NOW_MS),
    trade(**EARLIER),
    sample("dom:BTC", NOW_MS - 2_000, 50.0),
]


def reader() -> InputReader:
    return InputReader(
        InputConfig(TOPIC, 1, (SOURCE,), series=(Series("hl", "BTC"),), assets=("dom:BTC",), lanes=(LANE,))
    )


def rejected(piece: Slice) -> list[str]:
    """What the kernels say of a slice, from the beginning of their series."""
    reasons: list[str] = []
    for _, ticks in piece.ticks:
        reasons += bar.step(BarConfig(), None, ticks)[1].rejects.reason.tolist()
    for _, samples in piece.samples:
        reasons += dominance.step(DOMINANCE, None, samples)[1].rejects.reason.tolist()
    return reasons


def outcome(animal: Animal) -> str:
    values = [*BEFORE, animal.value]
    inlet = reader()
    piece = inlet.read([Part(0, range(len(values)), values)])
    counts = inlet.counts
    assert counts.read == counts.accepted + counts.dead == len(values)
    if counts.dead:
        ((partition, dead),) = piece.refused
        assert (partition, dead.source.tolist(), dead.position.tolist()) == (0, [f"{TOPIC}/0"], [len(BEFORE)])
        assert "\0" not in dead.row[0]
        assert len(dead.row[0]) < 2_000
        json.loads(dead.row[0])
        return f"refused: {dead.reason[0]}"
    reasons = rejected(piece)
    assert len(reasons) < 2
    return f"rejected: {reasons[0]}" if reasons else ACCEPTED


def test_the_zoo_is_large_enough() -> None:
    assert len(ZOO) >= 60
    assert len({animal.name for animal in ZOO}) == len(ZOO)
    assert {animal.outcome for animal in ZOO} >= {f"refused: {reason}" for reason in Refusal}


@pytest.mark.parametrize("animal", ZOO, ids=[animal.name for animal in ZOO])
def test_every_animal_has_its_one_outcome(animal: Animal) -> None:
    assert outcome(animal) == animal.outcome


def test_all_together_nothing_is_lost_and_what_is_good_counts() -> None:
    random = np.random.default_rng(11)
    animals = [animal for animal in ZOO if animal.outcome.startswith("refused")]
    good = [tick("BTC", NOW_MS + place, seq=1_000 + place, trade_id=1_000 + place) for place in range(300)]
    values: list[bytes | None] = [*good, *(animal.value for animal in animals)]
    order = random.permutation(len(values))
    mixed = [*BEFORE, *(values[place] for place in order.tolist()), beat(NOW_MS + 60_000)]
    expected = Counter(animal.outcome.removeprefix("refused: ") for animal in animals)
    for size in (1, 17, len(mixed)):
        inlet, pieces = reader(), []
        for start in range(0, len(mixed), size):
            some = mixed[start : start + size]
            pieces.append(inlet.read([Part(0, range(start, start + len(some)), some)]))
        letters = [dead for piece in pieces for _, dead in piece.refused]
        positions = [int(position) for dead in letters for position in dead.position]
        assert Counter(str(reason) for dead in letters for reason in dead.reason) == expected
        assert positions == sorted(positions)
        assert inlet.counts.reasons == expected
        assert inlet.counts.read == len(mixed) == inlet.counts.accepted + len(animals)
        state, trades = None, 0
        for piece in pieces:
            for _, chunk in piece.ticks:
                state, out = bar.step(BarConfig(), state, chunk)
                trades += int(out.bars.rows.trades.sum())
        assert trades == len(good) + 1


def test_what_is_refused_is_kept_as_it_came() -> None:
    values = [b"\xc3\x01\xff", None, trade(token="LUNA"), beat(NOW_MS, "x\u202e" + "y" * 500)]
    ((_, dead),) = reader().read([Part(0, [5, 6, 9, 12], values)]).refused
    assert dead.position.tolist() == [5, 6, 9, 12]
    assert [json.loads(row) for row in dead.row[:2]] == [{"bytes": 3, "hex": "c301ff"}, {}]
    assert json.loads(dead.row[2])["token"] == "LUNA"
    assert json.loads(dead.row[2])["price_e8"] == 10**8
    assert len(json.loads(dead.row[3])["source"]) == 200


def test_a_tick_in_a_foreign_partition_is_no_dead_letter_but_an_end() -> None:
    inlet = InputReader(InputConfig(TOPIC, 4, (SOURCE,), series=(Series("hl", "BTC"),)))
    home = partition_of("BTC", 4)
    assert inlet.read([Part(home, [0], [tick("BTC", NOW_MS)])]).refused == ()
    with pytest.raises(ForeignPartitionError, match=f"offset 3: 'BTC' belongs to partition {home} of 4"):
        inlet.read([Part((home + 1) % 4, [3], [tick("BTC", NOW_MS)])])


def test_a_flow_that_reads_no_ticks_does_not_look_at_them() -> None:
    inlet = InputReader(InputConfig(TOPIC, 1, (SOURCE,), assets=("dom:BTC",), nouns=frozenset({"sample"})))
    values = [beat(NOW_MS), trade(token="LUNA"), sample("dom:BTC", NOW_MS, 50.0)]
    piece = inlet.read([Part(0, range(3), values)])
    assert (inlet.counts.read, inlet.counts.unread, inlet.counts.accepted) == (3, 1, 2)
    assert (piece.ticks, piece.refused) == ((), ())
    assert len(piece.samples[0][1]) == 1
