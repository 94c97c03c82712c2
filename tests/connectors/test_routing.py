"""Every row of a live flow has one place, whichever flow writes it."""

import pytest

from connectors.live import LiveConfig, Share
from connectors.postgres.units import Target
from connectors.routing import WRITERS, Routing
from connectors.topics import topics
from connectors.universe import plan_of
from lotus.config import Config
from lotus.lane import Lane
from lotus.plan import BOARD
from lotus.timeframe import Timeframe
from lotus.written import CANDLES, EXECUTIONS
from schemas.partition import partition_of

START_MS = 1_750_000_020_000
LIVE = LiveConfig(at_venue=True)
HOME = partition_of("BTC", LIVE.partitions)


def routing(flow: str) -> Routing:
    plan = plan_of(Config(), LIVE, START_MS)
    return Routing(plan, flow, Share(), LIVE.partitions, "shop-")


@pytest.mark.parametrize("flow", [flow for flow, writers in WRITERS.items() if "decisions" in writers])
def test_an_execution_that_was_not_booked_is_beside_the_fills_whatever_flow_booked_the_others(flow: str) -> None:
    found = routing(flow)
    lane = Lane("BTC", LIVE.venue, Timeframe.H1)
    place = Target("shop-pm.fills.v1", HOME)
    assert found.target("dead_letter", lane._replace(token=EXECUTIONS + lane.token)) == place
    assert found.target("fill", lane) == place
    assert place in found.targets


@pytest.mark.parametrize("flow", [flow for flow, writers in WRITERS.items() if "bars" in writers])
def test_other_dead_letters_have_a_topic_of_their_own(flow: str) -> None:
    found = routing(flow)
    for token in ("BTC", CANDLES + "BTC", f"partition:{HOME}"):
        lane = Lane(token, LIVE.venue, Timeframe.M1)
        assert found.target("dead_letter", lane) == Target("shop-md.dlq.v1", HOME)


def test_every_stream_is_owned_by_one_of_the_separate_flows_at_most() -> None:
    flows = {flow: routing(flow) for flow, writers in WRITERS.items() if writers == (flow,)}
    nouns = {noun for topic in topics().values() if topic.writer in flows for noun in topic.nouns}
    nouns.remove("watermark")  # a promise, no stream
    tokens = ("BTC", CANDLES + "BTC", EXECUTIONS + "BTC", f"partition:{HOME}", BOARD, "idx:ALT", "dom:BTC")
    lanes = [Lane(token, LIVE.venue, timeframe) for token in tokens for timeframe in (Timeframe.M1, Timeframe.H1)]
    for noun in sorted(nouns):
        for lane in lanes:
            owners = [flow for flow, found in flows.items() if found.target(noun, lane) in found.targets]
            assert len(owners) <= 1, f"{noun} of {lane.token}: {owners}"


def test_who_books_executions_does_not_take_the_letters_of_ticks_for_its_own() -> None:
    assert routing("decisions").target("dead_letter", Lane("BTC", LIVE.venue, Timeframe.M1)) is None
