"""Profiles, modes, namespaces, parameters, exemptions, ratcheting: what is done about a violation."""

import itertools
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from policies import evaluate
from policies.config import Policy
from policies.documents.pointer import ROOT
from policies.problems import PolicyError
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
    """deny, warn, audit or nothing: the strictest thing that was done."""
    asked = reviewer(policy, *namespaces)
    mutated = dict(asked.mutated(request(document, **fields)).document)
    verdict = asked.verdict(request(mutated, **fields))
    assert verdict.failed == ()
    for name, found in (
        ("deny", verdict.denied),
        ("warn", verdict.warned),
        ("audit", verdict.audited),
    ):
        if found:
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
def test_profiles_say_what_is_done(profiles: Object, expected: str) -> None:
    assert outcome(OFFENDER, {"profiles": profiles}) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("enforce", "deny"), ("warn", "warn"), ("audit", "audit"), ("off", "nothing")],
)
def test_one_rule_turned_goes_before_the_profile(mode: str, expected: str) -> None:
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

    def test_it_cannot_choose_a_looser_one(self) -> None:
        assert outcome(OFFENDER, None, namespace(enforce="privileged")) == "deny"

    def test_unless_the_policy_allows_it(self) -> None:
        policy = {"namespacesMayLoosen": True}
        assert outcome(OFFENDER, policy, namespace(enforce="privileged")) == "warn"

    def test_a_misspelt_profile_is_the_strictest(self) -> None:
        assert outcome(OFFENDER, self.loose, namespace(enforce="Baseline")) == "deny"

    def test_the_namespace_of_the_request_counts_not_the_one_in_the_object(self) -> None:
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
    def test_cover_what_they_say(self, exemption: Object, expected: str) -> None:
        assert (
            outcome(OFFENDER, {"exemptions": [{**exemption, "reason": "profiling run"}]})
            == expected
        )

    def test_say_so_when_they_have_ended(self) -> None:
        policy = {
            "exemptions": [
                {"rules": ["no-host-access"], "reason": "profiling run", "until": "2026-11-01"}
            ]
        }
        message = reviewer(policy).validate(request(OFFENDER)).response.message
        assert "the head sets hostNetwork (an exemption from this ended on 2026-11-01)" in message

    def test_leave_their_reason_in_the_audit_log(self) -> None:
        policy = {"exemptions": [{"rules": ["no-host-access"], "reason": "profiling run"}]}
        response = reviewer(policy).validate(request(OFFENDER)).response
        assert response.audit["exempted"] == "no-host-access: profiling run"


class TestRatcheting:
    def verdict(self, new: Object, old: Object) -> tuple[list[str], list[str]]:
        asked = request(new, "UPDATE", old)
        found = reviewer().verdict(asked)
        return [v.message for v in found.denied], [
            v.message for v in found.warned if v.rule != "tls-on"
        ]

    def test_what_was_there_before_only_warns(self) -> None:
        grown = changed(OFFENDER, {"/spec/workerGroupSpecs/0/replicas": 5})
        assert self.verdict(grown, OFFENDER) == ([], ["the head sets hostNetwork"])

    def test_what_is_new_is_refused(self) -> None:
        worse = changed(OFFENDER, {"/spec/workerGroupSpecs/0/template/spec/hostPID": True})
        assert self.verdict(worse, OFFENDER) == (
            ["the worker group small sets hostPID"],
            ["the head sets hostNetwork"],
        )

    def test_a_second_one_of_the_same_kind_is_new(self) -> None:
        ports = "/spec/headGroupSpec/template/spec/containers/0/ports"
        one = changed(factory.ray_cluster(), {ports: [{"hostPort": 80}]})
        two = changed(factory.ray_cluster(), {ports: [{"hostPort": 80}, {"hostPort": 80}]})
        assert len(self.verdict(two, one)[0]) == 1

    def test_the_same_words_about_another_value_are_new(self) -> None:
        param = "/spec/headGroupSpec/rayStartParams/num-cpus"
        old = changed(factory.ray_cluster(), {param: "1 "})
        worse = changed(factory.ray_cluster(), {param: "1;export RAY_USE_TLS=0"})
        assert len(self.verdict(worse, old)[0]) == 1
        assert self.verdict(old, old)[0] == []

    def test_positions_do_not_matter(self) -> None:
        groups = "/spec/workerGroupSpecs"
        bad = changed(factory.ray_cluster(), {f"{groups}/0/template/spec/hostPID": True})
        other = {**factory.cluster_spec()["workerGroupSpecs"][0], "groupName": "new"}
        moved = changed(bad, {groups: [other, *bad["spec"]["workerGroupSpecs"]]})
        assert self.verdict(moved, bad)[0] == []

    def test_mending_is_never_refused(self) -> None:
        assert self.verdict(factory.ray_cluster(), OFFENDER) == ([], [])


