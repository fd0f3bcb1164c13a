"""`raywarden review` starts fast: it imports nothing that only a server needs."""

import subprocess
import sys
from pathlib import Path

import yaml

from tests.support import factory

HEAVY = {
    "aiohttp",
    "asyncio",
    "cel_expr_python",
    "certs",
    "cryptography",
    "fastapi",
    "httpx",
    "jinja2",
    "junitparser",
    "kubernetes",
    "ruamel.yaml",
    "starlette",
    "uvicorn",
}
REVIEW = """\
import sys
from webhook.commands.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    command = [sys.executable, "-c", REVIEW, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "0 unreadable" in ended.stdout, ended.stderr
    return set(ended.stderr.split())


def test_a_review_imports_neither_the_server_nor_formats_that_nobody_chose(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(factory.ray_cluster()))
    assert not HEAVY & imported("review", str(file))


def test_cel_is_imported_for_a_policy_with_expressions(tmp_path: Path) -> None:
    file, policy = tmp_path / "cluster.yaml", tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(factory.ray_cluster()))
    rule = {"id": "own-named", "expression": "has(object.metadata.name)", "message": "no name"}
    policy.write_text(yaml.safe_dump({"kind": "Policy", "expressions": [rule]}))
    modules = imported("review", "--policy", str(policy), str(file))
    assert HEAVY & modules == {"cel_expr_python"}
