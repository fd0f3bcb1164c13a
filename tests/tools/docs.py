"""The generated parts of the documentation: `make docs` writes them, a test compares them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.support.wired_metrics import wired_metrics
from webhook.commands import reference
from webhook.policy import schema

_BLOCK = re.compile(r"(<!-- generated: (?P<part>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RULES = re.compile(r"( *)(# generated: rules\n).*?( *# end\n)", re.DOTALL)


def files() -> dict[Path, str]:
    """Every file with generated parts, with the content that it should have."""
    server = REPOSITORY / "webhook" / "README.md"
    example = REPOSITORY / "deploy" / "base" / "policy.yaml"
    return {
        REPOSITORY / "policies" / "policy.schema.json": schema.text(),
        example: _RULES.sub(_example_rules, example.read_text()),
        REPOSITORY / "policies" / "README.md": reference.markdown(),
        server: _BLOCK.sub(_fill_block, server.read_text()),
    }


def _fill_block(match: re.Match[str]) -> str:
    return match[1] + _generated(match["part"]) + match[3]


def _generated(part: str) -> str:
    if part == "settings":
        return reference.settings_table() + "\n"
    if part == "metrics":
        return reference.metrics_table(wired_metrics()) + "\n"
    return f"```text\n$ raywarden {part} --help\n{_help(part)}\n```\n"


def _example_rules(match: re.Match[str]) -> str:
    indent, start, end = match.groups()
    return indent + start + "".join(f"{indent}{line}\n" for line in schema.example_rules()) + end


def _help(command: str) -> str:
    plain = {"PATH": os.environ["PATH"], "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "webhook", *command.split(), "--help"],
        env=plain, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in process.stdout.strip("\n ").splitlines())


if __name__ == "__main__":
    for file, content in files().items():
        file.write_text(content)
