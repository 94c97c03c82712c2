"""An operator's commands on their way to a lane: HALT stops its buys, RESUME lets them go on.

    bars      --|-----|-----|-----|-->     a command read at W takes effect for bars that close after W:
    commands  -----H-----------R----->     entries and adds between H and R are refused; trims and exits go on

Commands come in the order in which they were read, several of one instant perhaps in several batches. Each has an id:
seen twice it changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from lotus.intake import Action, Commands
from lotus.kernel import Chunk, first_fresh
from lotus.position.gates import Halt
from lotus.position.inbox import NOTHING_MS

IDS_KEPT = 64  # bound of the memory for commands that come again


@dataclass(frozen=True, slots=True)
class CommandBox:
    """Commands of one lane: those that wait, how far they are complete, the last one's time, the last ones' ids."""

    waiting: Commands = field(default_factory=Commands.empty)
    watermark_ms: int = NOTHING_MS
    seen_ms: int = NOTHING_MS
    ids: tuple[str, ...] = ()

    def after(self, chunks: Iterable[Chunk[Commands]]) -> "CommandBox":
        """Take in what was not seen before; `ts` is when a command was read."""
        box = self
        for chunk in chunks:
            box = box._after(chunk)
        return box

    def until(self, passed_ms: int) -> tuple[Commands, "CommandBox"]:
        """The commands read at or before `passed_ms`, and the box that keeps the others."""
        count = first_fresh(self.waiting.ts, passed_ms) if len(self.waiting) else 0
        if not count:
            return Commands.empty(), self
        return self.waiting.take(slice(count)), replace(self, waiting=self.waiting.take(slice(count, None)))

    def _after(self, chunk: Chunk[Commands]) -> "CommandBox":
        watermark_ms = max(self.watermark_ms, chunk.watermark_ms)
        box = CommandBox(self.waiting, watermark_ms, self.seen_ms, self.ids)
        if not len(chunk):
            return box
        fresh: list[int] = []
        ids = list(self.ids)
        for row, (ts, name) in enumerate(zip(chunk.rows.ts.tolist(), chunk.rows.command_id.tolist(), strict=True)):
            if ts >= self.seen_ms and name not in ids:
                fresh.append(row)
                ids = [*ids, name][-IDS_KEPT:]
        if not fresh:
            return box
        rows = chunk.rows.take(np.array(fresh, np.int64))
        return replace(box, waiting=Commands.concat([self.waiting, rows]), seen_ms=int(rows.ts[-1]), ids=tuple(ids))


def halts_of(commands: Commands) -> list[tuple[int, Halt | None]]:
    """When each command was read, and the halt that it orders; None ends one."""
    columns = (commands.ts, commands.action, commands.author, commands.command_id)
    return [
        (ts, Halt(ts, author, name) if action == Action.HALT else None)
        for ts, action, author, name in zip(*(column.tolist() for column in columns), strict=True)
    ]
