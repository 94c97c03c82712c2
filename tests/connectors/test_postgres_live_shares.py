"""Several live writers of one run, and stores that are split and merged: what one writer writes comes out."""

from connectors.postgres import read
from connectors.postgres.connection import Connection
from connectors.postgres.units import Target
from tests.connectors.live_rows import (
    PARTITIONS,
    ROUTING,
    RUN,
    Sharing,
    batches,
    holes,
    live,
    messages,
    opened,
    without_watermarks,
    written,
)
from tests.connectors.sample_rows import LANES

BATCHES = batches(8)
ROWS = 3
PER_NOUN = len(BATCHES) * ROWS * len(LANES)
BTC = 3  # its partition


def test_shares_of_one_run_write_side_by_side_what_one_writer_writes(database: str, connection: Connection) -> None:
    live(database, BATCHES, run_id="whole")
    writers = [opened(database, ROUTING.targets(*range(share, PARTITIONS, 2)), writer=f"{share}/2") for share in (0, 1)]
    tokens = ("HYPE",), ("BTC",)
    for pair in zip(*[batches(len(BATCHES), tokens=chosen) for chosen in tokens], strict=True):
        for writer, batch in zip(writers, pair, strict=True):
            writer.write(batch)
    for writer in writers:
        writer.close()
    assert written(connection) == written(connection, "whole")
    assert holes(connection) == 0


def test_a_store_can_be_split_and_merged_by_target(database: str, connection: Connection) -> None:
    """1 -> 2 -> 1 shares, each resumed behind the database, the second time from two stores at different commits."""
    live(database, BATCHES, run_id="whole")
    one = opened(database)
    one.write(BATCHES[0])
    early = one.snapshot()
    one.write(BATCHES[1])
    one._connection.close()

    halves = []
    for share, tokens in ((0, ("HYPE",)), (1, ("BTC",))):
        half = opened(
            database, ROUTING.targets(*range(share, PARTITIONS, 2)), writer=f"{share}/2", resume=early, takeover=True
        )
        parts = batches(len(BATCHES), tokens=tokens)
        for batch in parts[1 : 3 + share]:
            half.write(batch)
        halves.append(half.snapshot())
        half.write(parts[3 + share])
        half._connection.close()
    merged = halves[0]._replace(
        positions={**halves[0].positions, **halves[1].positions},
        watermarks={**halves[0].watermarks, **halves[1].watermarks},
    )
    last = opened(database, resume=merged)
    assert last.units.earlier_writers == ("0/2", "1/2")
    last.settled()
    last.write(batches(len(BATCHES), tokens=("HYPE",))[3])
    for batch in BATCHES[4:]:
        last.write(batch)
    last.close()
    assert read.table_hashes(connection, RUN) == read.table_hashes(connection, "whole")
    assert without_watermarks(messages(connection)) == without_watermarks(messages(connection, "whole"))


def test_rows_without_a_target_are_written_and_not_published(database: str, connection: Connection) -> None:
    routing = Sharing(unpublished=frozenset({"fill"}))
    snapshot = live(database, BATCHES[:4], routing=routing)
    resumed = opened(database, routing=routing, resume=snapshot)
    for batch in BATCHES[4:]:
        resumed.write(batch)
    resumed.close()
    assert read.counts(connection, RUN)["fill"] == PER_NOUN
    assert messages(connection, noun="fill") == []
    assert Target("pm.fills.v1", BTC) in resumed.units.targets
