"""Measures how long `raywarden enroll` and `raywarden serve` take to start."""

import os
import statistics
import subprocess
import sys
import time

from tests.support.live_server import serving

_RUNS = 7


def main() -> None:
    """Print the start times of the programs that pods and operators wait for."""
    print(f"\n{'start, milliseconds':<28}{'p50':>8}{'max':>8}")
    for title, start in (
        ("raywarden enroll --help", _enroll),
        ("raywarden serve until ready", _serve),
    ):
        milliseconds = [start() * 1e3 for _ in range(_RUNS)]
        print(f"{title:<28}{statistics.median(milliseconds):>8.0f}{max(milliseconds):>8.0f}")


def _enroll() -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "webhook", "enroll", "--help"],
        env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    return time.perf_counter() - started


def _serve() -> float:
    """Seconds until the server is ready; `serving` polls its log every 20 milliseconds."""
    started = time.perf_counter()
    with serving():
        return time.perf_counter() - started
