"""A part that a rule found harmless hides no other part that only Python finds equal to it."""

from typing import Any

import pytest

from tests.support import factory
from tests.support.factory import Object

_DROPPED = {"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}


def _sizes(cpu: Any) -> Object:
    return {part: {"cpu": cpu, "memory": "4Gi"} for part in ("requests", "limits")}


@pytest.mark.parametrize(
    ("field", "harmless", "harmful", "message"),
    [
        ("securityContext", {"privileged": 1}, {"privileged": True}, "is privileged"),
        (
            "securityContext",
            {"allowPrivilegeEscalation": False, **_DROPPED},
            {"allowPrivilegeEscalation": 0, **_DROPPED},
            "may gain privileges",
        ),
        ("resources", _sizes(1), _sizes(True), "has no cpu requests, cpu limits"),
    ],
)
def test_true_is_not_one(field: str, harmless: Object, harmful: Object, message: str) -> None:
    assert harmless == harmful
    cluster = factory.ray_cluster()
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for group, value in zip(groups, (harmless, harmful), strict=True):
        group["template"]["spec"]["containers"][0][field] = value
    verdict = factory.reviewer().verdict(factory.request(cluster))
    messages = [violation.message for violation in (*verdict.denied, *verdict.warned)]
    assert f"container ray-worker of the worker group small {message}" in messages
    assert f"container ray-head of the head {message}" not in messages
