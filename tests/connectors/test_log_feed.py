"""Replay of a recording, of the log that it was fed into, of that log's archive: the same bits of all rows."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from connectors.archive import Archive, ArchiveWriter, Limits
from connectors.archive_files import ArchiveError, Description, HoleError
from connectors.feeder import Pace, feed
from connectors.inputs import Inputs, TicksFile
from connectors.kafka.input_log import InputConfig, InputReader
from connectors.log_feed import JoinedLog, Log, LogFeed, cut
from connectors.moments import Moment, Moments, Recorded
from connectors.tape import Tape
from lotus.config import Config
from lotus.feed import Feed, Slice
from lotus.intake import Link
from lotus.plan import Plan
from lotus.records import DeadLetters
from tests.conformance.laws import digest
from tests.connectors.frames import HOUR, MINUTE, SECOND
from tests.connectors.memory_log import MemoryLog
from tests.connectors.tick_files import TIMEFRAMES, Recording, recording
from tests.flows.rows import Tables, by_river, digests
from tests.real import shared

MARKETS = shared("ticks_binance_multi_20240808.parquet")
TOPIC = "md.ticks.v1"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recording(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def tape(recorded: Recording) -> Tape:
    return Tape(recorded.inputs)


@pytest.fixture(scope="module")
def replayed(tape: Tape) -> Tables:
    return rows_of(tape, tape)


def plan_of(feed: Feed, config: Config | None = None) -> Plan:
    return Plan(config or Config(), feed.manifest, TIMEFRAMES)


def rows_of(feed: Feed, tape: Tape) -> Tables:
    """Rows of a whole run, planned for what the tape holds."""
    return by_river(plan_of(tape), feed)


def without_letters_of_the_log(found: Tables) -> Tables:
    """Messages that the log holds twice on purpose: only samples are refused for it, trades are read once."""
    letters = {key: rows for key, rows in found.items() if key[1].token.startswith("partition:")}
    for rows in letters.values():
        assert isinstance(rows, DeadLetters)
        assert set(rows.reason) <= {"duplicate", "too_late"}
        assert {json.loads(row)["noun"] for row in rows.row} == {"sample"}
    return {key: rows for key, rows in found.items() if key not in letters}


def logged(market: Moments, partitions: int) -> MemoryLog:
    log = MemoryLog(partitions, market.source)
    feed(market, log, Pace(None))
    return log


def reader_of(market: Moments, partitions: int) -> Callable[[], InputReader]:
    manifest = market.manifest
    config = InputConfig(
        TOPIC,
        partitions,
        (market.source,),
        series=tuple(one.series for one in manifest.instruments),
        assets=tuple(name for name, _ in manifest.dominance),
    )
    return lambda: InputReader(config)


def log_feed(log: Log, market: Moments, tape: Tape, span_ms: int = HOUR) -> LogFeed:
    opening = Slice(raw=next(tape.slices()).raw)
    return LogFeed(log, reader_of(market, log.partitions), tape.manifest, span_ms, opening)


def test_the_recording_is_worth_comparing(tape: Tape, replayed: Tables) -> None:
    nouns = {noun: sum(len(rows) for (one, _), rows in replayed.items() if one == noun) for noun, _ in replayed}
    assert nouns.keys() >= {"bar", "bar_revision", "trend", "posture", "dead_letter", "decision", "refusal"}, nouns
    reasons = {
        reason
        for (noun, _), rows in replayed.items()
        if noun == "dead_letter"
        for reason in rows.reason  # type: ignore[attr-defined]
    }
    assert reasons == {"duplicate", "too_late"}
    assert tape.tally.dead == 0


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_the_log_of_a_recording_gives_its_rows(tape: Tape, replayed: Tables, partitions: int) -> None:
    market = Recorded(tape)
    assert digests(rows_of(log_feed(logged(market, partitions), market, tape), tape)) == digests(replayed)


@pytest.mark.parametrize("span_ms", [31 * SECOND, 61 * SECOND, 40 * HOUR])
def test_the_cuts_of_a_log_change_no_row(tape: Tape, replayed: Tables, span_ms: int) -> None:
    market = Recorded(tape)
    feed = log_feed(logged(market, 2), market, tape, span_ms)
    assert digests(rows_of(feed, tape)) == digests(replayed)


def test_a_tape_that_knows_where_its_series_end_has_other_rows_there(recorded: Recording, replayed: Tables) -> None:
    closed = Tape(replace(recorded.inputs, open_ended=False))
    found = rows_of(closed, closed)
    assert sum(map(len, found.values())) < sum(map(len, replayed.values()))
    assert digests(found) != digests(replayed)


def test_a_heartbeat_in_every_second_changes_no_row(tape: Tape, replayed: Tables) -> None:
    market = Recorded(tape, every_second=True)
    log = logged(market, 3)
    assert len(log.beats(0)[0]) > 2 * len(logged(Recorded(tape), 3).beats(0)[0])
    assert digests(rows_of(log_feed(log, market, tape), tape)) == digests(replayed)


def test_connection_records_and_repeated_messages_change_no_row(tape: Tape, replayed: Tables) -> None:
    market = Recorded(tape)
    log, dice = MemoryLog(3), np.random.default_rng(3)
    for moment in market.moments():
        for again in range(int(dice.integers(1, 4))):  # a moment is written again: heartbeat, samples, trades
            if again:
                log.connection(moment.clock_ms, Link(int(dice.integers(0, 2))), ["BTC"])
            feed(Once(market, moment), log, Pace(None))
    assert log.nouns(0).count("connection") > 1000
    found = rows_of(log_feed(log, market, tape), tape)
    assert digests(without_letters_of_the_log(found)) == digests(replayed)
    assert digests(rows_of(log_feed(log, market, tape, 11 * MINUTE), tape)) == digests(found)


class Once:
    """A market of one moment."""

    def __init__(self, market: Moments, moment: Moment) -> None:
        self.manifest, self.source, self._moment = market.manifest, market.source, moment

    def moments(self, after_ms: int = -1) -> Iterator[Moment]:
        del after_ms
        yield self._moment


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_feeder_that_was_killed_goes_on_without_a_trace(tape: Tape, replayed: Tables, seed: int) -> None:
    market, dice = Recorded(tape), np.random.default_rng(seed)
    whole, log = logged(market, 4), MemoryLog(4)
    for share in sorted(dice.random(3)):  # what was delivered when it was killed differs from partition to partition
        feed(market, log, Pace(None), clocks=log.clocks())
        log.cut_off([int(len(kept) * share * dice.uniform(0.9, 1)) for kept in whole.kept])
    fed = feed(market, log, Pace(None), clocks=log.clocks())
    assert 0 < fed.trades < sum(nouns.count("tick") for nouns in map(whole.nouns, range(4)))
    found = rows_of(log_feed(log, market, tape), tape)
    assert digests(without_letters_of_the_log(found)) == digests(replayed)


def test_slices_from_any_position_are_the_same_slices(tape: Tape) -> None:
    market = Recorded(tape)
    log = logged(market, 3)
    pieces = list(log_feed(log, market, tape, 17 * MINUTE).slices())
    for position in (1, 5, len(pieces) - 1):
        afresh = log_feed(log, market, tape, 17 * MINUTE)
        assert digest(list(afresh.slices(position))) == digest(pieces[position:])
        assert digest(list(afresh.slices(position - 1))) == digest(pieces[position - 1 :])
        assert digest(next(afresh.slices(position))) == digest(pieces[position])
    assert len(pieces) == log_feed(log, market, tape, 17 * MINUTE).manifest.slices


def test_messages_of_a_slice_are_those_that_its_clock_covers(tape: Tape) -> None:
    log = logged(Recorded(tape), 3)
    found = cut(log, 10 * MINUTE)
    for partition in range(3):
        for number, edge_ms in enumerate(found.edges[:-1]):
            end = int(found.ends[partition, number])
            behind = next(log.messages(partition, end))
            assert behind.headers == (("noun", b"heartbeat"),)
            assert behind.ts > edge_ms
            offsets, times = log.beats(partition)
            assert times[offsets < end].max() <= edge_ms
    assert (found.ends[:, -1] > max(map(len, log.kept))).all()


def test_a_log_without_a_clock_is_refused() -> None:
    with pytest.raises(ArchiveError, match="no heartbeat"):
        cut(MemoryLog(2), HOUR)


def test_a_hole_in_the_log_stops_the_replay(tape: Tape) -> None:
    market = Recorded(tape)
    log = logged(market, 2)
    del log.kept[1][1000]
    with pytest.raises(HoleError, match="partition 1: offset 1000 is missing in the log, 1001 came instead"):
        list(log_feed(log, market, tape).slices())


# archive, then topic


def test_archive_then_topic_gives_the_rows_of_the_recording(tape: Tape, replayed: Tables, tmp_path: Path) -> None:
    market = Recorded(tape)
    log = logged(market, 3)
    archived = Description(TOPIC, "id", "cluster", 3, "single-object")
    with ArchiveWriter(tmp_path, archived, Limits(rows=700)) as writer:
        for partition, share in enumerate((0.0, 0.4, 1.0)):
            writer.take(log.messages(partition, 0, int(len(log.kept[partition]) * share)))
    log.dropped = 300
    with pytest.raises(HoleError, match="partition 0: the offsets 0 to 299 are missing"):
        JoinedLog(Archive(tmp_path), log)
    log.dropped = 0
    joined = JoinedLog(Archive(tmp_path), log)
    assert [list(joined.messages(one)) for one in range(3)] == log.kept
    assert digests(rows_of(log_feed(joined, market, tape), tape)) == digests(replayed)


def test_the_archive_alone_gives_the_rows_of_the_recording(tape: Tape, replayed: Tables, tmp_path: Path) -> None:
    market = Recorded(tape)
    log = logged(market, 3)
    with ArchiveWriter(tmp_path, Description(TOPIC, "id", "cluster", 3, "single-object")) as writer:
        writer.take(log.everything())
    assert digests(rows_of(log_feed(Archive(tmp_path), market, tape), tape)) == digests(replayed)


def test_an_archive_of_another_number_of_partitions_is_not_joined(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, Description(TOPIC, "id", "cluster", 2, "single-object")):
        pass
    with pytest.raises(ArchiveError, match="2 partitions, the topic 3: they are two logs"):
        JoinedLog(Archive(tmp_path), MemoryLog(3))


if MARKETS:

    @pytest.mark.parametrize("path", [MARKETS])
    def test_recorded_ticks_of_three_real_markets_give_the_same_rows_from_their_log(path: Path) -> None:
        first_ms = Tape(Inputs(ticks=(TicksFile("binance", path),))).manifest.start_ms
        tape = Tape(Inputs(ticks=(TicksFile("binance", path),), end_ms=first_ms + 20 * MINUTE, open_ended=True))
        venues = sorted({one.series.venue for one in tape.manifest.instruments})
        assert len(venues) == 3
        market = Recorded(tape)
        plan = plan_of(tape, replace(Config(), drivers=replace(Config().drivers, venue=venues[0])))
        log = logged(market, 2)
        assert digests(by_river(plan, log_feed(log, market, tape, 3 * MINUTE))) == digests(by_river(plan, tape))
