"""What topics promise is kept: the schemas of this build pass the gate."""

from connectors.avro.gate import CURE, findings
from schemas import loader


def test_every_schema_version_reads_and_is_read_by_every_other_and_none_was_edited() -> None:
    assert loader.schemas(), "no schemas: this test would prove nothing"
    found = findings()
    assert not found, "\n".join(found) + "\n" + CURE
