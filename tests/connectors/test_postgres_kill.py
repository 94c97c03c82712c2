"""Replays that are killed (C01) or put to sleep (C33): the tables equal an uninterrupted run's, byte for byte."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from connectors.postgres import read
from connectors.postgres.connection import Connection
from connectors.postgres.marks import NO_COMMIT, read_journal
from connectors.postgres.writer import ReplayWriter
from tests.connectors.killed_replay import ITEMS, ROWS, replay
from tests.connectors.sample_rows import LANES

KILLS = 20
SEED = 20_240_607
MOST_EPOCHS = 5
LONGEST_PAUSE_S = 0.01


@pytest.mark.timeout(300)
def test_a_replay_killed_at_random_times_equals_the_uninterrupted_one(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    replay(database, "whole", whole, seed=SEED)

    chance = random.Random(SEED)
    commits = [NO_COMMIT]
    for attempt in range(KILLS):
        process = forked(replay, database, "killed", killed, SEED + attempt)
        epochs = chance.randint(1, MOST_EPOCHS) if attempt % 10 else 0  # some die while they start
        wait_for_epochs(process, killed / "epochs", epochs)
        time.sleep(chance.uniform(0.0, LONGEST_PAUSE_S))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "void: the replay ended before it was killed"
        commits.append(read_journal(connection, "killed", NO_COMMIT).last_commit)
    process = forked(replay, database, "killed", killed, SEED)
    process.join()
    assert process.exitcode == 0
    progress = sum(after > before for before, after in pairwise(commits))
    sys.stdout.write(json.dumps({"id": "C01", "seed": SEED, "n": KILLS, "progress": progress}) + "\n")
    assert progress >= 0.8 * KILLS, f"void: only {progress} of {KILLS} intervals made progress"
    assert read.table_hashes(connection, "killed") == read.table_hashes(connection, "whole")
    assert read.counts(connection, "killed") == read.counts(connection, "whole")


@pytest.mark.parametrize("epochs", range(5))
def test_a_writer_that_was_asleep_during_a_takeover_writes_nothing(
    database: str, connection: Connection, tmp_path: Path, epochs: int
) -> None:
    """C33: stopped somewhere in its epochs, taken over, woken up."""
    process = forked(replay, database, "run", tmp_path, SEED)
    wait_for_epochs(process, tmp_path / "epochs", epochs + 1)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    successor = ReplayWriter(database, "run", takeover=True)
    before = read.counts(connection, "run")
    os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 1, "void: the replay ended before it was stopped"
    assert 0 < before["bar"] < ROWS * len(LANES)
    assert read.counts(connection, "run") == before
    successor.write(ITEMS)
    assert sum(count.verified for count in successor.finish().values()) == sum(before.values())
    successor.close()


def forked(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that starts at once, because what it needs is imported and compiled already."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.connectors.killed_replay"])
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for_epochs(process: BaseProcess, log: Path, count: int) -> None:
    """Until the process has ended that many epochs more."""
    before = log.stat().st_size if log.exists() else 0
    while process.is_alive() and (log.stat().st_size if log.exists() else 0) < before + count:
        time.sleep(0.0005)
