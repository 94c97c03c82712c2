"""What people see of the input log's archive, of its replay, and of what a comparison found."""

from datetime import UTC, datetime
from typing import Any

from rich.markup import escape

from flows.screen import OUT

DIGITS = 16  # of a hash; `--json` has all of them


def print_archive(story: dict[str, Any]) -> None:
    """How far an archive goes."""
    for partition, next_ in story["next"].items():
        first = story["first"][partition]
        kept = "nothing" if next_ < 0 else f"offsets {first} to {next_ - 1}"
        OUT.print(f"{escape(story['topic'])} [{partition}]: {kept}", markup=False)
    OUT.print(f"archive {story['archive']}", markup=False)


def print_log_replay(story: dict[str, Any]) -> None:
    """Rows of a replayed log."""
    for noun, rows in sorted(story["rows"].items()):
        OUT.print(f"{noun:<16} {rows:>12}")
    OUT.print(f"run {story['run']}" + ("" if story["complete"] else ", stopped: the same command goes on there"))


def print_verdict(story: dict[str, Any]) -> None:
    """Noun by noun, then one hash over all."""
    OUT.print(f"{'':<16} {'live':>12} {'replay':>12}  {'sha256':<{DIGITS}}")
    for one in story["compared"]:
        mark = "[green]equal[/green]" if one["equal"] else "[red]differs[/red]"
        OUT.print(f"{one['what']:<16} {one['live']:>12} {one['replay']:>12}  {one['sha256'][:DIGITS]}  {mark}")
        if one["difference"]:
            OUT.print(f"  {one['difference']}", markup=False)
    reached = datetime.fromtimestamp(story["reached_ms"] / 1000, UTC)
    OUT.print(f"compared to {reached:%Y-%m-%d %H:%M} UTC: run {story['run']}, its replay {story['replay']}")
    if not any(one["live"] or one["replay"] for one in story["compared"]):
        OUT.print("nothing was compared: that proves nothing")
    OUT.print(f"sha256 {story['sha256']}")
