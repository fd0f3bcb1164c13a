"""The generated parts of the documentation.

`make docs` writes them; `make check` (`python -m tests.tools.docs --check`) fails where a file
differs from what the code says today. `tests.tools.chart` says what is generated of the Helm chart.
A generated part of a Markdown file stands between `<!-- generated: PART -->` and `<!-- end -->`.
PART is `settings`, `metrics`, `chart values`, `coverage` (of exported rules), a command (its help
is shown), or `output of COMMAND`; with `, from LINE` the output starts at that line. `patch of
COMMAND` is standard output alone, as a diff. `figures of TABLE` and, with more tables, `; TABLE`
shows what a benchmark has measured. `matrix of PART` shows what ran with which versions. A figure
within a line stands between `<!-- figure: NAME -->` and `<!-- end -->`.
"""

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from policies.export.table import coverage
from tests.matrix import table
from tests.support.paths import REPOSITORY
from tests.support.wired_metrics import wired_metrics
from tests.tools import bench_figures, chart, chart_values
from webhook.commands import reference
from webhook.policy import schema

_BLOCK = re.compile(r"(<!-- generated: (?P<part>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_RULES = re.compile(r"( *)(# generated: rules\n).*?( *# end\n)", re.DOTALL)
_OUTPUT = re.compile(r"output of (?P<command>[^,]+)(, from (?P<line>.+))?")
_FIGURES = re.compile(r"figures of (?P<tables>.+)")
_FIGURE = re.compile(r"(<!-- figure: (?P<name>[a-z ]+) -->).*?(<!-- end -->)")
_PATCH = re.compile(r"patch of (?P<command>.+)")
# The tables that the code itself writes.
_TABLES: Mapping[str, Callable[[], str]] = {
    "settings": lambda: reference.settings_table() + "\n",
    "chart values": chart_values.table,
    "metrics": lambda: reference.metrics_table(wired_metrics()) + "\n",
    "coverage": coverage,
    "matrix of apiserver": lambda: table.of_part("apiserver"),
    "matrix of e2e": lambda: table.of_part("e2e"),
    "matrix of cluster": lambda: table.of_part("cluster"),
}


def files() -> dict[Path, str]:
    """Every file with generated parts, as the code would write it today."""
    readme, server = REPOSITORY / "README.md", REPOSITORY / "webhook" / "README.md"
    ci, guide = REPOSITORY / "deploy" / "CI.md", REPOSITORY / "deploy" / "OPERATE.md"
    policies = REPOSITORY / "deploy" / "POLICIES.md"
    compatibility = REPOSITORY / "deploy" / "COMPATIBILITY.md"
    example = REPOSITORY / "deploy" / "base" / "policy.yaml"
    chart_readme = chart.CHART / "README.md"
    return {
        REPOSITORY / "policies" / "policy.schema.json": schema.text(),
        REPOSITORY / "policies" / "README.md": reference.markdown(),
        example: _RULES.sub(_example_rules, example.read_text()),
        readme: _BLOCK.sub(_block, readme.read_text()),
        server: _BLOCK.sub(_block, server.read_text()),
        policies: _BLOCK.sub(_block, policies.read_text()),
        compatibility: _BLOCK.sub(_block, compatibility.read_text()),
        guide: _FIGURE.sub(_figure, _BLOCK.sub(_block, guide.read_text())),
        **chart.files(),
        chart_readme: _BLOCK.sub(_block, chart_readme.read_text()),
        # Its readers have RayWarden on their PATH.
        ci: _BLOCK.sub(_block, ci.read_text()).replace("$ .venv/bin/", "$ "),
    }


def stale(expected: dict[Path, str]) -> list[str]:
    """The lines that differ from `expected`, as a unified diff; empty if every file is fresh."""
    lines: list[str] = []
    for file, content in expected.items():
        name = str(file.relative_to(REPOSITORY))
        written, fresh = file.read_text().splitlines(), content.splitlines()
        lines += difflib.unified_diff(written, fresh, name, f"{name} (make docs)", lineterm="")
    return lines


def _block(match: re.Match[str]) -> str:
    return match[1] + _generated(match["part"]) + match[3]


def _generated(part: str) -> str:
    if part in _TABLES:
        return _TABLES[part]()
    if patch := _PATCH.fullmatch(part):
        return f"```diff\n{_run(patch['command'], with_messages=True)}\n```\n"
    if figures := _FIGURES.fullmatch(part):
        return f"```text\n{bench_figures.tables(figures['tables'].split('; '))}```\n"
    output = _OUTPUT.fullmatch(part)
    if output is None:
        return f"```text\n$ raywarden {part} --help\n{_run(f'{part} --help')}\n```\n"
    lines = _run(output["command"]).splitlines()
    if output["line"]:
        lines = ["...", *lines[lines.index(output["line"]) :]]
    return "\n".join(["```text", f"$ .venv/bin/raywarden {output['command']}", *lines, "```\n"])


def _figure(match: re.Match[str]) -> str:
    costs = {
        "admission": bench_figures.admission_cost,
        "enrollment": bench_figures.enrollment_cost,
        "memory": bench_figures.memory,
        "scan": bench_figures.scan_cost,
    }
    return match[1] + costs[match["name"]]() + match[3]


def _example_rules(match: re.Match[str]) -> str:
    indent, start, end = match.groups()
    return indent + start + "".join(f"{indent}{line}\n" for line in schema.example_rules()) + end


def _run(command: str, *, with_messages: bool = False) -> str:
    """What `raywarden COMMAND` prints; it may refuse a manifest, and so end with 1.

    Standard error must be empty, unless the command has messages there.
    """
    plain = {"PATH": os.environ["PATH"], "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "webhook", *command.split()],
        env=plain, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if process.returncode not in (0, 1) or (process.stderr and not with_messages):
        raise RuntimeError(f"raywarden {command}: {process.stderr}")
    return "\n".join(line.rstrip() for line in process.stdout.strip("\n ").splitlines())


def main(arguments: list[str]) -> str | None:
    """Write the files, or with `--check` compare them; gives what is wrong with them."""
    expected = files()
    if arguments == ["--check"]:
        lines = stale(expected)
        return (
            "\n".join([*lines, "", "Generated documentation is stale: run make docs"])
            if lines
            else None
        )
    for file, content in expected.items():
        file.write_text(content)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
