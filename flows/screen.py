"""What people see: plain lines and small tables, progress on a terminal only."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

OUT = Console(highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """What is worth knowing beside the result goes to stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"lotus: {text}", markup=False)


@contextmanager
def progress(what: str, *, enabled: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, on a terminal of its own file: the engine's stderr is kept back meanwhile."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda _done, _of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        console = Console(file=terminal, highlight=False)
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def working(what: str, *, enabled: bool) -> Iterator[None]:
    """A sign of life, with the seconds that have passed, for work of unknown length; off a terminal one line."""
    if not (enabled and sys.stderr.isatty()):
        if enabled:
            note(what)
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as sign:
        sign.add_task(what, total=None)
        yield


def print_migrations(story: dict[str, Any]) -> None:
    """What a migration did."""
    OUT.print("applied " + ", ".join(story["applied"]) if story["applied"] else "the tables are up to date")


def print_topics(found: list[dict[str, Any]]) -> None:
    """The topics of a deployment."""
    for topic in found:
        OUT.print(f"{topic['topic']:<24} {topic['partitions']:>4}  {topic['writer']:<10} {', '.join(topic['nouns'])}")


def print_up(told: dict[str, Any]) -> None:
    """Where everything is."""
    OUT.print(f"Kafka      {told['brokers']}")
    OUT.print(f"Postgres   {escape(told['dsn'])}")
    OUT.print(f"directory  {escape(told['directory'])}  (logs/, state/, servers)")
    OUT.print(f"running    {told['mode']}, feed {told['feed']}; Ctrl-C or `lotus down` ends it")


def print_status(children: list[tuple[str, str, int]], found: Any) -> None:
    """One line on how a deployment goes."""
    processes = ", ".join(f"{name} {state}" + (f" (start {n})" if n > 1 else "") for name, state, n in children)
    reached = f"complete to {found.reached}" if found.reached else "no minute closed yet"
    OUT.print(f"{reached:<29} {found.counts}; {escape(processes)}")


def print_down(story: dict[str, Any]) -> None:
    """What became of a deployment."""
    OUT.print("ended" if story["ended"] else f"nothing runs in {escape(story['directory'])}")


def print_command(story: dict[str, Any]) -> None:
    """A command that was written."""
    OUT.print(f"{story['action']} {escape(story['token'])}: written as {story['command_id']}")


def print_fetched(found: list[dict[str, Any]]) -> None:
    """What was downloaded."""
    for one in found:
        gaps = f", {len(one['gaps'])} gaps" if one["gaps"] else ""
        refused = f", {len(one['refused'])} refused" if one["refused"] else ""
        OUT.print(f"{escape(one['token']):<10} {one['timeframe']:<4} {one['rows']:>8,} candles{gaps}{refused}")


def print_findings(findings: list[dict[str, Any]]) -> None:
    """What the doctor found."""
    for finding in findings:
        mark = "[green]ok[/green]  " if finding["ok"] else "[red]bad[/red] "
        cure = f"  -> {finding['cure']}" if finding["cure"] else ""
        OUT.print(f"{mark} {finding['name']:<14} {escape(finding['found'] + cure)}")


def print_compiled(story: dict[str, Any]) -> None:
    """How long compiling took."""
    if story["compiled"]:
        OUT.print(f"{story['compiled']} kernels compiled in {story['seconds']} s")
    else:
        OUT.print(f"all {story['kernels']} kernels are compiled already")


def print_settings(story: dict[str, Any]) -> None:
    """Configured values."""
    for row in story["settings"]:
        beside = ", ".join(filter(None, (row.get("origin"), row.get("spec"), row.get("unit"))))
        OUT.print(f"{row['key']} = {json.dumps(row['value'])}" + (f"  # {beside}" if beside else ""), markup=False)
    if not story["settings"]:
        OUT.print("all values are defaults: show them with --resolved")
    OUT.print(f"hash {story['hash']}")
