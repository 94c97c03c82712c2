"""Runs a program that must not outlive its owner: `python leash.py OWNER_PID PROGRAM ARGUMENT ...`.

It asks the kernel to kill this process with its owner, then becomes the program. It is a program of its own because
nothing may run between fork and exec in a process that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _main() -> None:
    owner, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(owner):  # it ended before the leash was on
            raise SystemExit(f"process {owner} is gone")
    os.execv(command[0], command)  # noqa: S606 (the command is our own)


_main()
