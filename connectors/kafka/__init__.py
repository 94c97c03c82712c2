"""Kafka: a real broker as a child process, connection settings, topics."""
