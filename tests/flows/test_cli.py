"""The command line: every verb as text and as JSON, the exit codes, and errors that name the cure."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import sample
from connectors.nouns import NOUNS
from connectors.postgres import read
from connectors.postgres.connection import connect
from connectors.postgres.server import EmbeddedPostgres
from flows import doctor, warmup
from flows.commands import moment
from tests.flows.conftest import RUN_ID, SampleRun, Told
from tests.flows.trades import FIRST_MS, trades

Lotus = Callable[..., Told]
BARS = f"{sample.VENUE}:1m={sample.BARS_1M}"
DAY = ("--from", "2025-05-28", "--to", "2025-05-29T12:00")
TWO = ("--bars", BARS, "--tokens", "BTC,ETH", "--timeframes", "1m", *DAY)


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: EmbeddedPostgres) -> EmbeddedPostgres:
        raise AssertionError("a command without a database started a server")

    monkeypatch.setattr(EmbeddedPostgres, "start", refuse)


def sums_are_exact(text: str) -> bool:
    return "sums exactly" in text and "DOES NOT COME OUT" not in text


# ------------------------------------------------------------------------------------------------------- the verbs


def test_the_demo_of_a_simulated_market_explains_what_it_decided(lotus: Lotus, database: str) -> None:
    told = lotus("run", "--simulate", "--tokens", 8, "--days", 3, "--dsn", database)
    assert told.code == 0, told.err
    for part in ("rows in", "decided", "refused", "bars per CPU-second", "total", "why not", "lotus explain"):
        assert part in told.out
    assert sums_are_exact(told.out)
    assert "\x1b" not in told.out + told.err, "no colours and no progress off a terminal"
    assert len(told.out[: told.out.index("1. ")].splitlines()) <= 30, "the summary is one screen"
    again = lotus("run", "--simulate", "--tokens", 8, "--days", 3, "--dsn", database, "--json").json()
    assert again["inserted"] == {}
    assert again["complete"]
    assert len(again["explained"]) >= 3


def test_the_summary_of_the_sample_counts_money_by_lane_timeframe_and_in_total(
    lotus: Lotus, sample_run: SampleRun
) -> None:
    told = lotus("run", "--dsn", sample_run.dsn, "--json").json()
    assert told["rows_in"] == told["accepted"] + told["dead"] > 100_000
    assert told["decisions"] == read.kind_counts(sample_run.connection, RUN_ID, "decision")
    assert sum(entry["count"] for entry in told["refusals"]) == told["rows"]["refusal"]
    *parts, total = told["money_by_timeframe"]
    assert {part["timeframe"] for part in parts} <= {"1m", "15m", "1h"}
    assert total["timeframe"] == "total"
    assert total["lanes"] == len(told["money"]) == sum(part["lanes"] for part in parts)
    assert total["profit"] == pytest.approx(sum(lane["profit"] for lane in told["money"]))
    for lane in told["money"]:
        assert lane["profit"] == pytest.approx(lane["sells"] + lane["held"] - lane["buys"])
    assert told["bars_per_cpu_second"] == pytest.approx(told["bars"] / told["cpu_seconds"], rel=0.05)


def test_a_token_whose_series_ends_early_with_something_held_is_stale(
    lotus: Lotus, database: str, tmp_path: Path
) -> None:
    table = pq.read_table(sample.BARS_1M)
    told = lotus("replay", "--bars", BARS, "--timeframes", "1m", "--dsn", database, "--run-id", "all", "--json").json()
    with connect(database) as connection:
        row = connection.execute(
            """
            select token, (extract(epoch from ts) * 1000)::int8 from position
            where run_id = 'all' and qty > 0 order by ts limit 1
            """
        ).fetchone()
    assert row is not None
    token, ts_ms = row
    kept = (np.array(table["token"].to_pylist()) != token) | (table["ts"].to_numpy() <= ts_ms)
    path = tmp_path / "delisted.parquet"
    pq.write_table(table.filter(pa.array(kept)), path)
    delisted = ("replay", "--bars", f"{sample.VENUE}:1m={path}", "--timeframes", "1m", "--dsn", database)
    told = lotus(*delisted, "--json").json()
    assert [lane["token"] for lane in told["money"] if lane["stale"]] == [token]
    text = lotus(*delisted).out
    assert "the series ended early" in text, text


def test_rows_that_a_kernel_refuses_count_as_dead(lotus: Lotus, database: str, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks.parquet"
    table = trades("PEPE", 400).append_column("trade_id", pa.array(np.arange(400, dtype=np.int64)))
    pq.write_table(pa.concat_tables([table, table.slice(390, 2)]), ticks)
    replay = ("replay", "--ticks", f"venue={ticks}", "--timeframes", "1m", "--json")
    told = lotus(*replay, "--dsn", database).json()
    assert told["dead_letters"] == {"precision": 24, "duplicate": 2}, (
        "the reader refuses the former, the kernel the latter"
    )
    for found in (told, lotus(*replay, "--no-database").json()):
        assert (found["rows_in"], found["accepted"], found["dead"]) == (402, 376, 26)


def test_explain_tells_a_decision_a_refusal_and_a_number(lotus: Lotus, sample_run: SampleRun) -> None:
    run = ("--dsn", sample_run.dsn, "--run-id", RUN_ID)
    text = lotus("explain", *run)
    assert text.code == 0, text.err
    for part in ("size", "  ok  ", "flag", "inputs", "A = ", "driver's bar"):
        assert part in text.out
    assert sums_are_exact(text.out)
    assert "multiplies exactly" in text.out
    assert max(map(len, text.out.splitlines())) < 260
    story = lotus("explain", *run, "--json").json()
    bar = (story["token"], story["timeframe"], story["bar"])
    assert lotus("explain", *bar, *run, "--json").json() == story
    number = lotus("explain", *bar, "--number", "a", *run, "--json").json()
    assert number["numbers"] == {"a": story["numbers"]["a"]}
    assert sums_are_exact(lotus("explain", *bar, "--number", "a", *run).out)
    assert "multiplies exactly" in lotus("explain", *bar, "--number", "size", *run).out
    refused = sample_run.times("select token, timeframe, ts from refusal where run_id = %s and gate = 'new_level'")
    text = lotus("explain", refused[0], refused[1], refused[2].isoformat(), *run)
    assert "REFUSED trim: new_level failed by" in text.out
    assert "least_change" in text.out


def test_migrate_says_what_it_applied(lotus: Lotus, empty_database: str) -> None:
    applied = lotus("migrate", "--dsn", empty_database, "--json").json()["applied"]
    assert applied
    assert lotus("migrate", "--dsn", empty_database, "--json").json() == {"applied": []}
    assert lotus("migrate", "--dsn", empty_database).out == "the tables are up to date\n"


def test_the_doctor_checks_everything_and_names_cures(
    lotus: Lotus, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {finding["name"]: finding for finding in lotus("doctor", "--dsn", database, "--json").json()}
    assert {"python", "kernels", "disk", "configuration", "sample market", "postgres", "numba"} <= {*found}
    assert all(finding["ok"] for finding in found.values()), found
    told = lotus("doctor", "--dsn", "host=/nowhere dbname=none")
    assert told.code == 3
    assert "bad  postgres" in told.out
    assert "--dsn" in told.out
    monkeypatch.setenv("LOTUS__POSITION__NONSENSE", "1")
    monkeypatch.setattr(doctor, "kernels", lambda: 0)
    told = lotus("doctor", "--dsn", database)
    assert "correct the LOTUS__ variable" in told.out
    assert "run lotus compile" in told.out


def test_compile_finds_what_is_compiled(lotus: Lotus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "compile_kernels", lambda: None)
    told = lotus("compile", "--json").json()
    assert told["compiled"] == 0
    assert told["kernels"] > 100
    assert "are compiled already" in lotus("compile").out


def test_config_show_names_values_and_where_they_come_from(
    lotus: Lotus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lotus.toml"
    file.write_text("[position.sizing]\ncap_usd = 500\n")
    monkeypatch.setenv("LOTUS__PAPER__FEE_BPS", "7")
    told = lotus("config", "show", "--config", file, "--origin", "--json").json()
    rows = {row["key"]: row for row in told["settings"]}
    assert {key: (row["value"], row["origin"]) for key, row in rows.items()} == {
        "position.sizing.cap_usd": ("500", str(file)),
        "paper.fee_bps": ("7", "LOTUS__PAPER__FEE_BPS"),
    }
    resolved = lotus("config", "show", "--resolved", "--json").json()
    assert len(resolved["settings"]) > 200
    assert resolved["hash"] != told["hash"]
    text = lotus("config", "show", "--resolved", "--origin").out
    assert "uptrend-engine.md" in text
    assert "show them with --resolved" in lotus("config", "show").out or "fee_bps" in lotus("config", "show").out


def test_config_schema_is_a_json_schema(lotus: Lotus) -> None:
    schema = lotus("config", "schema").json()
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False


# --------------------------------------------------------------------------------------------------------- replay


def test_replay_takes_every_option_and_exports_every_noun(lotus: Lotus, database: str, tmp_path: Path) -> None:
    config = tmp_path / "lotus.toml"
    config.write_text("[position.sizing]\ncap_usd = 500\n[drivers]\nvenue = 'binance'\n")
    ticks = tmp_path / "ticks.parquet"
    pq.write_table(trades("PEPE", 4000), ticks)
    arguments = (
        "replay",
        *("--bars", BARS),
        *("--ticks", f"other={ticks}"),
        *("--history", f"{sample.VENUE}:1h={sample.HISTORY_1H}:BTC,ETH"),
        *("--history", f"{sample.VENUE}:1d={sample.HISTORY_1D}"),
        *("--dominance", sample.DOMINANCE_1D),
        *("--buckets", sample.BUCKETS),
        *("--tokens", "BTC,ETH,SOL,PEPE"),
        *("--timeframes", "1m,15m"),
        *DAY,
        *("--config", config),
        *("--run-id", "everything"),
        "--json",
    )
    export, bare = tmp_path / "export", tmp_path / "bare"
    told = lotus(*arguments, "--dsn", database, "--export", export).json()
    assert told["run_id"] == "everything"
    assert told["rows_in"] == told["accepted"] + told["dead"]
    assert lotus(*arguments, "--no-database", "--export", bare).json()["inserted"] == told["inserted"]
    assert {path.name for path in export.iterdir()} == {f"{noun}.parquet" for noun in NOUNS}
    for noun in NOUNS:
        one, other = pq.read_table(export / f"{noun}.parquet"), pq.read_table(bare / f"{noun}.parquet")
        assert one.equals(other), noun
        assert one.num_rows == told["rows"][noun], noun
    bars = pq.read_table(export / "bar.parquet").to_pydict()
    assert {"BTC", "ETH", "SOL", "PEPE", "dom:BTC"} <= {*bars["token"]}
    assert "other" in bars["venue"]
    assert min(bars["ts"]) == FIRST_MS
    with connect(database) as connection:
        run = read.run_row(connection, "everything")
    assert run is not None
    assert run["config"]["position"]["sizing"]["cap_usd"] == "500"


@pytest.mark.usefixtures("no_server")
def test_a_replay_without_a_database_needs_no_server(lotus: Lotus, tmp_path: Path) -> None:
    told = lotus("replay", *TWO, "--no-database", "--export", tmp_path)
    assert told.code == 0, told.err
    assert "rows in" in told.out
    assert pq.read_metadata(tmp_path / "trend.parquet").num_rows > 0


def test_the_same_replay_has_the_same_run_id_and_another_another(lotus: Lotus) -> None:
    ids = [
        lotus(
            "replay", "--bars", BARS, "--tokens", tokens, "--timeframes", "1h", *DAY, "--no-database", "--json"
        ).json()
        for tokens in ("BTC,ETH", "ETH,BTC", "BTC")
    ]
    first, same, other = (told["run_id"] for told in ids)
    assert first == same != other


# ------------------------------------------------------------------------------------------- errors and exit codes

REFUSED: list[tuple[tuple[Any, ...], str]] = [
    (("replay", "--no-database"), "name a file with --bars or --ticks"),
    (("replay", "--bars", "binance=x", "--no-database"), "write VENUE:TF=PATH"),
    (("replay", "--bars", "binance:1m=/nowhere.parquet", "--no-database"), "nowhere"),
    (("replay", *TWO, "--timeframes", "2m", "--no-database"), "use one of 1m 5m"),
    (("replay", *TWO, "--tokens", "NIX", "--no-database"), "the tokens there are"),
    (("replay", *TWO, "--from", "yesterday", "--no-database"), "write 2025-05-25T00:00"),
    (("replay", *TWO, "--config", "/nowhere.toml", "--no-database"), "cannot be read"),
    (("config", "show", "--config", "/nowhere.toml"), "cannot be read"),
    (("run", "--simulate", "--days", "0", "--dsn", "unused"), "at least one token and one day"),
]


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(("arguments", "cure"), REFUSED)
def test_what_is_refused_ends_with_2_and_names_the_cure(lotus: Lotus, arguments: tuple[Any, ...], cure: str) -> None:
    told = lotus(*arguments)
    assert told.code == 2, told.err
    assert told.err.startswith("lotus: ")
    assert cure in told.err
    assert told.out == ""


def test_an_unknown_option_ends_with_2(lotus: Lotus) -> None:
    assert lotus("replay", "--nonsense").code == 2
    assert lotus("nonsense").code == 2


def test_an_unknown_key_of_the_environment_is_refused_with_a_suggestion(
    lotus: Lotus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTUS__PAPER__FEE_BSP", "7")
    told = lotus("config", "show")
    assert (told.code, "did you mean paper.fee_bps?" in told.err) == (2, True)


@pytest.mark.parametrize("verb", [("migrate",), ("explain",), ("replay", *TWO)])
def test_a_database_that_does_not_answer_ends_with_3(lotus: Lotus, verb: tuple[str, ...]) -> None:
    told = lotus(*verb, "--dsn", "host=/nowhere dbname=none")
    assert told.code == 3
    assert "--dsn" in told.err
    assert "Traceback" not in told.err


def test_explaining_where_there_is_no_run_ends_with_2(lotus: Lotus, database: str) -> None:
    told = lotus("explain", "--dsn", database)
    assert (told.code, "lotus run" in told.err) == (2, True)


def test_a_run_id_that_is_taken_ends_with_4(lotus: Lotus, database: str) -> None:
    name = ("--run-id", "taken", "--dsn", database)
    assert lotus("replay", *TWO, *name).code == 0
    told = lotus("replay", *TWO, "--tokens", "BTC", *name)
    assert told.code == 4
    assert "give this run another --run-id" in told.err


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (None, None),
        ("1748390400000", FIRST_MS),
        ("2025-05-28", FIRST_MS),
        ("2025-05-28T00:00:00Z", FIRST_MS),
        ("2025-05-28T02:00+02:00", FIRST_MS),
        ("2025-05-28 00:01", FIRST_MS + 60_000),
    ],
)
def test_times_are_utc_or_milliseconds(text: str | None, ms: int | None) -> None:
    assert moment(text) == ms


# ----------------------------------------------------------------------------------------------- in a process alone


def test_as_a_process_it_prints_json_alone_and_ends_quietly_when_its_reader_is_gone(sample_run: SampleRun) -> None:
    command = [sys.executable, "-m", "flows.cli", "explain", "--dsn", sample_run.dsn, "--run-id", RUN_ID]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["exact"]
    assert done.stderr == ""
    gone = subprocess.run(["sh", "-c", '"$@" | head -c 1', "sh", *command], capture_output=True, text=True, check=True)
    assert gone.stderr == ""


def test_after_compiling_a_run_compiles_nothing_more(database: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.flows.after_compiling", database]
    state = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=state, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}, "let flows/warmup.py call these as a run does"
