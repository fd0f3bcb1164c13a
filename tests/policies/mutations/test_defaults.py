"""Every other default, and the warning where one cannot be written."""

from typing import Any

import pytest

from tests.support import factory
from tests.support.factory import Object, changed, container, facts
from tests.support.injection import OLD, after, denials, mutated, template_of

DNS_PORTS = [
    {"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")
]


class TestPodSecurity:
    def test_the_restricted_standard_is_the_default(self) -> None:
        template = template_of(after(factory.ray_cluster()))
        assert template["spec"]["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        assert template["spec"]["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
        }

    @pytest.mark.parametrize(
        ("pointer", "value"),
        [
            (
                "/spec/securityContext/seccompProfile",
                {"type": "Localhost", "localhostProfile": "ray.json"},
            ),
            ("/spec/containers/0/securityContext/allowPrivilegeEscalation", True),
            ("/spec/containers/0/securityContext/capabilities", {"drop": ["NET_RAW"]}),
            ("/spec/containers/0/securityContext/runAsNonRoot", False),
        ],
    )
    def test_the_authors_value_stays(self, pointer: str, value: Any) -> None:
        pod = changed(factory.head_pod(), {pointer: value})
        *parents, last = pointer.split("/")[1:]
        node = after(pod)
        for token in parents:
            node = node[int(token)] if token.isdecimal() else node[token]
        assert node[last] == value

    @pytest.mark.parametrize(
        "context", [{"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}}]
    )
    def test_no_default_that_the_api_server_would_reject(self, context: Object) -> None:
        pod = changed(factory.head_pod(), {"/spec/containers/0/securityContext": context})
        written = after(pod)["spec"]["containers"][0]["securityContext"]
        assert "allowPrivilegeEscalation" not in written
        assert denials(after(pod)) == ["no-privileged"]

    def test_non_root_only_where_it_cannot_break_the_pod(self) -> None:
        own = changed(
            factory.submitter_pod(), {"/spec/containers/0/image": "registry.internal/team/ray:1"}
        )
        assert "runAsNonRoot" not in after(own)["spec"]["containers"][0]["securityContext"]
        named = changed(own, {"/spec/securityContext/runAsUser": 1000})
        assert after(named)["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] is True
        root = changed(own, {"/spec/securityContext/runAsUser": 0})
        assert "runAsNonRoot" not in after(root)["spec"]["containers"][0]["securityContext"]

    def test_submitter_pods_get_only_this_default(self) -> None:
        assert mutated(factory.submitter_pod()).mutations == ("pod-security",)


class TestNodeIpAddress:
    def addresses(self, document: Object, **inject: Any) -> list[Any]:
        spec = after(document, facts(**inject))["spec"]
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        return [group["rayStartParams"].get("node-ip-address") for group in groups]

    def test_every_group_gets_the_pod_ip_by_default(self) -> None:
        assert self.addresses(factory.ray_cluster()) == ["$(RAYWARDEN_POD_IP)"] * 2

    def test_off_writes_no_address(self) -> None:
        assert self.addresses(factory.ray_cluster(), nodeIpAddress="off") == [None, None]

    def test_the_authors_address_stays_and_is_checked(self) -> None:
        cluster = changed(
            factory.ray_cluster(),
            {"/spec/headGroupSpec/rayStartParams/node-ip-address": "10.0.0.1"},
        )
        assert self.addresses(cluster) == ["10.0.0.1", "$(RAYWARDEN_POD_IP)"]
        assert denials(after(cluster)) == ["safe-ray-start-params"]

    def test_fqdn_gives_the_head_its_service_name(self) -> None:
        names = self.addresses(factory.ray_cluster(), nodeIpAddress="fqdn")
        assert names == ["demo-head-svc.team-a.svc.cluster.local", "$(RAYWARDEN_POD_IP)"]
        assert denials(after(factory.ray_cluster(), facts(nodeIpAddress="fqdn"))) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"/spec/headGroupSpec/serviceType": "NodePort"},
            {"/spec/headGroupSpec/headService": {"metadata": {"name": "mine"}}},
            {"/spec/enableInTreeAutoscaling": True},
            {"/metadata/name": None, "/metadata/generateName": "demo-"},
        ],
    )
    def test_fqdn_falls_back_to_the_pod_ip_and_warns(self, change: Object) -> None:
        result = mutated(changed(factory.ray_cluster(), change), facts(nodeIpAddress="fqdn"))
        spec: Any = result.document["spec"]
        assert spec["headGroupSpec"]["rayStartParams"]["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
        assert result.warnings[0].startswith("the head gets its pod IP as node-ip-address")


class TestSmallDefaults:
    def test_the_head_service_is_a_cluster_ip(self) -> None:
        assert after(factory.ray_cluster())["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"

    def test_no_api_token_for_pods_that_need_none(self) -> None:
        document = after(factory.ray_cluster())
        assert template_of(document, "head")["spec"]["automountServiceAccountToken"] is False
        assert template_of(document, "worker")["spec"]["automountServiceAccountToken"] is False

    def test_the_autoscaler_keeps_its_token(self) -> None:
        document = after(factory.ray_cluster(enableInTreeAutoscaling=True))
        assert "automountServiceAccountToken" not in template_of(document, "head")["spec"]
        assert template_of(document, "worker")["spec"]["automountServiceAccountToken"] is False
        assert "automountServiceAccountToken" not in after(factory.head_pod())["spec"]

    def test_ray_keeps_its_token_if_it_checks_users_with_the_api_server(self) -> None:
        document = after(
            factory.ray_cluster(authOptions={"mode": "token", "enableK8sTokenAuth": True})
        )
        assert "automountServiceAccountToken" not in template_of(document, "worker")["spec"]

    def test_a_pod_that_already_mounts_a_token_keeps_it(self) -> None:
        pod = factory.worker_pod()
        path = "/var/run/secrets/kubernetes.io/serviceaccount"
        pod["spec"]["containers"][0]["volumeMounts"] = [
            {"name": "kube-api-access", "mountPath": path}
        ]
        assert "automountServiceAccountToken" not in after(pod)["spec"]

    def test_raywardens_own_token_is_no_api_token(self) -> None:
        """The init container mounts it where other containers find the API token."""
        pod = changed(after(factory.worker_pod()), {"/spec/automountServiceAccountToken": None})
        assert after(pod)["spec"]["automountServiceAccountToken"] is False

    @pytest.mark.parametrize("mode", ["DenyAll", "DenyAllEgress", None])
    def test_closed_egress_gets_rules_for_enrollment_and_dns(self, mode: str | None) -> None:
        policy: Object = {"mode": mode} if mode else {}
        policy["workerGroups"] = [
            {"groupName": "small", "egressRules": [{"ports": [{"port": 443}]}]}
        ]
        written = after(factory.ray_cluster(networkPolicy=policy))["spec"]["networkPolicy"]
        signer = {
            "to": [
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "raywarden-system"}
                    }
                }
            ],
            "ports": [{"protocol": "TCP", "port": 8444}],
        }
        for rules in (written["head"]["egressRules"], written["worker"]["egressRules"]):
            assert rules[0] == signer
            # At any address: DNS is not always in kube-system.
            assert rules[1:] == [{"ports": DNS_PORTS}]
        assert written["workerGroups"][0]["egressRules"][:2] == [{"ports": [{"port": 443}]}, signer]

    def test_a_stored_cluster_keeps_the_rule_for_dns_in_kube_system(self) -> None:
        """KubeRay hashes the spec of a RayCluster."""
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        stored = after(author)
        narrow = {
            "to": [
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                    }
                }
            ],
            "ports": DNS_PORTS[:2],
        }
        for part in ("head", "worker"):
            stored["spec"]["networkPolicy"][part]["egressRules"][1] = narrow
        for update in (author, stored):
            assert after(update, facts(OLD, stored))["spec"] == stored["spec"]

    def test_open_egress_needs_no_rule(self) -> None:
        policy = {"mode": "DenyAllIngress"}
        assert after(factory.ray_cluster(networkPolicy=policy))["spec"]["networkPolicy"] == policy

    def test_turning_autoscaling_on_later_gives_the_head_its_token(self) -> None:
        stored = after(factory.ray_cluster())
        scaling = changed(stored, {"/spec/enableInTreeAutoscaling": True})
        document = after(scaling, facts(OLD, stored))
        assert template_of(document, "head")["spec"]["automountServiceAccountToken"] is True
        assert template_of(document, "worker")["spec"]["automountServiceAccountToken"] is False

    def test_an_author_who_denies_the_autoscaler_its_token_is_warned(self) -> None:
        denied = {"/spec/headGroupSpec/template/spec/automountServiceAccountToken": False}
        result = mutated(changed(factory.ray_cluster(enableInTreeAutoscaling=True), denied))
        assert result.warnings == (
            "the head needs an API token: set automountServiceAccountToken: true",
        )


