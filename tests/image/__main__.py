"""Build the image and try it: `make image-test`. Needs root, a few GiB, some minutes; says "not run" where it cannot.

python -m tests.image [--optional] [--install] [--keep] [--folder DIR]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.image import stand_ins, together
from tests.image.build import build
from tests.image.checks import WrongError, check_all
from tests.image.machine import PROGRAMS, FailedError, NotHereError, machine

FOLDER = Path("/var/tmp/lotus-image")  # not in memory: images are large
NOT_RUN = 2


def tell(text: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """0: all well (or not run, and that was allowed), 1: something failed, 2: not run."""
    parser = argparse.ArgumentParser(prog="make image-test", description=__doc__)
    parser.add_argument("--optional", action="store_true", help="exit 0 where containers cannot be had")
    parser.add_argument("--install", action="store_true", help="install Debian's packages first")
    parser.add_argument("--keep", action="store_true", help="leave images and settings for the next time")
    parser.add_argument("--flows", default="fused", help="services of compose.yaml to start; empty: the image alone")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where images and settings lie")
    options = parser.parse_args()
    if options.install:
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *PROGRAMS], check=True)
    try:
        found = machine(options.folder)
    except NotHereError as error:
        tell(f"not run: {error}")
        return 0 if options.optional else NOT_RUN
    try:
        began = time.monotonic()
        stand_ins.python(found)
        tell(f"base    {time.monotonic() - began:.0f} s, storage by {found.driver}")
        began = time.monotonic()
        image = build(found)
        tell(f"built   {image} in {time.monotonic() - began:.0f} s")
        failed = check_all(found, image, tell)
        if flows := tuple(filter(None, options.flows.split(","))):
            together.check(found, tell, flows)
    except (FailedError, WrongError) as error:
        tell(f"FAILED  {error}")
        failed = 1
    finally:
        if not options.keep:
            found.clear()
    tell("FAILED" if failed else "all well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
