"""However the work is spread over processes, the rows are those of the replay of the files."""

import pytest

from tests.live.conftest import Deploy, assert_equal
from tests.live.deployment import Mode
from tests.live.recorded import Expected, Recording


def test_the_recording_decides_something(expected: Expected) -> None:
    few = {noun: rows for noun, rows in expected.rows.items() if noun != "bar_candle"}  # files hold no candles
    assert min(few.values()) > 0, few


@pytest.mark.parametrize(("mode", "of"), [(Mode.HOT, 2), (Mode.SEPARATE, 1)])
def test_every_way_to_spread_the_work_gives_the_rows_of_the_files(
    deploy: Deploy, recording: Recording, expected: Expected, mode: Mode, of: int
) -> None:
    deployment = deploy()
    deployment.pour(recording.log)
    deployment.start(mode, of)
    deployment.wait(recording.end_ms)
    assert set(deployment.stop().values()) == {0}
    assert_equal(deployment, expected)
