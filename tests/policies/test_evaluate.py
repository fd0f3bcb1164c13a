"""Profiles, modes, namespaces, parameters and exemptions decide about a violation."""

import itertools
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from policies.documents.pointer import ROOT
from policies.mutate import mutate
from policies.ray.workload import Kind
from policies.registry import MUTATIONS
from policies.rules.auth_on import AuthOn
from policies.rules.no_host_access import NoHostAccess
from policies.rules.tls_on import TlsOn
from tests.support import factory
from tests.support.factory import Object, changed, request, reviewer

HOST_NETWORK = "/spec/headGroupSpec/template/spec/hostNetwork"
OFFENDER = changed(factory.ray_cluster(), {HOST_NETWORK: True})
WARNED = changed(factory.ray_cluster(), {"/spec/rayVersion": "2.53.0"})


def namespace(**labels: str) -> Object:
    metadata = {
        "name": "team-a",
        "labels": {f"raywarden.io/{mode}": profile for mode, profile in labels.items()},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def outcome(document: Object, policy: Any = None, *namespaces: Object, **fields: Any) -> str:
    """The strictest effect of the policy: deny, warn, audit or nothing."""
    subject = reviewer(policy, *namespaces)
    mutated = dict(subject.mutated(request(document, **fields)).document)
    verdict = subject.verdict(request(mutated, **fields))
    assert verdict.failed == ()
    for name, violations in (
        ("deny", verdict.denied),
        ("warn", verdict.warned),
        ("audit", verdict.audited),
    ):
        if violations:
            return name
    return "nothing"


def test_by_default_baseline_is_enforced() -> None:
    assert outcome(OFFENDER) == "deny"
    assert outcome(factory.ray_cluster()) == "nothing"


def test_an_advisory_violation_warns_even_where_its_rule_is_enforced() -> None:
    assert outcome(WARNED) == "warn"
    assert outcome(WARNED, {"rules": {"ray-version-floor": {"mode": "enforce"}}}) == "warn"


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ({"enforce": "privileged"}, "warn"),
        ({"enforce": "privileged", "warn": "privileged"}, "audit"),
        ({"enforce": "privileged", "warn": "privileged", "audit": "privileged"}, "nothing"),
        ({"enforce": "restricted"}, "deny"),
    ],
)
def test_profiles_decide_the_effect(profiles: Object, expected: str) -> None:
    assert outcome(OFFENDER, {"profiles": profiles}) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("enforce", "deny"), ("warn", "warn"), ("audit", "audit"), ("off", "nothing")],
)
def test_the_mode_of_a_rule_overrides_the_profile(mode: str, expected: str) -> None:
    assert outcome(OFFENDER, {"rules": {"no-host-access": {"mode": mode}}}) == expected


class TestNamespaceLabels:
    loose: ClassVar[Object] = {
        "profiles": {"enforce": "privileged", "warn": "privileged", "audit": "privileged"}
    }

    @pytest.mark.parametrize(
        ("mode", "expected"), [("enforce", "deny"), ("warn", "warn"), ("audit", "audit")]
    )
    def test_a_namespace_chooses_a_stricter_profile(self, mode: str, expected: str) -> None:
        assert outcome(OFFENDER, self.loose, namespace(**{mode: "baseline"})) == expected

    def test_it_cannot_choose_a_looser_profile(self) -> None:
        assert outcome(OFFENDER, None, namespace(enforce="privileged")) == "deny"

    def test_it_can_choose_a_looser_profile_if_the_policy_allows_it(self) -> None:
        policy = {"namespacesMayLoosen": True}
        assert outcome(OFFENDER, policy, namespace(enforce="privileged")) == "warn"

    def test_a_misspelled_profile_is_the_strictest(self) -> None:
        assert outcome(OFFENDER, self.loose, namespace(enforce="Baseline")) == "deny"

    def test_the_namespace_of_the_request_counts_not_that_in_the_object(self) -> None:
        moved = changed(OFFENDER, {"/metadata/namespace": "elsewhere"})
        assert (
            outcome(moved, self.loose, namespace(enforce="baseline"), namespace="team-a") == "deny"
        )


class TestExemptions:
    @pytest.mark.parametrize(
        ("exemption", "expected"),
        [
            ({"rules": ["no-host-access"]}, "nothing"),
            ({"rules": ["no-host-path"]}, "deny"),
            ({"namespaces": ["team-*"]}, "nothing"),
            ({"namespaces": ["prod-*"]}, "deny"),
            ({"names": ["demo"], "rules": ["no-host-access"]}, "nothing"),
            ({"names": ["other"], "rules": ["no-host-access"]}, "deny"),
            ({"users": ["auth*"]}, "nothing"),
            ({"users": ["nobody"], "namespaces": ["team-a"]}, "deny"),
            ({"rules": ["no-host-access"], "until": str(factory.TODAY)}, "nothing"),
            (
                {"rules": ["no-host-access"], "until": str(factory.TODAY - timedelta(days=1))},
                "deny",
            ),
        ],
    )
    def test_they_match_by_every_field_that_is_set(self, exemption: Object, expected: str) -> None:
        assert (
            outcome(OFFENDER, {"exemptions": [{**exemption, "reason": "profiling run"}]})
            == expected
        )

    def test_the_message_names_an_exemption_that_has_ended(self) -> None:
        policy = {
            "exemptions": [
                {"rules": ["no-host-access"], "reason": "profiling run", "until": "2026-11-01"}
            ]
        }
        message = reviewer(policy).validate(request(OFFENDER)).response.message
        assert "the head sets hostNetwork (its exemption expired on 2026-11-01)" in message

    def test_their_reason_goes_into_the_audit_log(self) -> None:
        policy = {"exemptions": [{"rules": ["no-host-access"], "reason": "profiling run"}]}
        response = reviewer(policy).validate(request(OFFENDER)).response
        assert response.audit["exempted"] == "no-host-access: profiling run"


