"""Rows 26 to 30 and 34: namespaces, opting out, NetworkPolicies, and what changes later."""

from typing import Any

import pytest

from policies.config import Policy
from tests.bypasses.admission import HEAD, RAY, WORKER, by_both, passes, refused, stored, verdict
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster
from webhook.admission.reviewer import Reviewer
from webhook.manifests.state import ManifestNamespaces

OPT_OUT = {"no-opt-out"}
FALSE = {"raywarden.io/inject": "false"}


def labeled(**labels: str) -> Object:
    return changed(
        related_objects.namespace(),
        {"/metadata/labels": {f"raywarden.io/{name}": v for name, v in labels.items()}},
    )


@pytest.mark.parametrize("mode", ["enforce", "warn", "audit"])
@pytest.mark.parametrize("level", ["baseline", "privileged", None])
def test_26_a_weakened_namespace(mode: str, level: str | None) -> None:
    before = labeled(**{mode: "restricted"})
    after = labeled(**({mode: level} if level else {}))
    assert refused(after, before, user="author") == OPT_OUT
    ending = {"/metadata/deletionTimestamp": "2026-11-20T08:00:00Z"}
    assert refused(changed(after, ending), changed(before, ending), user="author") == OPT_OUT
    for sub_resource in ("status", "finalize"):
        assert refused(after, before, user="author", subResource=sub_resource) == OPT_OUT
    assert verdict(after, before, user="root", groups=["system:masters"]) == (set(), set())
    assert verdict(before, after, user="author") == (set(), set())


@pytest.mark.parametrize("level", ["privileged", "Privileged", "none", ""])
def test_26_a_label_weaker_than_the_policy_has_no_effect(level: str) -> None:
    bad = changed(ray_cluster(), {f"{HEAD}/spec/hostNetwork": True})
    assert "no-host-access" in refused(bad, None, labeled(enforce=level))


def test_26_a_new_namespace_remains() -> None:
    """Users who may create namespaces may omit the labels; the profiles of the policy apply."""
    assert passes(labeled(enforce="privileged"))


@pytest.mark.parametrize("value", ["false", "False", "no", "0", ""])
def test_27_opting_out(value: str) -> None:
    out = {"raywarden.io/inject": value}
    for field in ("labels", "annotations"):
        assert refused(changed(ray_cluster(), {f"/metadata/{field}": out})) >= OPT_OUT
        assert refused(changed(ray_cluster(), {f"{WORKER}/metadata/{field}": out})) >= OPT_OUT
        assert refused(factory.worker_pod(**out)) >= OPT_OUT
        before = stored(factory.worker_pod())
        place = f"/metadata/{field}/raywarden.io~1inject"
        assert refused(changed(before, {place: value}), before, user="author") >= OPT_OUT


def test_27_a_cluster_may_opt_out_only_as_a_whole() -> None:
    policy = {"inject": {"optOutNamespaces": ["team-a"]}}
    assert refused(changed(ray_cluster(), {"/metadata/labels": FALSE}), policy=policy) == set()
    assert (
        refused(changed(ray_cluster(), {f"{HEAD}/metadata/labels": FALSE}), policy=policy)
        >= OPT_OUT
    )


@pytest.mark.parametrize("mode", ["off", "Managed", "none", ""])
def test_27_turning_network_isolation_off(mode: str) -> None:
    out = {"raywarden.io/network-isolation": mode}
    for document in (ray_cluster(), factory.ray_job(), factory.ray_service()):
        assert refused(changed(document, {"/metadata/annotations": out})) == OPT_OUT


def test_27_letting_clients_in_where_authors_may_not() -> None:
    entry = {"raywarden.io/allow-from": "notebooks:10001"}
    document = changed(ray_cluster(), {"/metadata/annotations": entry})
    assert refused(document) == OPT_OUT
    assert refused(document, policy={"networkIsolation": {"authorsMayAllow": True}}) == set()


def test_27_a_removed_annotation_is_restored() -> None:
    before = stored(ray_cluster())
    after = changed(before, {"/metadata/annotations": {}})
    sent = factory.request(after, "UPDATE", before, "author")
    mutated = factory.reviewer().mutated(sent).document
    assert mutated["metadata"]["annotations"]["raywarden.io/network-isolation"] == "managed"
    assert "no-opt-out" in factory.reviewer().validate(sent).denied


def test_27_a_cluster_that_was_not_mutated_remains() -> None:
    sent = factory.request(ray_cluster())
    assert "no-opt-out" not in factory.reviewer().validate(sent).denied


def test_28_other_namespaces() -> None:
    """Requests that reach the webhook are checked as usual, and `restricted` refuses Ray there."""
    for namespace in ("kube-system", "kube-public", "default"):
        document = changed(ray_cluster(), {"/metadata/namespace": namespace})
        bad = changed(document, {f"{HEAD}/spec/hostNetwork": True})
        assert refused(bad) == {"no-host-access"}
        warned, denied = by_both(document)
        assert "namespace-isolation" in warned & denied


