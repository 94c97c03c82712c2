"""The result of a replay on one screen."""

from typing import Any

from flows.screen import OUT
from flows.story_screen import print_brief
from flows.words import counted

MONEY = ("buys", "sells", "held", "profit")


def print_summary(told: dict[str, Any]) -> None:
    """What came in, what was decided and refused, what it earned."""
    speed = f"{told['bars_per_cpu_second']:,} bars per CPU-second"
    OUT.print(
        f"\n[bold]run {told['run_id']}[/bold]  {told['bars']:,} bars in {told['seconds']} s, "
        f"{told['cpu_seconds']} CPU-s, {speed}"
    )
    OUT.print(f"rows in    {told['rows_in']:,} = accepted {told['accepted']:,} + dead {told['dead']:,}")
    OUT.print(f"inserted   {counted(told['inserted'])}")
    if told["verified"]:
        OUT.print(f"verified   {counted(told['verified'])}")
    if not told["complete"]:
        OUT.print(f"[yellow]stopped[/yellow]    after slice {told['done_slices']} of {told['slices']}")
        return
    if "decisions" in told:
        _print_outcome(told)


def print_demo(told: dict[str, Any]) -> None:
    """The summary, then a few decisions and a refusal explained."""
    print_summary(told)
    stories = told.get("explained", ())
    for place, story in enumerate(stories, start=1):
        print_brief(place, story)
    if stories:
        story = stories[0]
        OUT.print("\nAll of it, or any other bar: ", end="")
        OUT.print(f"[bold]lotus explain {story['token']} {story['timeframe']} {story['bar']}[/bold]")


def _print_outcome(told: dict[str, Any]) -> None:
    OUT.print(f"decided    {counted(told['decisions'])}")
    for kind, gates in _by_kind(told["refusals"]).items():
        OUT.print(f"refused    {kind}: {counted(gates)}")
    OUT.print(f"episodes   {counted(told['episodes'])}")
    if told["dead_letters"]:
        OUT.print(f"dead       {counted(told['dead_letters'])}")
    stale = [lane for lane in told["money"] if lane["stale"]]
    if stale:
        named = (f"{lane['token']} {lane['timeframe']} {_usd(lane['held'])} USD" for lane in stale)
        OUT.print(f"stale      {', '.join(named)}: the series ended early, the position is open")
    if told["money"]:
        _print_money(told["money_by_timeframe"])


def _by_kind(refusals: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {}
    for entry in refusals:
        kinds.setdefault(entry["kind"], {})[entry["gate"]] = entry["count"]
    return kinds


def _print_money(rows: list[dict[str, Any]]) -> None:
    OUT.print(f"{'USD':<8}{'lanes':>6}{'fills':>8}" + "".join(f"{name:>16}" for name in MONEY))
    for row in rows:
        figures = "".join(f"{_usd(row[name]):>16}" for name in MONEY)
        OUT.print(f"{row['timeframe']:<8}{row['lanes']:>6}{row['fills']:>8,}{figures}")


def _usd(value: float) -> str:
    return f"{value:,.2f}"
