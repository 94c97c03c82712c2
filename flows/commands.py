"""The verbs of the command line; each reads its options, calls one function and shows what came of it."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors import sample
from connectors.inputs import BarsFile, HistoryFile, InputError, Inputs, TicksFile, timeframe_of
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from connectors.settings import config_schema, load_settings
from connectors.simulator import Market
from connectors.tape import SLICE_ROWS
from flows import doctor, explain, screen, summary, warmup
from flows.database import Dsn
from flows.interrupt import stop_on_signals
from flows.replay_job import EPOCH
from flows.session import Report, Request, run
from flows.story_screen import print_story
from flows.summary_screen import print_demo, print_summary
from lotus.timeframe import Timeframe

DATABASE = "lotus"
DEMO_TIMEFRAMES = "1m,15m,1h"
INTERRUPTED = 130  # as shells have it for Ctrl-C

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
config_app = typer.Typer(no_args_is_help=True, help="Show the configuration and its schema.")
app.add_typer(config_app, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; LOTUS__SECTION__KEY overrides it.")]
Export = Annotated[Path | None, typer.Option(help="Folder for one Parquet file per noun.")]
Frames = Annotated[str, typer.Option(help="Timeframes to trade, comma-separated.")]


@app.callback()
def lotus() -> None:
    """Lotus: ticks to explained position decisions, the same bits live, in replay and in tests."""


@app.command("run")
def run_command(
    simulate: Annotated[bool, typer.Option(help="A simulated market instead of the recorded sample.")] = False,
    tokens: Annotated[int, typer.Option(help="Tokens of the simulated market.")] = 12,
    days: Annotated[int, typer.Option(help="Days of the simulated market.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    timeframes: Frames = DEMO_TIMEFRAMES,
    config: ConfigFile = None,
    dsn: Dsn = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """The demo: replay a market through the whole river and explain a few decisions."""
    inputs = Inputs() if simulate else sample_inputs()
    market = _market(tokens, days, seed) if simulate else None
    settings = load_settings(config, os.environ)
    with _database(dsn, wanted=True) as database:
        request = Request(inputs, settings, _timeframes(timeframes), market=market, dsn=database, export=export)
        _replay(request, as_json=as_json, explained=True)


@app.command("replay")
def replay_command(
    bars: Annotated[list[str], typer.Option(help="VENUE:TF=PATH, repeatable.")] = [],  # noqa: B006 - typer's form
    ticks: Annotated[list[str], typer.Option(help="VENUE=PATH, repeatable.")] = [],  # noqa: B006
    history: Annotated[list[str], typer.Option(help="VENUE:TF=PATH[:TOKENS], warm-up, repeatable.")] = [],  # noqa: B006
    dominance: Annotated[Path | None, typer.Option(help="Dominance samples.")] = None,
    buckets: Annotated[Path | None, typer.Option(help="Point-in-time table token, since, bucket.")] = None,
    tokens: Annotated[str, typer.Option(help="Tokens, comma-separated; default: all.")] = "",
    timeframes: Frames = "1h",
    start: Annotated[str | None, typer.Option("--from", help="First time, ISO 8601 UTC or ms.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Time after the last, ISO 8601 UTC or ms.")] = None,
    config: ConfigFile = None,
    run_id: Annotated[str | None, typer.Option(help="Default: a hash of everything that determines the run.")] = None,
    dsn: Dsn = None,
    database: Annotated[bool, typer.Option(help="Write into Postgres.")] = True,
    export: Export = None,
    takeover: Annotated[bool, typer.Option(help="End another writer of this run.")] = False,
    slice_rows: Annotated[int, typer.Option(min=1, hidden=True)] = SLICE_ROWS,
    epoch_seconds: Annotated[float, typer.Option(min=0, hidden=True)] = EPOCH.total_seconds(),
    as_json: Json = False,
) -> None:
    """Replay recorded bars and ticks; the same run again is verified, not written twice."""
    inputs = Inputs(
        bars=tuple(BarsFile.parse(text) for text in bars),
        ticks=tuple(TicksFile.parse(text) for text in ticks),
        history=tuple(HistoryFile.parse(text) for text in history),
        dominance=dominance,
        buckets=buckets,
        tokens=tuple(filter(None, tokens.split(","))),
        start_ms=moment(start),
        end_ms=moment(end),
    )
    settings = load_settings(config, os.environ)
    with _database(dsn, wanted=database) as where:
        request = Request(
            inputs,
            settings,
            _timeframes(timeframes),
            run_id=run_id,
            dsn=where,
            export=export,
            takeover=takeover,
            epoch=timedelta(seconds=epoch_seconds),
            slice_rows=slice_rows,
        )
        _replay(request, as_json=as_json, explained=False)


@app.command("explain")
def explain_command(
    token: Annotated[str | None, typer.Argument(help="Token; default: the last decision of the run.")] = None,
    timeframe: Annotated[str | None, typer.Argument(help="Timeframe.")] = None,
    at: Annotated[str | None, typer.Argument(help="Open time of the bar, ISO 8601 UTC or ms.")] = None,
    number: Annotated[str | None, typer.Option(help=f"One number: {', '.join(explain.NUMBERS)}.")] = None,
    venue: Annotated[str | None, typer.Option(help="Venue, where several have the token.")] = None,
    run_id: Annotated[str | None, typer.Option(help="Default: the run started last.")] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Why: a decision, a refusal or one number, as terms that sum exactly, with inputs and their times."""
    with _database(dsn, wanted=True) as database, connect(_present(database)) as connection:
        migrate(connection)
        asked = explain.Asked(token, timeframe, moment(at), number, venue, run_id)
        story = explain.tell(connection, asked)
    shown(story, as_json, print_story)