def test_28_ray_in_a_system_namespace_remains() -> None:
    """RBAC decides who may write there; the webhook is not registered for these namespaces."""
    assert passes(changed(ray_cluster(), {"/metadata/namespace": "kube-system"}))


@pytest.mark.parametrize(
    ("image", "rules"),
    [("rayproject/ray", {"pinned-images"}), ("rayproject/ray:latest", {"pinned-images"})],
)
def test_30_tags_that_change_over_time(image: str, rules: set[str]) -> None:
    """Refused by `restricted` only; `requireDigest` in the policy refuses tags in every profile."""
    document = changed(ray_cluster(), {f"{RAY}/image": image})
    warned, denied = by_both(document)
    assert rules <= warned & denied
    policy = {"rules": {"trusted-images": {"parameters": {"requireDigest": True}}}}
    digest = f"rayproject/ray@sha256:{'0' * 64}"
    assert "trusted-images" in refused(ray_cluster(), policy=policy)
    both = changed(
        ray_cluster(), {f"{RAY}/image": digest, f"{WORKER}/spec/containers/0/image": digest}
    )
    assert refused(both, policy=policy) == set()


def test_30_content_that_changes_behind_a_name_remains() -> None:
    """A tag can be pushed again, and admission never sees the content of ConfigMaps and Secrets."""
    source = [{"name": "setup", "configMap": {"name": "setup"}}]
    mount = [{"name": "setup", "mountPath": "/setup"}]
    run = {
        f"{HEAD}/spec/volumes": source,
        f"{RAY}/volumeMounts": mount,
        f"{RAY}/command": [". /setup/run.sh"],
    }
    assert passes(changed(ray_cluster(), run))


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"from": []},
        {"from": [{"namespaceSelector": {}}]},
        {
            "from": [
                {"namespaceSelector": {"matchLabels": {}}, "podSelector": {"matchExpressions": []}}
            ]
        },
        {
            "from": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]
                    }
                }
            ]
        },
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]},
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]},
        {"from": [{"ipBlock": {"cidr": f"{net}.0.0.0/8"}} for net in range(1, 9)]},
        {"ports": [{"port": 8000, "endPort": 9000}]},
        {"ports": [{"port": "dashboard"}]},
    ],
)
def test_34_network_policies_that_allow_everyone(rule: Object) -> None:
    """Refused by `restricted` only, because not every network enforces NetworkPolicies."""
    wide = changed(
        related_objects.network_policy(), {"/spec/ingress": [rule], "/metadata/name": "demo-head"}
    )
    for before in (None, related_objects.network_policy()):
        warned, denied = by_both(wide, before)
        assert warned == denied == {"network-policy-present"}
    own = ray_cluster(networkPolicy={"mode": "DenyAll", "head": {"ingressRules": [rule]}})
    warned, denied = by_both(own)
    assert warned == denied == {"network-policy-present"}


def test_34_a_policy_created_first_under_kuberays_name() -> None:
    own = ray_cluster(networkPolicy={"mode": "DenyAll"})
    existing = changed(related_objects.network_policy(), {"/metadata/name": "demo-head"})
    denied, warned = verdict(own, None, existing, policy={"profiles": {"enforce": "restricted"}})
    assert denied == {"network-policy-present"} and not warned


def test_34_a_label_removed_from_a_pod() -> None:
    """The policy stays, but it no longer selects the pod."""
    policy = changed(
        related_objects.network_policy(), {"/spec/podSelector": {"matchLabels": {"app": "ray"}}}
    )
    without_policies = [
        item for item in factory.namespace_objects() if item["kind"] != "NetworkPolicy"
    ]
    parsed = Policy.parse({"profiles": {"enforce": "restricted"}})
    namespaces = ManifestNamespaces([*without_policies, policy], complete=True)
    reviewer = Reviewer(lambda: parsed, lambda: factory.SIGNER, namespaces, lambda: factory.TODAY)
    before = stored(factory.head_pod(app="ray"))
    sent: Any = factory.request(
        changed(before, {"/metadata/labels/app": "x"}), "UPDATE", before, "author"
    )
    assert reviewer.validate(sent).denied == ("network-policy-present",)


def test_34_deleted_policies_and_private_networks_remain() -> None:
    """A DELETE is never refused, and private networks count as trusted, even the pod network."""
    sent = factory.request(related_objects.network_policy(), "DELETE")
    assert factory.reviewer({"profiles": {"enforce": "restricted"}}).validate(sent).response.allowed
    private = [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
    assert verdict(changed(related_objects.network_policy(), {"/spec/ingress": private})) == (
        set(),
        set(),
    )
