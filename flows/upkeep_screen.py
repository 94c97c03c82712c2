"""What upkeep has done, as plain lines."""

from typing import Any

from flows.screen import OUT


def print_drained(left: dict[str, int]) -> None:
    """What was sent for whom."""
    for writer, messages in left.items():
        OUT.print(f"{writer}: {messages} messages sent")
    if not left:
        OUT.print("nothing was left")


def print_rescaled(done: dict[str, Any]) -> None:
    """What became of the shares."""
    if done["before"] == done["after"]:
        OUT.print(f"{done['flow']} has {done['after']} shares already")
        return
    steps = ", ".join(f"{step} {ms} ms" for step, ms in done["ms"].items())
    OUT.print(f"{done['flow']}: {done['before']} -> {done['after']} shares, {done['keys']} kernels, {steps}")
