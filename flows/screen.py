"""What people see: tables and sentences on a terminal, plain lines elsewhere, progress on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False)


@contextmanager
def progress(*, enabled: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over the slices of a run."""
    if not (enabled and ERR.is_terminal):
        yield lambda _done, _of: None
        return
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task("replaying", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def working(text: str, *, enabled: bool) -> Iterator[None]:
    """A sign of life for work of unknown length; one line where there is no terminal."""
    if enabled and ERR.is_terminal:
        with ERR.status(text):
            yield
    else:
        if enabled:
            ERR.print(text)
        yield


def print_summary(story: dict[str, Any]) -> None:
    """The result of a replay."""
    OUT.print(f"\nrun {story['run_id']}: {story['seconds']} s, {story['cpu_seconds']} CPU-s")
    if story["rows_in"]:
        OUT.print(f"rows in {story['rows_in']:,} = accepted {story['accepted']:,} + dead {story['dead']:,}")
    counts = Table("noun", "inserted now", "verified", "in the table")
    for noun in sorted({*story["inserted"], *story["verified"], *story.get("rows", {})}):
        row = (story["inserted"].get(noun, 0), story["verified"].get(noun, 0), story.get("rows", {}).get(noun, ""))
        counts.add_row(noun, *(f"{value:,}" if value != "" else "" for value in row))
    OUT.print(counts)
    if "decisions" not in story:
        return
    OUT.print("decisions: " + _counted(story["decisions"]))
    refusals = Table("refused", "gate", "times")
    for entry in story["refusals"]:
        refusals.add_row(entry["kind"], entry["gate"], f"{entry['count']:,}")
    OUT.print(refusals)
    OUT.print("episodes: " + _counted(story["episodes"]))
    if story["dead_letters"]:
        OUT.print("dead letters: " + _counted(story["dead_letters"]))
    _print_money(story["money"])
    for told in story.get("explained", ()):
        print_story(told)
    if story.get("explained"):
        told = story["explained"][0]
        OUT.print(f"\nAsk for any other bar: lotus explain {told['token']} {told['timeframe']} {told['bar']}")


def print_story(story: dict[str, Any]) -> None:
    """A bar and why what was done on it was done."""
    lane = f"{story['venue']}:{story['token']} {story['timeframe']}"
    OUT.print(f"\n[bold]{lane}[/bold], bar {story['bar']}, known at {story['known_at']}, run {story['run_id']}")
    for decision in story.get("decisions", ()):
        _print_decision(decision)
    for refusal in story.get("refusals", ()):
        margin = "" if refusal["margin"] is None else f", margin {refusal['margin']:+.6g}"
        OUT.print(f"  refused {refusal['kind']}: gate {refusal['gate']}{margin}; {_pairs(refusal['operands'])}")
    for fill in story.get("fills", ()):
        OUT.print(f"  filled {fill['kind']}: {fill['qty']} at {fill['price']} = {fill['usd']} USD, fee {fill['fee']}")
    if story.get("sentence"):
        OUT.print(f"  {story['sentence']}")
    for name, entry in story["numbers"].items():
        _print_sum(name, entry)
    inputs = {name: value for name, value in story["inputs"].items() if value is not None}
    OUT.print(f"  inputs: {_pairs(inputs)}")


def print_migrations(story: dict[str, Any]) -> None:
    """What a migration did."""
    OUT.print("applied " + ", ".join(story["applied"]) if story["applied"] else "the tables are up to date")


def print_findings(findings: list[dict[str, Any]]) -> None:
    """What the doctor found."""
    for finding in findings:
        mark = "[green]ok[/green]  " if finding["ok"] else "[red]bad[/red] "
        cure = f"  -> {finding['cure']}" if finding["cure"] else ""
        OUT.print(f"{mark} {finding['name']:<14} {finding['found']}{cure}")


def print_compiled(story: dict[str, Any]) -> None:
    """How long compiling took."""
    OUT.print(f"kernels compiled and run in {story['seconds']} s")


def print_settings(story: dict[str, Any]) -> None:
    """Configured values."""
    table = Table("key", "value", "origin", "spec", "unit")
    for row in story["settings"]:
        table.add_row(row["key"], str(row["value"]), row.get("origin", ""), row.get("spec", ""), row.get("unit", ""))
    OUT.print(table if story["settings"] else "all values are defaults: show them with --resolved")
    OUT.print(f"hash {story['hash']}")


def _print_decision(decision: dict[str, Any]) -> None:
    size = f"{decision['usd']} USD" if decision["usd"] is not None else f"{decision['fraction']} of the quantity"
    OUT.print(
        f"  [bold]{decision['kind']}[/bold] {size} at {decision['price']}: state {decision['state']}, "
        f"A {decision['a']:.4f} ({decision['mode_a']}), E {decision['e']:.4f} ({decision['mode_e']}), "
        f"pattern {decision['pattern_key']}, {decision['category']}"
    )
    for name, value in decision["reasons"].items():
        OUT.print(f"    {name}: {_pairs(value)}")


def _print_sum(name: str, entry: dict[str, Any]) -> None:
    verdict = "exact" if entry["exact"] else "[red]does not sum[/red]"
    OUT.print(f"  {name} = {entry['stored']!r} ({verdict})")
    for term in entry["terms"]:
        source = f"  since {term['since']}, bar {term['source_bar']}" if "since" in term else ""
        silenced = "  suppressed" if term.get("suppressed") else ""
        OUT.print(f"    {term['value']:+.6f}  {term['name']}{source}{silenced}")


def _print_money(rows: list[dict[str, Any]]) -> None:
    table = Table("token", "venue", "timeframe", "buys USD", "sells USD", "held USD", "profit USD", "")
    for row in rows:
        figures = (f"{row[name]:,.2f}" for name in ("buys", "sells", "held", "profit"))
        table.add_row(row["token"], row["venue"], row["timeframe"], *figures, "stale" if row["stale"] else "")
    OUT.print(table)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _pairs(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_pairs(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(_pairs(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
