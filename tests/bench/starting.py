"""Measures how long `raywarden enroll` and `raywarden serve` take to start, and enroll at once."""

import os
import re
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import live_objects
from tests.support.live_server import RunningServer, serving

_RUNS = 15
_STARTS = 7
_AT_ONCE = 64
_POD = "demo-head-abcde"
_SLOWEST = 8
_IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
_UNLIMITED = {"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000000"}
# As in the image of the init container, but for -S: here the packages are in an environment.
_PROGRAM = (sys.executable, "-I", "-m", "webhook.agent", "enroll")


def main() -> None:
    """Print the start times of the programs that pods and operators wait for."""
    with serving(_UNLIMITED, live_objects.objects()) as server:
        _print_program(server)
        _print_at_once(server)
    _print_imports()
    seconds = [_serve() for _ in range(_STARTS)]
    print(f"\n{'raywarden serve, milliseconds':<44}{'p50':>8}{'max':>8}")
    print(f"{'until ready':<44}{_milliseconds(seconds)}")


def _print_program(server: RunningServer) -> None:
    """Print how long `raywarden enroll` takes from start to end, run like the init container."""
    files = _files()
    print(f"\n{'raywarden enroll, milliseconds':<44}{'p50':>8}{'max':>8}")
    for title, is_cold in (("files in memory", False), ("files dropped from memory", True)):
        took, cpu = [], []
        for _ in range(_RUNS):
            if is_cold:
                _drop(files)
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            _enroll(server)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(time.perf_counter() - started)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        print(f"{'start to end, ' + title:<44}{_milliseconds(took)}")
        print(f"{'CPU, ' + title:<44}{_milliseconds(cpu)}")


def _print_at_once(server: RunningServer) -> None:
    """Print how long many pods at once take, with the server's own work on the same cores."""
    with ThreadPoolExecutor(_AT_ONCE) as pods:
        started = time.perf_counter()
        list(pods.map(lambda _: _enroll(server), range(_AT_ONCE)))
        seconds = time.perf_counter() - started
    print(f"{f'{_AT_ONCE} at once and the server, seconds':<44}{seconds:>8.1f}")


def _print_imports() -> None:
    """Print the modules that take longest to import, themselves, as `-X importtime` measures."""
    command = [sys.executable, "-I", "-X", "importtime", "-m", "webhook.agent", "enroll", "--help"]
    best: dict[str, int] = {}
    for _ in range(_STARTS):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        for microseconds, module in _IMPORT.findall(ended.stderr):
            best[module] = min(int(microseconds), best.get(module, sys.maxsize))
    print(f"\n{'imports of raywarden enroll':<44}{'ms':>8}")
    print(f"{f'{len(best)} modules':<44}{sum(best.values()) / 1e3:>8.1f}")
    for module in sorted(best, key=best.__getitem__, reverse=True)[:_SLOWEST]:
        print(f"{module:<44}{best[module] / 1e3:>8.1f}")


def _files() -> list[str]:
    """The files of every module and library that the program loads."""
    listing = (
        "import sys, webhook.agent.command; "
        "print(*(getattr(m, '__cached__', None) or m.__file__ for m in sys.modules.values() "
        "if getattr(m, '__file__', None)), sep='\\n'); "
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if '/' in line}, sep='\\n')"
    )
    command = [sys.executable, "-I", "-c", listing]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if Path(line).is_file()]


def _drop(files: list[str]) -> None:
    """Take the files out of the page cache, as far as no other process maps them."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _enroll(server: RunningServer) -> None:
    token = server.token_dir / "team-a" / _POD / "token"
    environment = {
        "RAYWARDEN_SIGNER_URL": server.enrollment,
        "RAYWARDEN_SIGNER_CA": server.ca_file.read_text(),
        "RAYWARDEN_POD_IP": "127.0.0.1",
    }
    with TemporaryDirectory() as folder:
        subprocess.run(
            [*_PROGRAM, "--token-file", str(token), "--directory", folder],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.DEVNULL, check=True, timeout=60,
        )  # fmt: skip


def _serve() -> float:
    """Seconds until the server is ready; `serving` polls its log every 20 milliseconds."""
    started = time.perf_counter()
    with serving():
        return time.perf_counter() - started


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:>8.0f}{max(seconds) * 1e3:>8.0f}"
