"""THINKING: pure domain logic. No clock, no random, no I/O; see docs/architecture.md."""
