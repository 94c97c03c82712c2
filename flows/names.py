"""How a flow and share is called: in the outbox, on the brokers, on this disk."""

from connectors.live import LiveConfig, Share


def writer_of(flow: str, share: Share) -> str:
    """The name of a flow and share as a writer."""
    return f"{flow}-{share.index}of{share.of}"


def transactional_id(live: LiveConfig, writer: str) -> str:
    """One per deployment and writer (exactly-once.md 3)."""
    return f"lotus.{live.topic_prefix}{live.environment}.{live.run}.{writer}"


def store_name(live: LiveConfig, writer: str) -> str:
    """Of the folder of a writer's recovery store; of a flow's: what is locked while its stores are changed."""
    return f"{live.environment}-{live.run}-{writer}"


def meaning_of(live: LiveConfig, share: Share) -> str:
    """What the positions in a share's store mean."""
    return f"share {share} of {live.partitions}"
