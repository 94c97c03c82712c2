"""A flow that is told to stop, and one that is started twice."""

from tests.live.conftest import Deploy, assert_equal
from tests.live.deployment import Mode
from tests.live.recorded import Expected, Recording

IN_THE_WAY = 4
MINUTE_MS = 60_000


def test_a_flow_stopped_under_load_goes_on_without_reading_anything_again(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment, half_ms = deploy(), recording.begin_ms + 20 * MINUTE_MS
    deployment.pour(recording.log, 0, half_ms)
    (first,) = deployment.start(Mode.FUSED, 1, "--batch", "60")
    deployment.wait(half_ms - 2 * MINUTE_MS)
    twin = deployment.twin(first)
    assert twin.ended() == IN_THE_WAY, twin.said()

    deployment.pour(recording.log, half_ms)
    deployment.wait(half_ms + 2 * MINUTE_MS, dead=[twin.name])
    first.terminate()
    assert first.ended(10) == 0, first.said()
    assert deployment.reached_ms() < recording.end_ms, "it was stopped too late: nothing is proved"
    again = deployment.again(first)
    deployment.wait(recording.end_ms, dead=[twin.name])
    assert deployment.stop() == {first.name: 0, twin.name: IN_THE_WAY}
    assert "rows written, 0 found written" in again.said()
    assert_equal(deployment, expected)