@app.command("migrate")
def migrate_command(dsn: Dsn = None, as_json: Json = False) -> None:
    """Bring the tables of a database up to date."""
    with _database(dsn, wanted=True) as database, connect(_present(database)) as connection:
        applied = migrate(connection)
    shown({"applied": applied}, as_json, screen.print_migrations)


@app.command("doctor")
def doctor_command(dsn: Dsn = None, as_json: Json = False) -> None:
    """Check what a run needs: interpreter, packages, kernels, server, folders."""
    findings = doctor.examine(dsn)
    shown([finding._asdict() for finding in findings], as_json, screen.print_findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)


@app.command("compile")
def compile_command(
    second_part: Annotated[bool, typer.Option(warmup.SECOND_PART, hidden=True)] = False, as_json: Json = False
) -> None:
    """Compile the kernels, once per version of their sources; later starts find them."""
    if second_part:
        warmup.call_edges()
        return
    began, before = time.perf_counter(), warmup.kernels()
    with screen.working("compiling the kernels", enabled=not as_json):
        warmup.compile_kernels()
    kernels, seconds = warmup.kernels(), round(time.perf_counter() - began, 1)
    told = {"kernels": kernels, "compiled": kernels - before, "seconds": seconds}
    shown(told, as_json, screen.print_compiled)


@config_app.command("show")
def config_show(
    config: ConfigFile = None,
    resolved: Annotated[bool, typer.Option(help="All values, not only those that were set.")] = False,
    origin: Annotated[bool, typer.Option(help="Where each value comes from.")] = False,
    as_json: Json = False,
) -> None:
    """The configuration after TOML and environment."""
    settings = load_settings(config, os.environ)
    rows = [vars_of(setting) for setting in settings.leaves() if resolved or setting.origin != "default"]
    listed = rows if origin else [{"key": row["key"], "value": row["value"]} for row in rows]
    shown({"hash": settings.digest(), "settings": listed}, as_json, screen.print_settings)


@config_app.command("schema")
def config_schema_command() -> None:
    """The JSON Schema of the configuration."""
    typer.echo(json.dumps(config_schema(), indent=2, sort_keys=True))


def sample_inputs() -> Inputs:
    """The real market that ships with the project."""
    return Inputs(
        bars=(BarsFile(sample.VENUE, Timeframe.M1, sample.BARS_1M),),
        history=(
            HistoryFile(sample.VENUE, Timeframe.H1, sample.HISTORY_1H),
            HistoryFile(sample.VENUE, Timeframe.D1, sample.HISTORY_1D),
        ),
        dominance=sample.DOMINANCE_1D,
        buckets=sample.BUCKETS,
    )


def moment(text: str | None) -> int | None:
    """A time as ms UTC; raises InputError."""
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is no time: write 2025-05-25T00:00 (UTC) or milliseconds") from None
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def vars_of(setting: Any) -> dict[str, Any]:
    """A setting as a row."""
    return {name: getattr(setting, name) for name in ("key", "value", "origin", "spec", "unit")}


def _timeframes(text: str) -> tuple[Timeframe, ...]:
    return tuple(timeframe_of(part.strip()) for part in text.split(",") if part.strip())


def _market(tokens: int, days: int, seed: int) -> Market:
    try:
        return Market(tokens, days, seed)
    except ValueError as error:
        raise InputError(str(error)) from None


@contextmanager
def _database(dsn: str | None, *, wanted: bool) -> Iterator[str | None]:
    """The database to use: the one that was named, else the embedded server's, which stays on for the next command."""
    if dsn is not None or not wanted:
        yield dsn if wanted else None
        return
    yield EmbeddedPostgres().start().ensure_database(DATABASE)


def _present(dsn: str | None) -> str:
    assert dsn is not None, "this command always has a database"
    return dsn


def _replay(request: Request, *, as_json: bool, explained: bool) -> None:
    """Run, show what came of it, and explain a few decisions if that was asked for."""
    with stop_on_signals() as stop:
        with screen.progress("replaying", enabled=not as_json) as advance:
            report = run(request, advance, stopped=stop, tell=screen.note)
        if report.complete:
            told = _outcome(report, request, explained=explained)
            shown(told, as_json, print_demo if explained else print_summary)
            return
    shown(summary.bare_summary(report), as_json, print_summary)
    resumes = request.dsn is not None and request.export is None
    screen.note(f"stopped; the same command {'goes on there' if resumes else 'starts from the beginning'}")
    if stop.signal is signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _outcome(report: Report, request: Request, *, explained: bool) -> dict[str, Any]:
    if request.dsn is None:
        return summary.bare_summary(report)
    with connect(request.dsn) as connection:
        told = summary.summary(connection, report)
        return {**told, "explained": summary.examples(connection, report.run_id)} if explained else told


def shown(value: Any, as_json: bool, printer: Any) -> None:
    """One JSON line, or what people read."""
    if as_json:
        sys.stdout.write(json.dumps(value, default=str) + "\n")
        sys.stdout.flush()  # what is said afterwards on stderr comes afterwards
    else:
        printer(value)