class TestNeverRefused:
    def test_an_object_that_is_being_deleted(self) -> None:
        deleting = changed(OFFENDER, {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z"})
        assert outcome(deleting, operation="UPDATE", old=OFFENDER) == "nothing"
        assert outcome(deleting) == "deny", "on CREATE the timestamp proves nothing"

    def test_a_deletion(self) -> None:
        assert reviewer().validate(request(OFFENDER, "DELETE", OFFENDER)).response.allowed

    def test_a_pod_that_has_nothing_to_do_with_ray(self) -> None:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"hostNetwork": True}}
        assert outcome(pod) == "nothing"

    def test_an_update_of_the_status(self) -> None:
        update = request(OFFENDER, "UPDATE", factory.ray_cluster(), subResource="status")
        assert reviewer().validate(update).response.allowed


def test_a_cluster_that_bypassed_the_mutation_is_denied() -> None:
    verdict = reviewer().verdict(request(factory.ray_cluster()))
    assert [(v.rule, v.remediation) for v in verdict.denied] == [
        ("tls-on", "create it again in a moment")
    ]


def test_all_violations_are_reported_with_place_and_remediation() -> None:
    document = changed(OFFENDER, {"/spec/headGroupSpec/serviceType": "NodePort"})
    subject = reviewer()
    mutated = dict(subject.mutated(request(document)).document)
    response = subject.validate(request(mutated)).response
    assert response.message.splitlines() == [
        "no-public-head-service: the head service is a NodePort, which opens a port on every node"
        " (at /spec/headGroupSpec/serviceType)."
        " Fix: set serviceType: ClusterIP and use kubectl port-forward,"
        " or an Ingress that authenticates",
        "no-host-access: the head sets hostNetwork"
        " (at /spec/headGroupSpec/template/spec/hostNetwork). Fix: remove hostNetwork",
    ]
    assert response.audit == {"violations": "no-public-head-service,no-host-access"}


def test_messages_are_short_and_printable() -> None:
    names = [f"\x1b[31mred\n{number}" for number in range(200)]
    volumes = [{"name": name, "hostPath": {"path": "/" + "x" * 5000}} for name in names]
    document = changed(
        factory.ray_cluster(), {"/spec/headGroupSpec/template/spec/volumes": volumes}
    )
    lines = reviewer().validate(request(document)).response.message.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 151 more; raywarden review shows all of them"
    assert all(len(line) <= 1000 and line.isprintable() for line in lines)


def test_warnings_are_as_many_as_the_api_server_passes_on_in_full() -> None:
    groups = [
        {
            **factory.cluster_spec()["workerGroupSpecs"][0],
            "groupName": f"group-{number}",
            "template": {"spec": {"containers": [{"name": "ray", "image": factory.IMAGE}]}},
        }
        for number in range(40)
    ]
    response = reviewer().validate(request(factory.ray_cluster(workerGroupSpecs=groups))).response
    *shown, last = response.warnings
    assert sum(map(len, response.warnings)) <= 4096
    all_of_them = reviewer().verdict(request(factory.ray_cluster(workerGroupSpecs=groups))).warned
    left_out = len(all_of_them) - len(shown)
    assert last == f"... and {left_out} more; raywarden review shows all of them"
    assert left_out > 0
    assert len(shown) > 5
    assert all("Fix: " in line for line in shown)


def test_a_rule_that_raises_denies_and_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(NoHostAccess, "check", broken)
    verdict = reviewer().verdict(request(factory.head_pod()))
    assert [failure.member for failure in verdict.failed] == ["no-host-access"]
    assert (
        verdict.failed[0].at.startswith("RuntimeError at ")
        and "secret detail" not in verdict.failed[0].at
    )
    assert any(
        v.rule == "no-host-access" and "this rule crashed" in v.message for v in verdict.denied
    )
    assert not any("secret detail" in str(v) for v in verdict.denied)


def test_a_restricted_rule_that_raises_denies_under_baseline_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tls-on` has findings of both levels, and it is unknown which it would have had."""

    def broken(*_arguments: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(TlsOn, "check", broken)
    verdict = reviewer().verdict(request(factory.ray_cluster()))
    assert [violation.rule for violation in verdict.denied] == ["tls-on"]


def test_a_rule_with_too_many_findings_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise many findings of `restricted`, which only warn, could hide one of `baseline`."""

    def endless(self: AuthOn, *_arguments: object) -> Any:
        return (self.violation(f"finding {number}", ROOT, "fix it") for number in itertools.count())

    monkeypatch.setattr(AuthOn, "check", endless)
    stored = dict(reviewer().mutated(request(factory.ray_cluster())).document)
    verdict = reviewer().verdict(request(stored))
    assert [violation.message for violation in verdict.denied] == [
        "this rule has more than 500 findings"
    ]


def test_a_mutation_that_raises_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    last = MUTATIONS[-1]

    def broken(self: object, draft: Any, *_arguments: object) -> Any:
        draft.set(ROOT / "metadata", "half", "done")
        raise RuntimeError

    monkeypatch.setattr(type(last), "mutate", broken)
    document = factory.ray_cluster()
    result = mutate(Kind.of(document), document, factory.facts())
    assert [failure.member for failure in result.failed] == ["ray-tls"]
    assert "half" not in result.document["metadata"]
    assert "pod-security" in result.mutations
