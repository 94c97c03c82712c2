"""The watchdog ends a process whose main loop stands still, and leaves a living one alone."""

import subprocess
import sys
import textwrap

from flows.watchdog import EXPIRED_EXIT


def ended(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_process_that_hangs_is_ended_with_a_code_that_says_start_it_again() -> None:
    hung = ended(
        """
        import time
        from flows.watchdog import Watchdog
        dog = Watchdog(0.3)
        dog.start()
        dog.beat()
        time.sleep(30)
        """
    )
    assert hung.returncode == EXPIRED_EXIT
    assert "nothing has moved" in hung.stderr


def test_a_process_that_beats_lives_and_one_that_has_stopped_watching_too() -> None:
    lively = ended(
        """
        import time
        from flows.watchdog import Watchdog
        dog = Watchdog(1.0)
        dog.start()
        for _ in range(8):
            dog.beat()
            time.sleep(0.2)
        dog.stop()
        time.sleep(1.5)
        """
    )
    assert lively.returncode == 0, lively.stderr


def test_nobody_is_watched_before_the_start() -> None:
    idle = ended(
        """
        import time
        from flows.watchdog import Watchdog
        dog = Watchdog(0.01)
        time.sleep(0.5)
        dog.stop()
        """
    )
    assert idle.returncode == 0, idle.stderr
