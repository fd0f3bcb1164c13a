"""Which alerts fire in which state, as promtool evaluates the shipped rules."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, HEALTHY, MINUTES, AlertCase
from tests.deploy.test_monitoring import COMPONENT, RULES

PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    assert {rule["alert"] for rule in RULES} == {
        name for case in CASES.values() for name in case.firing
    }


@pytest.mark.skipif(
    not PROMTOOL, reason="set PROMTOOL to a promtool, or install Debian's package prometheus"
)
def test_promtool_fires_the_alerts_of_each_case_and_no_others(tmp_path: Path) -> None:
    spec = yaml.safe_load((COMPONENT / "alerts.yaml").read_text())["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    tests = [unit_test(name, case) for name, case in CASES.items()]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    process = subprocess.run(
        [str(PROMTOOL), "test", "rules", "tests.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def unit_test(name: str, case: AlertCase) -> dict[str, Any]:
    """A test of promtool: the case's series, and the alerts that fire in the end."""
    series = {**HEALTHY, **case.changes}
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.firing)]
    expectation = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{MINUTES}m",
        "exp_samples": samples,
    }
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [expectation],
    }
