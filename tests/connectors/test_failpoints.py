"""Failpoints: each one is somewhere, and what is asked for is checked."""

import re
from pathlib import Path

import pytest

import connectors
from connectors import failpoints

ROOMS = Path(connectors.__file__).parents[1]


def test_every_point_is_passed_by_some_code_and_every_passed_point_is_listed() -> None:
    source = "\n".join(path.read_text() for room in ("connectors", "flows") for path in (ROOMS / room).rglob("*.py"))
    placed = set(re.findall(r'"((?:writer|relay|flow|source)\.\w+)"', source))
    passed = set(re.findall(r'reached\(\s*"([^"]+)"\s*\)', source))
    assert passed <= set(failpoints.POINTS)
    assert set(failpoints.POINTS) <= placed


@pytest.mark.parametrize("text", ["writer.nowhere:1", "writer.before_begin", "writer.before_begin:0", "x", ":"])
def test_a_point_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write POINT:N"):
        failpoints.arm(text)
    failpoints.reached("writer.before_begin")
