"""Which failures of a probe the version of Ray explains."""

import pytest

from tests.node.steps.ray_cluster import unexpected

AGENT = "head:52365 answers GET /api/job_agent/jobs/ without a token with 405"
DASHBOARD = "head:8265 answers GET /api/jobs/ without a token with 200"


@pytest.mark.parametrize(
    ("ray", "left"),
    [
        ("2.52.1", [DASHBOARD]),
        ("2.54.0", [AGENT, DASHBOARD]),
        ("2.60.0", [AGENT, DASHBOARD]),
        ("", [AGENT, DASHBOARD]),
    ],
)
def test_an_old_agent_without_tokens_is_expected(ray: str, left: list[str]) -> None:
    assert unexpected([AGENT, DASHBOARD], ray) == left
