"""Every row of a live flow has one place, whichever flow writes it."""

import pytest

from connectors.live import LiveConfig, Share
from connectors.postgres.units import Target
from connectors.routing import WRITERS, Routing
from connectors.universe import plan_of
from lotus.config import Config
from lotus.lane import Lane
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