class TestUnreadable:
    """The API server rejects wrong types. RayWarden leaves them unchanged and warns the author."""

    @pytest.mark.parametrize(
        ("pointer", "value"),
        [
            ("/spec/headGroupSpec/template/spec/containers/0/env", "A=1"),
            ("/spec/headGroupSpec/template/spec/volumes", {"a": 1}),
            ("/spec/headGroupSpec/template/metadata/labels", ["a"]),
            ("/spec/headGroupSpec/rayStartParams", "none"),
            ("/metadata/labels", 5),
        ],
    )
    def test_a_wrong_type_is_left_unchanged_with_a_warning(self, pointer: str, value: Any) -> None:
        result = mutated(changed(factory.ray_cluster(), {pointer: value}))
        assert any(
            f"RayWarden left this unchanged: {pointer} is" in warning for warning in result.warnings
        )

    def test_a_pod_is_completed_entirely_or_not_at_all(self) -> None:
        pod = changed(factory.head_pod(), {"/spec/volumes": "none"})
        assert mutated(pod).mutations == ("pod-security",)


class TestHint:
    def test_it_names_what_was_injected(self) -> None:
        hint = after(factory.ray_cluster())["metadata"]["annotations"]["raywarden.io/injected"]
        assert hint == (
            '{"version":"0.1.0","hash":"0123456789ab","mutations":'
            '["pod-security","node-ip-address","service-type","token-automount",'
            '"managed-isolation","ray-tls"]}'
        )

    def test_a_reinvocation_adds_to_it(self) -> None:
        pod = after(factory.head_pod())
        pod["spec"]["containers"].append(container("ray-history-collector", image="collector:1"))
        hint = after(pod)["metadata"]["annotations"]["raywarden.io/injected"]
        assert '"mutations":["pod-security","auth-token","ray-tls"]' in hint

    @pytest.mark.parametrize("broken", ["{", "[" * 100_000, '{"mutations": 5}', "5"])
    def test_a_malformed_annotation_is_replaced(self, broken: str) -> None:
        pod = changed(factory.head_pod(), {"/metadata/annotations/raywarden.io~1injected": broken})
        assert '"hash"' in after(pod)["metadata"]["annotations"]["raywarden.io/injected"]
