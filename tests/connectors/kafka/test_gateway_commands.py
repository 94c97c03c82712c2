"""Commands through the gateway: one token, or all of them."""

from typing import Any

import pytest

from connectors.kafka.gateway import ALL, Gateway, GatewayError, Order
from lotus.intake import Action
from schemas.partition import partition_of
from tests.connectors.memory_log import MemoryLog

LANES = [(token, "hl", timeframe) for token in ("BTC", "ETH", "SOL") for timeframe in ("1m", "1h")]
HALT = Order(1_767_225_600_000, Action.HALT, "c1", "ada")


def gateway() -> tuple[Gateway, MemoryLog]:
    log: Any = MemoryLog(8)
    return Gateway(log, LANES), log


def test_a_command_for_all_stands_once_in_the_partition_of_every_traded_token() -> None:
    door, log = gateway()
    door.command(ALL, HALT)
    told = sorted((message.partition, (message.key or b"").decode()) for message in log.everything())
    assert told == sorted((partition_of(token, 8), token) for token in ("BTC", "ETH", "SOL"))
    assert log.flushed == 1


def test_a_command_for_one_token_reaches_that_token_alone() -> None:
    door, log = gateway()
    door.command("ETH", HALT)
    assert [message.key for message in log.everything()] == [b"ETH"]


def test_a_command_for_a_token_that_is_not_traded_is_refused_at_the_door() -> None:
    door, log = gateway()
    with pytest.raises(GatewayError, match="LUNA is not traded here; known: BTC, ETH, SOL, or \\* for all"):
        door.command("LUNA", HALT)
    assert not log.everything()
