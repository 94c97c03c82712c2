"""Recovery stores that are damaged, stale or foreign are noticed, never used as if nothing were (C37)."""

import pickle
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from connectors.postgres.server import EmbeddedPostgres
from connectors.snapshots import DamagedSnapshotError, check, opened, seal, unwrapped, wrapped
from flows import stores
from lotus.lane import Lane
from lotus.timeframe import Timeframe
from tests.flows.damaging import Bench, anything, snapshot_bit, unchecked

SEED = 20_250_603
DAMAGES = 4

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def bench(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield Bench(server, tmp_path_factory.mktemp("damage"))
    server.drop_database("damage")


@pytest.mark.parametrize("number", range(DAMAGES))
def test_damage_anywhere_is_never_silently_another_run(bench: Bench, number: int) -> None:
    trial = bench.trial(anything, random.Random(f"{SEED}/{number}"))
    assert not trial.silent, (trial.damage, trial.told)


def test_a_bit_inside_a_snapshot_is_noticed(bench: Bench) -> None:
    trial = bench.trial(snapshot_bit, random.Random(SEED))
    assert (trial.code, trial.equal, "starting from the beginning" in trial.told) == (0, True, True), trial.told


def test_a_snapshot_that_is_older_than_the_others_is_noticed_and_would_change_the_rows(bench: Bench) -> None:
    trial = bench.trial(bench.stale, random.Random(SEED))
    assert (trial.code, trial.equal, "not those of one moment" in trial.told) == (0, True, True), trial.told
    control = bench.trial(bench.stale, random.Random(SEED), unchecked)
    assert control.silent, f"without the check this goes wrong without a word, or the check proves nothing: {control}"


class Bomb:
    """What a stranger would like to have unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Call something."""
        return print, ("gone off",)


@pytest.mark.parametrize("foreign", [Bomb(), random.Random(1), Path("x"), Bench, {"a": Bomb()}])
def test_nothing_foreign_is_looked_up_in_a_snapshot(foreign: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DamagedSnapshotError, match="asks for"):
        opened(seal(foreign))
    with pytest.raises(DamagedSnapshotError, match="asks for"):
        unwrapped(pickle.dumps(foreign))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "payload",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"clotus.plan\nPlan.owns\n.",
        b"cconnectors.kafka.broker\nEmbeddedKafka\n(S'x'\ntR.",
        b"cconnectors.folders\nos.system\n(S'true'\ntR.",
        b"",
    ],
)
def test_a_sealed_pickle_may_name_nothing_but_records(payload: bytes) -> None:
    sealed = seal(None)
    body = sealed[28:]
    assert sealed.endswith(body)
    with pytest.raises(DamagedSnapshotError):
        opened(resealed(payload))
    with pytest.raises(DamagedSnapshotError):
        unwrapped(payload)


def resealed(payload: bytes) -> bytes:
    """As somebody would who knows the format."""
    from connectors import snapshots

    counted = bytes(8)
    return snapshots.STATE + snapshots._digest(snapshots.STATE, counted, payload) + counted + payload


def test_every_bit_of_a_sealed_state_counts() -> None:
    sealed = seal({"lane": Lane("BTC", "sim", Timeframe.M1), "n": 3})
    assert opened(unwrapped(wrapped(sealed))) == {"lane": Lane("BTC", "sim", Timeframe.M1), "n": 3}
    for at in range(len(sealed)):
        for bit in range(8):
            other = bytearray(sealed)
            other[at] ^= 1 << bit
            with pytest.raises(DamagedSnapshotError):
                check(bytes(other))


def filled(folder: Path) -> stores.Cut:
    cut = {("flow.a", str(key)): stores.Snapshot(seal(key), key % stores.PARTS) for key in range(40)}
    total = stores.total_of((place, one.sealed) for place, one in cut.items())
    cut["flow.sink_0", "x"] = stores.Snapshot(seal("end", total=total), 3)
    stores.write_store(folder, cut)
    return cut


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("delete from snaps where state_key = '3'", "not those of one moment"),
        ("update snaps set state_key = '300' where state_key = '3'", "not those of one moment"),
        ("update snaps set snap_epoch = 7 where state_key = '3'", "not those of one moment"),
        ("update snaps set ser_change = null where state_key = '3'", "not those of one moment"),
        ("update snaps set ser_change = x'80044b072e' where state_key = '3'", "a int that nobody sealed"),
        ("delete from snaps where state_key = 'x'", "not those of one moment"),
        ("update exs set worker_count = 2", "2 workers"),
    ],
)
def test_a_store_says_whether_it_is_whole(tmp_path: Path, change: str, told: str) -> None:
    cut = filled(tmp_path / "store")
    assert stores.read_cut(tmp_path / "store") == cut
    part = 0 if "exs" in change else 3
    with closing(sqlite3.connect(stores.part_of(tmp_path / "store", part))) as changed, changed:
        assert changed.execute(change).rowcount
    with pytest.raises(stores.DamagedStoreError, match=told):
        stores.read_cut(tmp_path / "store")


def test_a_store_without_its_starts_is_no_empty_store(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    with closing(sqlite3.connect(stores.part_of(tmp_path / "store", 0))) as changed, changed:
        changed.execute("delete from exs")
    with pytest.raises(stores.DamagedStoreError, match="nobody who took them"):
        stores.read_cut(tmp_path / "store")


def test_what_a_dead_start_has_not_completed_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    """The next start counts on from epoch 2 and comes to 9, but does not touch key 3 again."""
    folder = tmp_path / "store"
    cut = filled(folder)
    part = stores.part_of(folder, cut["flow.a", "3"].part)
    with closing(sqlite3.connect(part)) as dead, dead:
        dead.execute(
            "insert into snaps (step_id, state_key, snap_epoch, ser_change) values ('flow.a', '3', 5, ?)",
            [wrapped(seal("of another moment"))],
        )
    assert stores.read_cut(folder) == cut
    stores.forget_unfinished(folder)
    assert stores.read_cut(folder) == cut
    with closing(sqlite3.connect(stores.part_of(folder, 0))) as following, following:
        following.execute("insert into exs (ex_num, worker_count, resume_epoch) values (1, 1, 2)")
        following.execute("insert into fronts (ex_num, worker_index, worker_frontier) values (1, 0, 9)")
    assert stores.read_cut(folder) == cut
