"""How long until a program that was just started is of use?"""

import os
import statistics
import subprocess
import sys
import time

from tests.support.live_server import serving

_RUNS = 7


def main() -> None:
    """Print times from the start of a process, for what pods and operators wait for."""
    print(f"\n{'start, milliseconds':<28}{'p50':>8}{'most':>8}")
    for title, start in (
        ("raywarden enroll --help", _enroll),
        ("raywarden serve until ready", _serve),
    ):
        took = [start() * 1e3 for _ in range(_RUNS)]
        print(f"{title:<28}{statistics.median(took):>8.0f}{max(took):>8.0f}")


def _enroll() -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "webhook", "enroll", "--help"],
        env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    return time.perf_counter() - started


def _serve() -> float:
    """The server's log is looked at fifty times a second."""
    started = time.perf_counter()
    with serving():
        return time.perf_counter() - started
