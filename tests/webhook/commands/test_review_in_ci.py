"""The command line in CI: formats for machines, a baseline, and comments that suppress."""

import json
import re
from pathlib import Path

from tests.webhook.commands.test_cli import PUBLIC, run, write


def test_the_schema_of_the_json_report_is_printed() -> None:
    ended = run("review", "--schema")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_ci_jobs_get_their_formats_and_a_baseline(tmp_path: Path) -> None:
    file, baseline = write(tmp_path, "a.yaml", PUBLIC), tmp_path / "baseline.json"
    sarif, junit = tmp_path / "a.sarif", tmp_path / "a.xml"
    outputs = ("-o", "github", "-o", f"sarif={sarif}", "-o", f"junit={junit}")
    ended = run("review", *outputs, file)
    assert ended.returncode == 1, ended.stderr
    assert "::error file=" in ended.stdout
    assert json.loads(sarif.read_text())["version"] == "2.1.0"
    assert "<testsuites" in junit.read_text()
    assert run("review", "--write-baseline", str(baseline), file).returncode == 0
    assert run("review", "--baseline", str(baseline), "--fail-on", "note", file).returncode == 0
    ended = run("review", "--baseline", file, file)
    assert ended.returncode == 2
    assert re.fullmatch(r"raywarden: .*a\.yaml: not a baseline: Invalid JSON.*\n", ended.stderr)


def test_comments_suppress_where_the_policy_says_so(tmp_path: Path) -> None:
    policy = write(tmp_path, "policy.yaml", {"authorSuppressions": {"rules": "all"}})
    file = Path(write(tmp_path, "a.yaml", PUBLIC))
    comment = "# raywarden: ignore[no-public-head-service] only for the fair\n"
    file.write_text(comment + file.read_text())
    assert run("review", "--policy", policy, str(file)).returncode == 0
    assert run("review", str(file)).returncode == 1