class TestNeverRefused:
    def test_what_is_being_deleted(self) -> None:
        going = changed(OFFENDER, {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z"})
        assert outcome(going, operation="UPDATE", old=OFFENDER) == "nothing"
        assert outcome(going) == "deny", "on the way in it is only a claim"

    def test_deleting(self) -> None:
        assert reviewer().validate(request(OFFENDER, "DELETE", OFFENDER)).response.allowed

    def test_what_is_not_ours(self) -> None:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"hostNetwork": True}}
        assert outcome(pod) == "nothing"

    def test_status(self) -> None:
        asked = request(OFFENDER, "UPDATE", factory.ray_cluster(), subResource="status")
        assert reviewer().validate(asked).response.allowed


def test_a_cluster_our_mutation_never_saw_is_not_let_in() -> None:
    verdict = reviewer().verdict(request(factory.ray_cluster()))
    assert [(v.rule, v.remediation) for v in verdict.denied] == [
        ("tls-on", "create it again in a moment")
    ]


def test_all_violations_are_said_at_once_with_place_and_remedy() -> None:
    document = changed(OFFENDER, {"/spec/headGroupSpec/serviceType": "NodePort"})
    asked = reviewer()
    response = asked.validate(request(dict(asked.mutated(request(document)).document))).response
    assert response.message.splitlines() == [
        "no-public-head-service: the head service is a NodePort, open on every node"
        " (at /spec/headGroupSpec/serviceType)."
        " Fix: set serviceType: ClusterIP and use kubectl port-forward, or an Ingress that asks who is there",
        "no-host-access: the head sets hostNetwork (at /spec/headGroupSpec/template/spec/hostNetwork)."
        " Fix: remove hostNetwork",
    ]
    assert response.audit == {"violations": "no-public-head-service,no-host-access"}


def test_answers_are_bounded_and_fit_for_a_terminal() -> None:
    names = [f"\x1b[31mred\n{number}" for number in range(200)]
    volumes = [{"name": name, "hostPath": {"path": "/" + "x" * 5000}} for name in names]
    document = changed(
        factory.ray_cluster(), {"/spec/headGroupSpec/template/spec/volumes": volumes}
    )
    lines = reviewer().validate(request(document)).response.message.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 151 more"
    assert all(len(line) <= 1000 and line.isprintable() for line in lines)


def test_a_rule_that_raises_refuses_and_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
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
        v.rule == "no-host-access" and "this rule failed" in v.message for v in verdict.denied
    )
    assert not any("secret detail" in str(v) for v in verdict.denied)


def test_a_rule_of_restricted_that_raises_refuses_under_baseline_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tls-on` has findings of both levels, and nobody knows which it would have had."""

    def broken(*_arguments: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(TlsOn, "check", broken)
    verdict = reviewer().verdict(request(factory.ray_cluster()))
    assert [violation.rule for violation in verdict.denied] == ["tls-on"]


def test_more_findings_than_anybody_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise those of `restricted`, which only warn, could hide one of `baseline` behind them."""

    def endless(self: AuthOn, *_arguments: object) -> Any:
        return (
            self.violation(f"finding {number}", ROOT, "mend it") for number in itertools.count()
        )

    monkeypatch.setattr(AuthOn, "check", endless)
    stored = dict(reviewer().mutated(request(factory.ray_cluster())).document)
    verdict = reviewer().verdict(request(stored))
    assert [violation.message for violation in verdict.denied] == [
        "there are more than 500 findings of this rule"
    ]


def test_a_mutation_that_raises_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    last = MUTATIONS[-1]
    half = ROOT / "metadata" / "half"

    def broken(self: object, draft: Any, *_arguments: object) -> Any:
        draft.set(half, "done")
        raise RuntimeError

    monkeypatch.setattr(type(last), "mutate", broken)
    document = factory.ray_cluster()
    result = evaluate.mutate(Kind.of(document), document, factory.facts())
    assert [failure.member for failure in result.failed] == ["ray-tls"]
    assert "half" not in result.document["metadata"]
    assert "pod-security" in result.mutations


@pytest.mark.parametrize(
    ("document", "says"),
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
def test_a_wrong_policy_says_where_and_what(document: Any, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(document)
    assert says in str(caught.value)


def test_an_unquoted_off_is_off() -> None:
    file = Policy.parse(
        {"rules": {"tls-on": {"mode": False}}, "inject": {"auth": False, "nodeIpAddress": False}}
    ).file
    assert (file.rules["tls-on"].mode, file.inject.auth, file.inject.node_ip_address) == (
        "off",
        "off",
        "off",
    )


def test_an_empty_policy_is_the_default_one() -> None:
    assert Policy.parse(None).file == Policy.parse({}).file
