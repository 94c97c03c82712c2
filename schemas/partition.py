"""Which partition a record belongs to: a promise to everybody who writes or reads our topics from outside."""

from zlib import crc32


def partition_of(key: str, partitions: int) -> int:
    """crc32 of the key's UTF-8 bytes, modulo the number of partitions; never the default of a client."""
    return crc32(key.encode()) % partitions
