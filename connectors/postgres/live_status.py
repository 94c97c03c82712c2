"""How a live run goes: how far it is complete, what it has decided."""

from dataclasses import dataclass

from connectors.postgres.connection import Connection

COUNTED = ("bar", "decision", "refusal", "fill", "dead_letter")


@dataclass(frozen=True, slots=True)
class Status:
    """reached  event time up to which every promised topic is complete, ISO 8601; None before the first promise
    counts   rows of the nouns that people ask for
    waiting  messages that the relays have not confirmed
    """

    reached: str | None
    counts: str
    waiting: int


def status(connection: Connection, run_id: str) -> Status:
    """Ask now."""
    reached = connection.execute(
        """
        select to_char(to_timestamp(min(watermark_ms) / 1000.0) at time zone 'utc', 'YYYY-MM-DD HH24:MI')
        from target where run_id = %s and watermark_ms >= 0
        """,
        [run_id],
    ).fetchone()
    counts = connection.execute(
        """
        select (select count(*) from bar where run_id = %(run)s),
               (select count(*) from decision where run_id = %(run)s),
               (select count(*) from refusal where run_id = %(run)s),
               (select count(*) from fill where run_id = %(run)s),
               (select count(*) from dead_letter where run_id = %(run)s)
        """,
        {"run": run_id},
    ).fetchone()
    waiting = connection.execute(
        """
        select count(*) from outbox left join published using (run_id, writer)
        where run_id = %s and seq > coalesce(upto, 0)
        """,
        [run_id],
    ).fetchone()
    assert counts is not None, "counting always gives a row"
    told = ", ".join(f"{count} {noun}s" for noun, count in zip(COUNTED, counts, strict=True))
    return Status(
        None if reached is None or reached[0] is None else str(reached[0]), told, int(str(waiting[0])) if waiting else 0
    )
