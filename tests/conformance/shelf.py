"""Every kernel stands here; standing here is what puts it under the laws."""

from tests.conformance.cases import CASES

__all__ = ["CASES"]
