"""The policy file: what is invalid, and what its values mean."""

from typing import Any

import pytest

from policies.config import Policy
from policies.problems import PolicyError


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"rules": {"no-such-rule": {}}}, "rules.no-such-rule: no rule is called no-such-rule"),
        ({"rules": {"tls-on": {"mode": "maybe"}}}, "rules.tls-on.mode: Input should be"),
        (
            {"rules": {"tls-on": {"parameters": {"a": 1}}}},
            "rules.tls-on.parameters.a: there is no such field",
        ),
        (
            {"rules": {"ray-version-floor": {"parameters": {"denyBelow": "new"}}}},
            "write a version of three numbers",
        ),
        ({"profiles": {"enforce": "strict"}}, "profiles.enforce: Input should be"),
        ({"exemptions": [{"rules": ["tls-on"]}]}, "exemptions.0.reason: Field required"),
        ({"exemptions": [{"reason": "because"}]}, "exemptions.0: name at least one"),
        (
            {"exemptions": [{"rules": ["tls-off"], "reason": "because"}]},
            "no rule is called tls-off",
        ),
        ({"inject": {"nodeIpAddress": "dns"}}, "inject.nodeIpAddress: Input should be"),
        ({"inject": {"nonRootImages": [{"image": "a", "uid": 0}]}}, "inject.nonRootImages.0.uid"),
        (
            {"authorSuppressions": {"rules": ["no-rot"]}},
            "authorSuppressions.rules.0: no rule is called no-rot; did you mean no-root?",
        ),
        (
            {"authorSuppressions": {"rules": ["own-label"]}},
            "authorSuppressions.rules.0: no rule is called own-label",
        ),
        ({"inject": {"dashboard": "rbac-proxy"}}, "inject: dashboard: rbac-proxy needs"),
        (
            {"inject": {"dashboardProxyImage": "kube-rbac-proxy:v1"}},
            "inject.dashboardProxyImage: write the image in full",
        ),
        (
            {"inject": {"dashboardProxyImage": "quay.io/brancz/kube-rbac-proxy"}},
            "inject.dashboardProxyImage: write the image in full",
        ),
        ({"color": "red"}, "color: there is no such field"),
        ({"apiVersion": "raywarden.io/v2"}, "apiVersion: Input should be"),
        (["a"], "write a mapping"),
        ({"rules": {"tls-on": "warn"}}, "rules.tls-on: write a mapping"),
        (
            {"exemptions": [{"rules": "tls-on", "reason": "because"}]},
            "exemptions.0.rules: write a list",
        ),
    ],
)
def test_an_invalid_policy_reports_place_and_problem(document: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(document)
    assert message in str(caught.value)


def test_an_unquoted_off_is_off() -> None:
    file = Policy.parse(
        {"rules": {"tls-on": {"mode": False}}, "inject": {"auth": False, "nodeIpAddress": False}}
    ).file
    assert file.rules["tls-on"].mode == "off"
    assert file.inject.auth == "off"
    assert file.inject.node_ip_address == "off"


@pytest.mark.parametrize(
    "image",
    [
        "quay.io/brancz/kube-rbac-proxy:v0.19.1",
        "localhost:5000/kube-rbac-proxy:v0.19.1",
        f"registry.example/a/b/kube-rbac-proxy@sha256:{'0' * 64}",
        f"10.0.0.1:5000/kube-rbac-proxy:v1@sha256:{'0' * 64}",
    ],
)
def test_an_image_with_its_registry(image: str) -> None:
    inject = {"dashboard": "rbac-proxy", "dashboardProxyImage": image}
    assert Policy.parse({"inject": inject}).inject.dashboard_proxy_image == image


def test_an_empty_policy_is_the_default_one() -> None:
    empty, default = Policy.parse(None), Policy.parse({})
    assert empty.file == default.file
    # The file of the default policy is not validated: its parts must not be raw values.
    assert empty.file.model_dump() == default.file.model_dump()
    assert empty.rules == tuple(type(rule)() for rule in default.rules)
