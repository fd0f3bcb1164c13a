"""What is said of NetworkPolicies that close too much, through the whole review."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.model import Violation
from policies.ray.operator import NETWORK_POLICY_GATE, KubeRayOperator
from tests.policies.network.test_needs import GUIDE, LABELED
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster, ray_job, ray_service

release = KubeRayOperator.of_release
RULE, PRESENT = "needed-traffic", "network-policy-present"
MANAGED = {"raywarden.io/network-isolation": "managed"}


def warnings(document: Object, *others: Object, rule: str = RULE, **policy: Any) -> list[Violation]:
    """The warnings of a rule about an object that is created in the namespace team-b."""
    placed = [_in_team_b(other) for other in others]
    reviewer = factory.reviewer(policy, *placed)
    verdict = reviewer.verdict(factory.request(_in_team_b(_as_mutated(document))))
    assert verdict.failed == ()
    return [violation for violation in verdict.warned if violation.rule == rule]


def messages(document: Object, *others: Object, **policy: Any) -> set[str]:
    return {violation.message for violation in warnings(document, *others, **policy)}


def _as_mutated(document: Object) -> Object:
    """A new RayCluster with the annotation that RayWarden adds."""
    if document["kind"] != "RayCluster" or "annotations" in document["metadata"]:
        return document
    return changed(document, {"/metadata/annotations": MANAGED})


def _in_team_b(document: Object) -> Object:
    return changed(document, {"/metadata/namespace": "team-b"})


def policy(name: str = "mine", **spec: Any) -> Object:
    document = changed(related_objects.network_policy(), {"/metadata/name": name})
    return {**document, "spec": {"podSelector": {}, **spec}}


def live(cluster: Object | None = None, annotations: Object | None = None) -> Object:
    changes = {"/metadata/uid": "1", "/metadata/annotations": {**MANAGED, **(annotations or {})}}
    return changed(cluster or ray_cluster(), changes)


def of_guide() -> list[Object]:
    specs = [document["spec"] for document in yaml.safe_load_all(GUIDE)]
    return [policy(f"guide-{number}", **spec) for number, spec in enumerate(specs)]


def test_the_policies_of_a_guide_are_explained_to_the_cluster_and_to_each_policy() -> None:
    found = warnings(LABELED, *of_guide())
    assert {violation.message.partition(":")[0] for violation in found} == {
        "NetworkPolicies close egress to DNS for the head",
        "NetworkPolicies close egress to enrollment for the head",
        "NetworkPolicies close egress to DNS for the worker group small",
        "NetworkPolicies close egress to enrollment for the worker group small",
        "NetworkPolicies close egress to other pods of its group for the worker group small",
    }
    assert all(violation.advisory for violation in found)
    assert found[0].remediation == (
        "add to egress of the NetworkPolicy guide-1: {ports: [{protocol: UDP, port: 53}, "
        "{protocol: TCP, port: 53}, {protocol: UDP, port: 5353}, {protocol: TCP, port: 5353}]}"
    )
    *others, last = of_guide()
    of_policy = warnings(last, live(LABELED), *others)
    assert {str(violation.pointer) for violation in of_policy} == {"/spec/egress"}
    assert len(of_policy) == 3 and "of the RayCluster demo" in of_policy[0].message


def test_a_policy_that_closes_ingress_closes_nothing_that_raywarden_opens() -> None:
    deny = policy(policyTypes=["Ingress"])
    for document in (ray_cluster(), ray_job(), ray_service()):
        assert messages(document, deny) == set()
    assert messages(deny, live()) == set()
    unmanaged = changed(ray_cluster(), {"/metadata/uid": "1"})
    assert any("ingress from the worker group small" in each for each in messages(deny, unmanaged))


def test_the_operator_the_submitter_and_the_api_server_are_needed() -> None:
    inside = policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"ray.io/cluster": "x"}}}]}])
    off: Object = {"networkIsolation": {"mode": "off"}}
    of_job = " ".join(messages(ray_job(), inside, **off))
    assert "the pod that submits the job" in of_job and "KubeRay's operator" in of_job
    of_service = " ".join(messages(ray_service(), inside, **off))
    assert "the clients of Serve" in of_service and "the job" not in of_service
    autoscaling = ray_cluster(enableInTreeAutoscaling=True)
    egress = policy(egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}])
    assert any(
        "egress to the API server for the head" in each for each in messages(autoscaling, egress)
    )
    assert not any("the API server" in each for each in messages(ray_cluster(), egress))


def test_a_declared_metrics_port_expects_a_prometheus() -> None:
    ports = [{"name": "metrics", "containerPort": 8080}]
    place = "/spec/headGroupSpec/template/spec/containers/0/ports"
    scraped = changed(ray_cluster(), {place: ports})
    closed: Object = {"networkIsolation": {"mode": "deny-ingress"}}
    monitored: Object = {"mode": "deny-ingress", "monitoring": ["monitoring"]}
    assert any("ingress from Prometheus" in each for each in messages(scraped, **closed))
    assert messages(scraped, networkIsolation=monitored) == set()
    assert messages(ray_cluster(), **closed) == set()


ROUTE: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "dashboard", "namespace": "team-b"},
    "spec": {"defaultBackend": {"service": {"name": "demo-head-svc", "port": {"number": 8265}}}},
}


@pytest.mark.parametrize(
    ("isolation", "annotation", "remedy"),
    [
        ({}, "", "ask the administrator to add CLIENT-NAMESPACE:8265"),
        (
            {"authorsMayAllow": True},
            "",
            "annotate the RayCluster demo with raywarden.io/allow-from: CLIENT-NAMESPACE:8265",
        ),
        ({"authorsMayAllow": True}, "ingress-nginx:8265", ""),
        ({"allowFrom": ["ingress-nginx:10001"]}, "", "CLIENT-NAMESPACE:8265"),
        ({"allowFrom": ["ingress-nginx"]}, "", ""),
        ({"mode": "off"}, "", ""),
    ],
)
def test_an_ingress_to_a_closed_dashboard(isolation: Any, annotation: str, remedy: str) -> None:
    annotations: Object = {"raywarden.io/allow-from": annotation} if annotation else {}
    found = warnings(ROUTE, live(annotations=annotations), networkIsolation=isolation)
    assert [remedy in violation.remediation for violation in found] == ([True] if remedy else [])


def test_an_older_cluster_is_adopted_with_a_command() -> None:
    document = _in_team_b(ray_cluster())
    reviewer = factory.reviewer()
    sent = factory.request(document, "UPDATE", document)
    remedies = {v.remediation for v in reviewer.verdict(sent).warned if v.rule == PRESENT}
    assert remedies == {
        "run raywarden network-policy --adopt team-b/demo, and RayWarden writes NetworkPolicies"
    }
    annotated = changed(document, {"/metadata/annotations": MANAGED})
    sent = factory.request(annotated, "UPDATE", annotated)
    assert not [v for v in reviewer.verdict(sent).warned if v.rule == PRESENT]


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (release("1.6.2"), "KubeRay before 1.7 does not have spec.networkPolicy"),
        (release("1.7"), "unless its feature gate RayClusterNetworkPolicy is on"),
        (release("1.7", "RayClusterNetworkPolicy=false"), "unless its feature gate"),
        (release("v1.7.0", f"A=true,{NETWORK_POLICY_GATE}=true"), ""),
        (release("no version"), ""),
        # A server in a cluster does not know the feature gates.
        (KubeRayOperator(network_policy=False), "KubeRay before 1.7 does not have"),
        (KubeRayOperator(network_policy=True), ""),
    ],
)
def test_kuberays_own_policy_needs_a_kuberay_that_knows_it(
    operator: KubeRayOperator | None, message: str
) -> None:
    reviewer = factory.reviewer(operator=operator or KubeRayOperator())
    cluster = _as_mutated(ray_cluster(networkPolicy={"mode": "DenyAll"}))
    sent = factory.request(_in_team_b(cluster))
    found = [v for v in reviewer.verdict(sent).warned if v.rule == PRESENT]
    assert [message in v.message and v.advisory for v in found] == ([True] if message else [])


strange = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.text(max_size=5)
    | st.just("10.0.0.0/8"),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "from",
                    "to",
                    "ports",
                    "port",
                    "endPort",
                    "protocol",
                    "ipBlock",
                    "cidr",
                    "except",
                    "podSelector",
                    "key",
                    "operator",
                    "namespaceSelector",
                    "matchLabels",
                    "matchExpressions",
                    "values",
                ]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60)
@given(strange, strange, strange)
def test_strange_policies_are_judged_without_an_error(
    selector: Any, rules: Any, types: Any
) -> None:
    spec = {"podSelector": selector, "ingress": rules, "egress": rules, "policyTypes": types}
    odd = changed(policy(), {"/spec": spec})
    for document in (odd, ray_cluster(), ray_service()):
        warnings(document, odd, live())


def test_what_cannot_be_read_is_taken_for_neither_closed_nor_harmless() -> None:
    huge = policy(ingress=[{"from": [{"podSelector": {}}]}] * 70_000)
    assert messages(ray_cluster(), huge) == set()
    opened = warnings(ray_cluster(), huge, rule=PRESENT)
    assert opened and all("let only clients reach" in each.remediation for each in opened)


def test_too_many_policies_are_said_to_be_unknown() -> None:
    rules: list[Any] = [{"to": [{"podSelector": {}}]}] * 200
    many = [policy(f"p{number}", egress=rules) for number in range(20)]
    (unknown,) = messages(ray_cluster(), *many)
    assert "too many NetworkPolicies" in unknown
