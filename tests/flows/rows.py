"""Written rows collected and compared, whoever wrote them."""

from collections.abc import Iterable

from bytewax.testing import run_main

from connectors.memory import CallSink
from connectors.slices import FeedSource
from flows import replay
from lotus import river
from lotus.columns import Columns
from lotus.feed import Feed
from lotus.lane import Lane
from lotus.plan import Plan
from lotus.written import Written
from tests.conformance.laws import digest

Tables = dict[tuple[str, Lane], Columns]


def tables(items: Iterable[Written]) -> Tables:
    """All rows by noun and lane, in the order in which they came."""
    parts: dict[tuple[str, Lane], list[Columns]] = {}
    for item in items:
        if len(item.rows):
            parts.setdefault((item.noun, item.lane), []).append(item.rows)
    return {key: type(rows[0]).concat(rows) for key, rows in sorted(parts.items())}


def digests(found: Tables) -> dict[tuple[str, Lane], str]:
    """A hash of every bit of every table."""
    return {key: digest(rows) for key, rows in found.items()}


def by_river(plan: Plan, feed: Feed) -> Tables:
    """Rows of the river without an engine."""
    return tables(item for items in river.run(plan, feed) for item in items)


def by_flow(plan: Plan, feed: Feed) -> Tables:
    """Rows of the dataflow, in memory."""
    rows: list[Written] = []
    run_main(replay.build(plan, FeedSource(feed), CallSink(rows.extend)))
    return tables(rows)
