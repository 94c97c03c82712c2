"""How a flow and share is called: in the outbox, on the brokers, on this disk."""

import hashlib
import json

from connectors.live import LiveConfig, Share

READABLE_CHARACTERS = 40
DIGEST_CHARACTERS = 10


def writer_of(flow: str, share: Share) -> str:
    """The name of a flow and share as a writer."""
    return f"{flow}-{share.index}of{share.of}"


def transactional_id(live: LiveConfig, writer: str) -> str:
    """One per deployment and writer (exactly-once.md 3)."""
    return f"lotus.{_deployment(live)}.{writer}"


def store_name(live: LiveConfig, writer: str) -> str:
    """Of the folder of a writer's recovery store; of a flow's: what is locked while its stores are changed."""
    return f"{_deployment(live)}-{writer}"


def _deployment(live: LiveConfig) -> str:
    """Environment and run are there to be read, cut where they are long; the digest tells deployments apart."""
    whole = json.dumps([live.topic_prefix, live.environment, live.run])
    digest = hashlib.sha256(whole.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{live.environment}-{live.run}"[:READABLE_CHARACTERS] + f"-{digest}"


def meaning_of(live: LiveConfig, share: Share) -> str:
    """What the positions in a share's store mean."""
    return f"share {share} of {live.partitions}"
