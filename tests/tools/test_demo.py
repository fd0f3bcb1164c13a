"""`make demo`, run as the README describes."""

import subprocess
import sys

from tests.support.paths import REPOSITORY


def test_the_demo_shows_every_example() -> None:
    free_ports = {
        f"RAYWARDEN_{port}_PORT": "0" for port in ("ADMISSION", "ENROLLMENT", "OPERATIONS")
    }
    settings = {"RAYWARDEN_HOST": "127.0.0.1", "RAYWARDEN_DRAIN_SECONDS": "0", **free_ports}
    process = subprocess.run(
        [sys.executable, "-m", "tests.tools.demo", "deploy/examples"],
        env={"PATH": "/usr/bin:/bin", **settings},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = process.stdout
    assert process.returncode == 0, process.stderr
    assert all(name in output for name in ("01-good-raycluster", "08-shell-in-start-params"))
    assert (output.count(" allowed "), output.count(" denied ")) == (4, 4)
