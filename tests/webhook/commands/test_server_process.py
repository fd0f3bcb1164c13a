"""A server imports only what it uses."""

import subprocess
import sys

HEAVY = {
    "jinja2",
    "kubernetes.client",
    "oauthlib",
    "requests",
    "ruamel.yaml",
    "typer",
    "urllib3",
    "webhook.check",
    "webhook.manifests",
    "webhook.reports",
    "webhook.scan",
}


def run(program: str) -> str:
    """What a Python program prints."""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not ended.returncode, ended.stderr
    return ended.stdout


def test_a_server_imports_no_tools_for_people() -> None:
    program = (
        "import asyncio, sys, webhook.commands.server_process; from webhook.kube import config\n"
        "from pathlib import Path\n"
        "from webhook.ports import UnavailableError\n"
        "try:\n"
        "    asyncio.run(config.client(Path('/nowhere')))\n"
        "except UnavailableError:\n"
        "    print(*sys.modules)\n"
    )
    modules = set(run(program).split())
    assert {"fastapi", "aiohttp", "structlog", "kubernetes.aio.client.api_client"} <= modules
    assert not HEAVY & modules
