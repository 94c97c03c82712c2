"""What stops a flow that reads Kafka: going on would skip, double or mix records. Every message names its cure."""


class LogError(RuntimeError):
    """A topic is not what a flow has read so far, or cannot be read any further."""


class ForeignPartitionError(LogError):
    """A record stands in a partition that is not its key's."""


class HoleError(LogError):
    """The dense numbers of a partition have a hole or go back."""


class BrokenRecordError(LogError):
    """A record of a derived topic cannot be read: Lotus wrote it, so this is no bad input."""


class MissingOffsetError(LogError):
    """The log no longer holds, or does not hold yet, what a flow has to read next."""


class TopicChangedError(LogError):
    """A topic is another one than before: re-created, deleted, or with fewer partitions."""


class StaleStoreError(LogError):
    """The recovery store belongs to another cluster, other topics or another share."""


class OutageError(LogError):
    """The brokers were away for longer than a flow waits."""
