"""`make demo`, as README says to run it."""

import subprocess
import sys

from tests.support.paths import REPOSITORY


def test_the_demonstration_shows_every_example() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.tools.demo", "deploy/examples"],
        env={"PATH": "/usr/bin:/bin", "RAYWARDEN_HOST": "127.0.0.1"}
        | {f"RAYWARDEN_{port}_PORT": "0" for port in ("ADMISSION", "ENROLLMENT", "OPERATIONS")}
        | {"RAYWARDEN_DRAIN_SECONDS": "0"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert all(name in ended.stdout for name in ("01-good-raycluster", "08-shell-in-start-params"))
    assert (ended.stdout.count(" allowed "), ended.stdout.count(" denied ")) == (4, 4)
