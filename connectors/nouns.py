"""The catalogue of what is written down: noun -> record class, identity, order (replay.md 8).

One noun is one table, one Parquet file, one mark stream per (token, venue, timeframe). Layouts are read from the
records; nothing here repeats a column.
"""

from dataclasses import dataclass

from lotus import mending, records
from lotus.columns import Column, Columns
from lotus.lane import Lane

RUN_COLUMN = "run_id"
LANE_COLUMNS = Lane._fields
NEVER_WRITTEN = "history"  # marks warm-up rows, which are not written down


@dataclass(frozen=True, slots=True)
class Noun:
    """One kind of row.

    name      of the table
    rows      the record class that declares its columns
    identity  columns that name a row within its run
    order     the column in whose nondecreasing order the rows of one lane are written; dead letters have none,
              because a lane may collect them from several files
    """

    name: str
    rows: type[Columns]
    identity: tuple[str, ...]
    order: str | None

    def layout(self) -> dict[str, Column]:
        """The written columns of the record, in order, after run and lane."""
        return {name: column for name, column in self.rows.layout().items() if name != NEVER_WRITTEN}


_BAR = (*LANE_COLUMNS, "ts")
NOUNS: dict[str, Noun] = {
    noun.name: noun
    for noun in (
        Noun("bar", records.Bars, _BAR, "ts"),
        Noun("bar_revision", records.BarRevisions, (*_BAR, "rev"), "known_ts"),
        Noun("bar_candle", mending.BarCandles, (*_BAR, "sequence"), "known_ts"),
        Noun("trend", records.Trend, _BAR, "ts"),
        Noun("posture", records.Postures, _BAR, "ts"),
        Noun("decision", records.Decisions, (*_BAR, "kind"), "ts"),
        Noun("refusal", records.Refusals, (*_BAR, "kind"), "ts"),
        Noun("fill", records.Fills, (*_BAR, "kind", "sequence"), "ts"),
        Noun("position", records.Positions, _BAR, "ts"),
        Noun("episode", records.Episodes, (*_BAR, "kind"), "ts"),
        Noun("dead_letter", records.DeadLetters, ("source", "position"), None),
    )
}
