"""A server imports only what it uses, and leaves the libraries as others expect them."""

import subprocess
import sys

HEAVY = {
    "jinja2",
    "kubernetes.client",
    "oauthlib",
    "requests",
    "rich",
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


def test_models_of_fastapi_are_built_when_they_are_used() -> None:
    program = (
        "import webhook.commands.server_process\n"
        "from fastapi.openapi.models import Schema\n"
        "print(Schema.__pydantic_complete__, Schema(title='a').title, Schema.__pydantic_complete__)"
    )
    assert run(program) == "False a True\n"


def test_afterwards_every_library_works_as_usual() -> None:
    program = (
        "import ssl, webhook.commands.server_process, rich.console\n"
        "from pydantic import BaseModel\n"
        "class Model(BaseModel):\n"
        "    later: 'Other'\n"
        "class Other(BaseModel):\n"
        "    number: int\n"
        "Model.model_rebuild()\n"
        "print(Model.__pydantic_complete__, Other.__pydantic_complete__)\n"
        "print('set_default_verify_paths' in vars(ssl.SSLContext))\n"
    )
    assert run(program) == "True True\nFalse\n"


def test_system_cas_are_there_when_a_kubeconfig_may_need_them() -> None:
    program = (
        "import ssl, webhook.commands.server_process\n"
        "from aiohttp import connector\n"
        "from webhook.kube.lean_imports import load_system_cas\n"
        "context = connector._SSL_CONTEXT_VERIFIED\n"
        "before = len(context.get_ca_certs())\n"
        "load_system_cas()\n"
        "usual = len(ssl.create_default_context().get_ca_certs())\n"
        "print(before, len(context.get_ca_certs()) - usual)\n"
    )
    assert run(program) == "0 0\n"
