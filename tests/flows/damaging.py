"""Damaged recovery stores, for `make chaos`: `python -m tests.flows.damaging --damages 20 --seed 1` (C37).

a replay is killed twice -> copies of its store, the earlier and the later one, and of its database
each damage              -> a store, a database: the replay goes on, and ends as if nothing had been, or not with 0
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import psycopg
from psycopg import sql

from connectors.postgres import read
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from connectors.snapshots import wrapped
from flows import stores
from tests.flows.killed_run import SMALL_STEPS, replay

RUN = "damaged"
DATABASE = "damage"
COMMITS = (6, 16)  # after so many it is killed
PATIENCE_S = 120
PAGE = 4096


class Trial(NamedTuple):
    """What became of a damaged store."""

    damage: str
    code: int
    equal: bool
    told: str

    @property
    def silent(self) -> bool:
        """The one thing that must never be."""
        return self.code == 0 and not self.equal


def unchecked(arguments: list[str], state: Path, told: Path) -> None:
    """Negative control: a replay that takes whatever store it finds."""
    with patch.object(stores, "_refuse_incomplete", lambda _cut: None):
        replay(arguments, state, told)


class Bench:
    """A replay that was killed in the middle, any number of times over."""

    def __init__(self, server: EmbeddedPostgres, folder: Path) -> None:
        self._server, self._folder, self._numbers = server, folder, count()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.flows.killed_run"])
        self.dsn = server.ensure_database(DATABASE)
        with connect(self.dsn) as connection:
            migrate(connection)
        code, told = self._run("whole", self.dsn, folder / "whole")
        assert code == 0, told
        with connect(self.dsn) as connection:
            self.whole = read.table_hashes(connection, "whole")
        for commits, name in zip(COMMITS, ("earlier", "later"), strict=True):
            self._killed(commits)
            shutil.copytree(folder / "state", folder / name)

    def trial(
        self, damage: Callable[[Path, random.Random], str], chance: random.Random, run: Callable[..., None] = replay
    ) -> Trial:
        """Damage a store and go on with it."""
        number = next(self._numbers)
        state, name = self._folder / f"state-{number}", f"{DATABASE}_{number}"
        shutil.copytree(self._folder / "later", state)
        with psycopg.connect(self._server.dsn(), autocommit=True) as connected:
            connected.execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(DATABASE))
            )
        what = damage(store_in(state), chance)
        code, told = self._run(RUN, self._server.dsn(name), state, SMALL_STEPS[:1], run)
        with connect(self._server.dsn(name)) as connection:
            equal = read.table_hashes(connection, RUN) == self.whole
        self._server.drop_database(name)
        return Trial(what, code, equal, told)

    def stale(self, store: Path, _chance: random.Random) -> str:
        """One engine stands where it stood some epochs ago, as if its file's log had lost its end."""
        earlier, later = (stores.read_cut(folder) for folder in (store_in(self._folder / "earlier"), store))
        place = next(
            place for place in sorted(earlier) if place[0].endswith(".trend") and earlier[place] != later[place]
        )
        _replace(store, place, earlier[place])
        return f"stale {place}"

    def _killed(self, commits: int) -> None:
        process = self._context.Process(
            target=replay, args=([f"--run-id={RUN}", f"--dsn={self.dsn}", *SMALL_STEPS], *self._places("state"))
        )
        process.start()
        give_up = time.monotonic() + PATIENCE_S
        with connect(self.dsn) as connection:
            while process.is_alive() and self._commits(connection) < commits:
                assert time.monotonic() < give_up, "no progress"
                time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -9, f"void: it ended with {process.exitcode}"

    def _run(
        self, run_id: str, dsn: str, state: Path, options: list[str] | None = None, run: Callable[..., None] = replay
    ) -> tuple[int, str]:
        arguments = [f"--run-id={run_id}", f"--dsn={dsn}", *(options or [])]
        place, told = self._places(state.name)
        process = self._context.Process(target=run, args=(arguments, place, told))
        process.start()
        process.join(PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None, "who was killed has ended"
        return process.exitcode, told.read_text()

    def _places(self, state: str) -> tuple[Path, Path]:
        told = self._folder / f"told-{next(self._numbers)}"
        told.touch()
        return self._folder / state, told

    @staticmethod
    def _commits(connection: psycopg.Connection) -> int:
        row = connection.execute("select coalesce(max(commit_number), 0) from mark where run_id = %s", [RUN]).fetchone()
        assert row is not None
        return int(str(row[0]))


def store_in(state: Path) -> Path:
    """The engine's files."""
    return state / "lotus" / "recovery" / RUN / "store"


def anything(store: Path, chance: random.Random) -> str:
    """Some bytes of some file become others, or a page is gone, or the end of a file."""
    path = chance.choice([path for path in sorted(store.iterdir()) if path.stat().st_size])
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    kind = chance.choice(("bit", "bit", "bit", "page", "end"))
    if kind == "bit":
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "page":
        begin = at // PAGE * PAGE
        content[begin : begin + PAGE] = bytes(len(content[begin : begin + PAGE]))
    else:
        del content[at:]
    path.write_bytes(content)
    return f"{kind} of {path.name} at {at}"


def snapshot_bit(store: Path, chance: random.Random) -> str:
    """A bit inside a state that the replay would go on from."""
    place, (sealed, number) = chance.choice(sorted(stores.read_cut(store).items()))
    content = bytearray(sealed)
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    _replace(store, place, stores.Snapshot(bytes(content), number))
    return f"bit {at} of {place}"


def _replace(store: Path, place: stores.Place, snapshot: stores.Snapshot) -> None:
    with closing(sqlite3.connect(stores.part_of(store, snapshot.part))) as opened, opened:
        opened.execute(
            "update snaps set ser_change = ? where step_id = ? and state_key = ?", (wrapped(snapshot.sealed), *place)
        )


def main() -> None:
    """Print one line of what was done and found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--damages", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="lotus-chaos-") as named:
        Path(named).chmod(0o711)  # Postgres may run as another user
        os.chdir(named)
        with EmbeddedPostgres(Path(named) / "postgres").start() as server:
            bench = Bench(server, Path(named))
            trials = [bench.trial(chance.choice((anything, snapshot_bit)), chance) for _ in range(asked.damages)]
            control = bench.trial(bench.stale, chance, unchecked)
    silent = [trial.damage for trial in trials if trial.silent]
    told = {
        "id": "C37",
        "seed": asked.seed,
        "n": len(trials),
        "failures": len(silent),
        "void": 0,
        "noticed": sum("starting from the beginning" in trial.told or trial.code != 0 for trial in trials),
        "silent": silent,
        "control": control.silent or control._asdict(),
        "bar": 0,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(1 if silent or not trials or not control.silent else 0)


if __name__ == "__main__":
    main()
