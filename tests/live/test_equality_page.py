"""The page of equality: what was found, what stays of an earlier page, what was not run."""

from tests.live.equality import ARCHIVE, CELLS, FILES, TOPIC, Found, document


def found(sha256: str = "a" * 64, *, equal: bool = True) -> Found:
    return Found({"bar": 600, "decision": 5}, 5, sha256, equal, 12.3, 4.5, "" if equal else "exit codes [75]\nmore")


def line_of(page: str, name: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} ")]
    return line


def test_a_page_has_a_row_for_every_way() -> None:
    page = document({FILES: found()})
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(CELLS) == 36
    assert len(lines) == 1 + 3 + 36
    assert len({line.count("|") for line in lines}) == 1
    assert page.count("not run") == 2 + 36
    assert "1 of 39 ways are equal." in page


def test_rows_stay_as_long_as_their_hash_is_that_of_the_files() -> None:
    cell = CELLS[7].name
    earlier = document({FILES: found(), TOPIC: found(), cell: found()})
    page = document({FILES: found(), ARCHIVE: found()}, earlier)
    assert line_of(page, cell) == line_of(earlier, cell)
    assert "4 of 39" in page
    other = document({FILES: found("b" * 64)}, page)
    assert "not run" in line_of(other, cell)
    assert "1 of 39" in other


def test_a_way_that_differs_says_why() -> None:
    cell = CELLS[0].name
    page = document({FILES: found(), cell: found("b" * 64, equal=False)})
    assert "**no** exit codes [75]" in line_of(page, cell)
    assert "1 of 39" in page
