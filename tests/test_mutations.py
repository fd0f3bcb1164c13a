"""The injection contract: what a Ray pod gets, where, and what is left alone."""

import copy
from typing import Any

import jsonpatch
import kubernetes_validate
import pytest

from policies.config import Policy
from policies.evaluate import Mutated, mutate, validate
from policies.model import Facts
from policies.workload import Kind
from tests import factory
from tests.factory import IMAGE, Object, changed, container, facts

TLS = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "/etc/ray/tls/tls.crt",
    "RAY_TLS_SERVER_KEY": "/etc/ray/tls/tls.key",
    "RAY_TLS_CA_CERT": "/etc/ray/tls/ca.crt",
}
OLD = "UPDATE"


def mutated(document: Object, given: Facts | None = None) -> Mutated:
    """The mutation, after the checks every mutation must pass."""
    given = given or facts()
    original = copy.deepcopy(document)
    result = mutate(Kind.of(document), document, given)
    assert result.failed == ()
    assert document == original, "the caller's object was changed"
    assert jsonpatch.apply_patch(original, result.operations) == result.document
    assert mutate(Kind.of(document), result.document, given).operations == [], "mutating twice is not mutating once"
    return result


def after(document: Object, given: Facts | None = None) -> Any:
    return mutated(document, given).document


def template_of(document: Object, group: str = "head") -> Any:
    spec = document["spec"]
    return (spec["headGroupSpec"] if group == "head" else spec["workerGroupSpecs"][0])["template"]


def env(one: Object) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in one["env"]}


def denials(document: Object, given: Facts | None = None) -> list[str]:
    return [v.rule for v in validate(Kind.of(document), document, Policy.parse(None), given or facts()).denied]


def only(pod: Object, name: str, listed: str = "containers") -> Object:
    return next(one for one in pod["spec"][listed] if one["name"] == name)


class TestRayTls:
    @pytest.mark.parametrize("group", ["head", "worker"])
    def test_a_cluster_gets_the_whole_contract_in_every_group(self, group: str) -> None:
        template = template_of(after(factory.ray_cluster()), group)
        ray = template["spec"]["containers"][0]
        assert env(ray) == {
            "RAYWARDEN_POD_IP": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
            **TLS,
        }
        assert next(iter(env(ray))) == "RAYWARDEN_POD_IP"
        assert ray["volumeMounts"] == [{"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True}]
        assert template["metadata"]["labels"] == {"raywarden.io/tls": "managed"}
        assert template["spec"]["volumes"] == [
            {"name": "raywarden-tls", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {
                "name": "raywarden-token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "path": "token",
                                "audience": "raywarden.io",
                                "expirationSeconds": 600,
                            }
                        }
                    ],
                    "defaultMode": 0o644,
                },
            },
        ]

    def test_the_init_container_has_its_final_contract(self) -> None:
        enroll = template_of(after(factory.ray_cluster()))["spec"]["initContainers"][0]
        assert (enroll["name"], enroll["image"]) == ("raywarden-enroll", factory.SIGNER.image)
        assert enroll["command"] == ["raywarden", "enroll"]
        assert env(enroll) == {
            "RAYWARDEN_POD_IP": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
            "RAYWARDEN_SIGNER_URL": factory.SIGNER.url,
            "RAYWARDEN_SIGNER_CA": factory.SIGNER.ca,
        }
        assert enroll["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert enroll["volumeMounts"] == [
            {"name": "raywarden-tls", "mountPath": "/etc/ray/tls"},
            {"name": "raywarden-token", "mountPath": "/var/run/secrets/raywarden.io", "readOnly": True},
        ]
        assert {*enroll["resources"]["requests"]} == {*enroll["resources"]["limits"]} == {"cpu", "memory"}

    def test_it_stands_before_what_kuberay_and_the_author_put_there(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/initContainers/-": container("fetch-model")})
        names = [one["name"] for one in after(pod)["spec"]["initContainers"]]
        assert names == ["raywarden-enroll", "wait-gcs-ready", "fetch-model"]

    def test_kuberays_own_containers_speak_tls_too(self) -> None:
        head, worker = after(factory.head_pod()), after(factory.worker_pod())
        for one in (only(head, "autoscaler"), only(worker, "wait-gcs-ready", "initContainers")):
            assert env(one).items() >= TLS.items()
            assert one["volumeMounts"] == [{"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True}]

    def test_a_sidecar_with_another_image_gets_nothing(self) -> None:
        pod = changed(factory.head_pod(), {"/spec/containers/-": container("logs", image="fluent-bit:3")})
        assert not {"env", "volumeMounts"} & only(after(pod), "logs").keys()

    def test_what_the_author_wrote_stays_where_it_was(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["containers"][0] |= {
            "env": [{"name": "OWN", "value": "1"}],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "unheardOf": {"kept": True},
        }
        pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
        ray = after(pod)["spec"]["containers"][0]
        assert list(env(ray)) == ["RAYWARDEN_POD_IP", *TLS, "OWN"]
        assert ray["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}
        assert ray["envFrom"] == [{"configMapRef": {"name": "settings"}}]
        assert ray["unheardOf"] == {"kept": True}

    def test_a_variable_the_author_set_is_not_overwritten_but_refused(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["containers"][0]["env"] = [{"name": "RAY_USE_TLS", "value": "yes"}]
        result = after(pod)
        assert [e for e in result["spec"]["containers"][0]["env"] if e["name"] == "RAY_USE_TLS"] == [
            {"name": "RAY_USE_TLS", "value": "yes"}
        ]
        assert denials(result) == ["tls-on"]

    def test_an_init_container_of_our_name_is_replaced_and_put_first(self) -> None:
        pod = factory.worker_pod()
        pod["spec"]["initContainers"] += [container("raywarden-enroll", command=["sh"])] * 2
        result = after(pod)
        assert [one["name"] for one in result["spec"]["initContainers"]] == ["raywarden-enroll", "wait-gcs-ready"]
        assert result["spec"]["initContainers"][0]["command"] == ["raywarden", "enroll"]
        assert denials(result) == []

    def test_a_pod_with_an_older_init_container_gets_todays(self) -> None:
        pod = after(factory.worker_pod())
        pod["spec"]["initContainers"][0] |= {"image": "raywarden:0.0.9"}
        assert after(pod)["spec"]["initContainers"][0]["image"] == factory.SIGNER.image

    def test_what_kuberay_and_the_api_server_add_to_it_is_left(self) -> None:
        pod = after(factory.worker_pod())
        enroll = pod["spec"]["initContainers"][0]
        enroll["env"] += [{"name": "FQ_RAY_IP", "value": "demo-head-svc.team-a.svc.cluster.local"}]
        enroll["env"] += [{"name": "RAY_IP", "value": "demo-head-svc"}]
        enroll |= {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
        token = {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        enroll["volumeMounts"].append({**token, "readOnly": True})
        assert mutated(pod).operations == []
        assert denials(pod) == []

    def test_a_mount_in_our_place_is_refused_not_doubled(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["volumes"] = [{"name": "mine", "emptyDir": {}}]
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "mine", "mountPath": "/etc/ray/./tls/"}]
        result = after(pod)
        assert len(result["spec"]["containers"][0]["volumeMounts"]) == 1
        assert {*denials(result)} == {"tls-on", "reserved-names"}

    def test_submitters_and_strangers_get_no_tls(self) -> None:
        assert "initContainers" not in after(factory.submitter_pod())["spec"]
        assert mutated(factory.head_pod(**{"raywarden.io/tls": "other"})).operations == []

    @pytest.mark.parametrize("role", ["head", "worker", "client"])
    def test_pods_without_kuberay_opt_in_by_label(self, role: str) -> None:
        pod = after(factory.opted_in_pod(role))
        assert env(pod["spec"]["containers"][0]).items() >= TLS.items()
        assert denials(pod) == []

    def test_an_author_cannot_opt_a_kuberay_pod_into_another_role(self) -> None:
        pod = factory.worker_pod(**{"raywarden.io/cluster": "x", "raywarden.io/role": "redis-cleanup"})
        assert after(pod)["spec"]["initContainers"][0]["name"] == "raywarden-enroll"

    def test_the_redis_clean_up_pod_does_not_wait_for_a_certificate(self) -> None:
        pod = after(factory.head_pod())
        pod["metadata"]["labels"]["ray.io/node-type"] = "redis-cleanup"
        assert after(pod)["spec"]["initContainers"] == []
        for controller in ("system:serviceaccount:kube-system:job-controller", "system:kube-controller-manager"):
            assert denials(after(pod), facts(user=controller)) == []
        assert denials(after(pod)) == ["tls-on"], "a label is nobody's word"


class TestKeyMode:
    def mode(self, document: Object, **inject: Any) -> tuple[Any, list[str]]:
        enroll = after(document, facts(**inject))["spec"]["initContainers"][0]
        return enroll["securityContext"].get("runAsUser"), enroll["args"]

    def test_owner_only_where_the_image_names_the_user(self) -> None:
        assert self.mode(factory.worker_pod()) == (1000, ["--key-mode", "0400"])

    def test_docker_hub_by_its_full_name_is_the_same_image(self) -> None:
        pod = factory.worker_pod()
        for one in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
            one["image"] = f"docker.io/{IMAGE}"
        assert self.mode(pod) == (1000, ["--key-mode", "0400"])

    def test_owner_only_where_the_spec_names_the_user(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/runAsUser": 4711})
        assert self.mode(pod, nonRootImages=[]) == (4711, ["--key-mode", "0400"])

    def test_group_where_only_that_is_known(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/fsGroup": 100})
        assert self.mode(pod, nonRootImages=[]) == (None, ["--key-mode", "0440"])

    def test_everyone_where_nothing_is_known_or_users_differ(self) -> None:
        assert self.mode(factory.worker_pod(), nonRootImages=[]) == (None, ["--key-mode", "0444"])
        mixed = changed(factory.head_pod(), {"/spec/containers/1/securityContext/runAsUser": 4711})
        assert self.mode(mixed) == (None, ["--key-mode", "0444"])

    def test_root_is_nobody_to_write_a_key_as(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/runAsUser": 0})
        assert self.mode(pod) == (None, ["--key-mode", "0444"])


class TestOwnCertificate:
    cluster = changed(factory.ray_cluster(), {"/metadata/annotations/raywarden.io~1tls-secret": "corporate"})

    def test_a_secret_takes_the_place_of_enrolment(self) -> None:
        template = template_of(after(self.cluster), "worker")
        assert "initContainers" not in template["spec"]
        assert template["spec"]["volumes"] == [
            {"name": "raywarden-tls", "secret": {"secretName": "corporate", "defaultMode": 0o644}}
        ]
        assert template["metadata"]["annotations"] == {"raywarden.io/tls-secret": "corporate"}
        assert denials(after(self.cluster)) == []

    def test_its_pods_are_completed_the_same_way(self) -> None:
        pod = changed(factory.worker_pod(), {"/metadata/annotations/raywarden.io~1tls-secret": "corporate"})
        assert [one["name"] for one in after(pod)["spec"]["initContainers"]] == ["wait-gcs-ready"]
        assert denials(after(pod)) == []

    def test_the_authors_file_can_be_applied_again(self) -> None:
        stored = after(self.cluster)
        assert after(self.cluster, facts(OLD, stored)) == stored
        assert denials(stored, facts(OLD, stored)) == []

    def test_a_new_group_does_as_the_others_do(self) -> None:
        enrolled = after(factory.ray_cluster())
        grown = changed(enrolled, {"/metadata/annotations/raywarden.io~1tls-secret": "late"})
        grown["spec"]["workerGroupSpecs"].append({**factory.cluster_spec()["workerGroupSpecs"][0], "groupName": "new"})
        new = after(grown, facts(OLD, enrolled))["spec"]["workerGroupSpecs"][1]["template"]["spec"]
        assert new["initContainers"][0]["name"] == "raywarden-enroll"


class TestLeftAlone:
    def test_kuberays_own_mtls(self) -> None:
        cluster = factory.ray_cluster(tlsOptions={"enabled": True})
        assert mutated(cluster).operations == []
        assert denials(cluster) == []

    def test_tls_set_up_by_hand(self) -> None:
        cluster = factory.by_hand(factory.ray_cluster())
        assert mutated(cluster).operations == []
        assert denials(cluster) == []

    @pytest.mark.parametrize("kind", ["rayjob", "rayservice", "raycronjob"])
    def test_kinds_that_kuberay_makes_a_cluster_of(self, kind: str) -> None:
        assert mutated(factory.MINIMAL[kind]()).operations == []

    def test_a_cluster_born_before_us(self) -> None:
        old = factory.ray_cluster()
        new = changed(old, {"/spec/workerGroupSpecs/0/replicas": 2})
        assert mutated(new, facts(OLD, old)).operations == []
        assert denials(new, facts(OLD, old)) == []

    def test_a_cluster_born_before_us_that_claims_our_mark(self) -> None:
        old = factory.ray_cluster()
        new = changed(old, {"/metadata/labels/raywarden.io~1tls": "managed"})
        assert mutated(new, facts(OLD, old)).operations == []
        assert {*denials(new, facts(OLD, old))} == {"tls-on"}

    def test_one_decoy_group_by_hand_does_not_count(self) -> None:
        cluster = factory.ray_cluster()
        decoy = factory.by_hand(cluster)["spec"]["workerGroupSpecs"][0]
        cluster["spec"]["workerGroupSpecs"].append({**decoy, "groupName": "decoy", "replicas": 0})
        document = after(cluster)
        assert env(template_of(document)["spec"]["containers"][0]).items() >= TLS.items()
        assert {*denials(document)} == {"tls-on"}

    def test_pods_on_update(self) -> None:
        assert mutated(factory.head_pod(), facts(OLD, factory.head_pod())).operations == []


class TestPodSecurity:
    def test_the_restricted_standard_where_nothing_was_said(self) -> None:
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
            ("/spec/securityContext/seccompProfile", {"type": "Localhost", "localhostProfile": "ray.json"}),
            ("/spec/containers/0/securityContext/allowPrivilegeEscalation", True),
            ("/spec/containers/0/securityContext/capabilities", {"drop": ["NET_RAW"]}),
            ("/spec/containers/0/securityContext/runAsNonRoot", False),
        ],
    )
    def test_what_the_author_said_stays(self, pointer: str, value: Any) -> None:
        pod = changed(factory.head_pod(), {pointer: value})
        *way, last = pointer.split("/")[1:]
        node = after(pod)
        for token in way:
            node = node[int(token)] if token.isdecimal() else node[token]
        assert node[last] == value

    @pytest.mark.parametrize("said", [{"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}}])
    def test_nothing_the_api_server_would_refuse_together(self, said: Object) -> None:
        pod = changed(factory.head_pod(), {"/spec/containers/0/securityContext": said})
        context = after(pod)["spec"]["containers"][0]["securityContext"]
        assert "allowPrivilegeEscalation" not in context
        assert denials(after(pod)) == ["no-privileged"]

    def test_non_root_only_where_it_cannot_break_the_pod(self) -> None:
        own = changed(factory.submitter_pod(), {"/spec/containers/0/image": "registry.internal/team/ray:1"})
        assert "runAsNonRoot" not in after(own)["spec"]["containers"][0]["securityContext"]
        named = changed(own, {"/spec/securityContext/runAsUser": 1000})
        assert after(named)["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] is True
        root = changed(own, {"/spec/securityContext/runAsUser": 0})
        assert "runAsNonRoot" not in after(root)["spec"]["containers"][0]["securityContext"]

    def test_submitters_get_it_and_nothing_else(self) -> None:
        assert mutated(factory.submitter_pod()).mutations == ("pod-security",)


class TestNodeIpAddress:
    def addresses(self, document: Object, **inject: Any) -> list[Any]:
        spec = after(document, facts(**inject))["spec"]
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        return [group["rayStartParams"].get("node-ip-address") for group in groups]

    def test_the_pod_ip_for_everyone(self) -> None:
        assert self.addresses(factory.ray_cluster()) == ["$(RAYWARDEN_POD_IP)"] * 2

    def test_off(self) -> None:
        assert self.addresses(factory.ray_cluster(), nodeIpAddress="off") == [None, None]

    def test_the_authors_choice_stays_and_is_judged(self) -> None:
        cluster = changed(factory.ray_cluster(), {"/spec/headGroupSpec/rayStartParams/node-ip-address": "10.0.0.1"})
        assert self.addresses(cluster) == ["10.0.0.1", "$(RAYWARDEN_POD_IP)"]
        assert denials(after(cluster)) == ["safe-ray-start-params"]

    def test_the_service_name_for_the_head_where_ray_can_start_with_it(self) -> None:
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
    def test_the_pod_ip_where_it_cannot_and_the_author_reads_why(self, change: Object) -> None:
        result = mutated(changed(factory.ray_cluster(), change), facts(nodeIpAddress="fqdn"))
        head: Any = result.document["spec"]
        assert head["headGroupSpec"]["rayStartParams"]["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
        assert result.warnings[0].startswith("the head keeps its pod IP as node-ip-address")


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

    def test_ray_keeps_its_token_where_it_asks_the_api_server(self) -> None:
        document = after(factory.ray_cluster(authOptions={"mode": "token", "enableK8sTokenAuth": True}))
        assert "automountServiceAccountToken" not in template_of(document, "worker")["spec"]

    def test_a_token_that_is_mounted_already_is_not_denied(self) -> None:
        pod = factory.worker_pod()
        path = "/var/run/secrets/kubernetes.io/serviceaccount"
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "kube-api-access", "mountPath": path}]
        assert "automountServiceAccountToken" not in after(pod)["spec"]

    def test_token_authentication_where_asked_for_and_possible(self) -> None:
        asked = facts(auth="token")
        assert after(factory.ray_cluster(), asked)["spec"]["authOptions"] == {"mode": "token"}
        own = factory.ray_cluster(authOptions={"mode": "disabled"})
        assert after(own, asked)["spec"]["authOptions"] == {"mode": "disabled"}
        old = mutated(factory.ray_cluster(rayVersion="2.51.0"), asked)
        assert "authOptions" not in old.document["spec"]
        assert "only where spec.rayVersion is 2.52 or later" in old.warnings[0]
        nightly = mutated(factory.ray_cluster(rayVersion="nightly"), asked)
        assert "authOptions" not in nightly.document["spec"]
        assert "authOptions" not in after(factory.ray_cluster())["spec"]

    @pytest.mark.parametrize("mode", ["DenyAll", "DenyAllEgress", None])
    def test_a_way_out_to_the_signer_and_dns(self, mode: str | None) -> None:
        policy: Object = {"mode": mode} if mode else {}
        policy["workerGroups"] = [{"groupName": "small", "egressRules": [{"ports": [{"port": 443}]}]}]
        written = after(factory.ray_cluster(networkPolicy=policy))["spec"]["networkPolicy"]
        signer = {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "raywarden-system"}}}],
            "ports": [{"protocol": "TCP", "port": 8444}],
        }
        for rules in (written["head"]["egressRules"], written["worker"]["egressRules"]):
            assert rules[0] == signer
            assert rules[1]["ports"] == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
        assert written["workerGroups"][0]["egressRules"][:2] == [{"ports": [{"port": 443}]}, signer]

    def test_open_egress_needs_no_rule(self) -> None:
        policy = {"mode": "DenyAllIngress"}
        assert after(factory.ray_cluster(networkPolicy=policy))["spec"]["networkPolicy"] == policy

    def test_autoscaling_switched_on_later_gives_the_head_its_token(self) -> None:
        stored = after(factory.ray_cluster())
        scaling = changed(stored, {"/spec/enableInTreeAutoscaling": True})
        document = after(scaling, facts(OLD, stored))
        assert template_of(document, "head")["spec"]["automountServiceAccountToken"] is True
        assert template_of(document, "worker")["spec"]["automountServiceAccountToken"] is False

    def test_an_author_who_denies_the_autoscaler_its_token_is_told(self) -> None:
        denied = {"/spec/headGroupSpec/template/spec/automountServiceAccountToken": False}
        result = mutated(changed(factory.ray_cluster(enableInTreeAutoscaling=True), denied))
        assert result.warnings == ("the head needs an API token: write automountServiceAccountToken: true",)


class TestMarkerMode:
    """`inject.rayCluster: marker`, for those whose GitOps tool minds every field."""

    given = facts(rayCluster="marker")

    def test_the_cluster_is_only_marked_and_addressed(self) -> None:
        result = mutated(factory.ray_cluster(), self.given)
        assert result.mutations == ("node-ip-address", "ray-tls")
        template = template_of(result.document)  # type: ignore[arg-type]  # documents are read-only to callers
        assert template["metadata"]["labels"] == {"raywarden.io/tls": "managed"}
        assert template["spec"] == factory.template("ray-head")["spec"]
        assert denials(dict(result.document), self.given) == []

    def test_its_pods_get_the_rest(self) -> None:
        assert env(after(factory.worker_pod(), self.given)["spec"]["containers"][0]).items() >= TLS.items()

    def test_later_in_full_mode_it_stays_as_it_was_created(self) -> None:
        stored = after(factory.ray_cluster(), self.given)
        assert mutated(stored, facts(OLD, stored)).operations == []
        scaled = changed(stored, {"/spec/workerGroupSpecs/0/replicas": 3})
        assert denials(scaled, facts(OLD, stored)) == []


class TestUpdates:
    """Sticky: neither our upgrade nor the author's file ever changes the spec that KubeRay hashes."""

    stored = after(factory.ray_cluster(networkPolicy={"mode": "DenyAll"}), facts(auth="token"))
    # Written by an earlier version of ours, as far as that can differ.
    stored["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"][0]["image"] = "raywarden:0.0.9"

    def test_applying_the_authors_file_again_changes_nothing(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        result = after(author, facts(OLD, self.stored, auth="off", nodeIpAddress="off"))
        assert result == self.stored
        assert denials(result, facts(OLD, self.stored)) == []

    def test_the_groups_may_stand_in_another_order(self) -> None:
        second = {**factory.cluster_spec()["workerGroupSpecs"][0], "groupName": "large", "replicas": 7}
        two = factory.ray_cluster()
        two["spec"]["workerGroupSpecs"].append(second)
        stored = after(two)
        turned = copy.deepcopy(two)
        turned["spec"]["workerGroupSpecs"].reverse()
        assert after(turned, facts(OLD, stored))["spec"]["workerGroupSpecs"] == stored["spec"]["workerGroupSpecs"][::-1]

    def test_an_update_that_keeps_our_parts_is_left_as_it_is(self) -> None:
        scaled = changed(self.stored, {"/spec/workerGroupSpecs/0/replicas": 9})
        assert mutated(scaled, facts(OLD, self.stored)).operations == []

    def test_a_new_group_gets_todays_contract(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        author["spec"]["workerGroupSpecs"].append({**author["spec"]["workerGroupSpecs"][0], "groupName": "large"})
        result = after(author, facts(OLD, self.stored))
        new = result["spec"]["workerGroupSpecs"][1]
        assert new["template"]["spec"]["initContainers"][0]["image"] == factory.SIGNER.image
        assert new["rayStartParams"]["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
        assert denials(result, facts(OLD, self.stored)) == []

    def test_a_default_that_was_not_there_is_not_written_later(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": None})
        stored["spec"]["headGroupSpec"]["template"]["spec"].pop("automountServiceAccountToken")
        stored["spec"]["workerGroupSpecs"][0]["rayStartParams"].pop("node-ip-address")
        assert mutated(stored, facts(OLD, stored)).operations == []

    def test_an_authors_value_that_was_taken_away_stays_away(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": "NodePort"})
        mended = changed(stored, {"/spec/headGroupSpec/serviceType": None})
        assert "serviceType" not in after(mended, facts(OLD, stored))["spec"]["headGroupSpec"]

    def test_the_mark_cannot_be_taken_off(self) -> None:
        bare = changed(self.stored, {"/metadata/labels": None})
        assert after(bare, facts(OLD, self.stored)) == self.stored

    def test_turning_tls_off_is_refused(self) -> None:
        ray = "/spec/headGroupSpec/template/spec/containers/0"
        off = changed(self.stored, {f"{ray}/env/1": {"name": "RAY_USE_TLS", "value": "0"}})
        assert denials(after(off, facts(OLD, self.stored)), facts(OLD, self.stored)) == ["tls-on"]


class TestTlsStays:
    """Whatever an update says, and whether or not our mutation saw it, TLS is not taken away."""

    stored = after(factory.ray_cluster())

    def test_an_update_that_went_past_our_mutation(self) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, self.stored)) == ["tls-on"]

    def test_the_mark_alone(self) -> None:
        assert denials(changed(self.stored, {"/metadata/labels": None}), facts(OLD, self.stored)) == ["tls-on"]

    def test_the_mark_of_a_template(self) -> None:
        bare = changed(self.stored, {"/spec/headGroupSpec/template/metadata/labels": None})
        assert denials(bare, facts(OLD, self.stored)) == ["tls-on"]

    def test_for_tls_by_hand(self) -> None:
        by_hand = changed(factory.by_hand(factory.ray_cluster()), {"/metadata/labels/raywarden.io~1tls": None})
        assert denials(by_hand, facts(OLD, self.stored)) == ["tls-on"]

    @pytest.mark.parametrize(
        "old", [factory.by_hand(factory.ray_cluster()), factory.ray_cluster(tlsOptions={"enabled": True})]
    )
    def test_tls_of_others_neither(self, old: Object) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, old)) == ["tls-on"]

    def test_nor_from_a_pod(self) -> None:
        pod = after(factory.head_pod())
        bare = changed(pod, {"/metadata/labels/raywarden.io~1tls": None})
        assert {*denials(bare, facts(OLD, pod))} == {"tls-on", "reserved-names"}

    @pytest.mark.parametrize("label", ["ray.io/cluster", "ray.io/node-type", "ray.io/group"])
    @pytest.mark.parametrize("value", ["victim", None])
    def test_a_pod_keeps_the_labels_it_came_with(self, label: str, value: str | None) -> None:
        pod = after(factory.worker_pod())
        moved = changed(pod, {f"/metadata/labels/{label.replace('/', '~1')}": value})
        assert denials(moved, facts(OLD, pod)) == ["reserved-names"]

    def test_a_pod_without_labels_is_judged_all_the_same(self) -> None:
        pod = after(factory.worker_pod())
        debug: Object = {"name": "debug", "image": "busybox:1.36", "securityContext": {"privileged": True}}
        debug["volumeMounts"] = [{"name": "raywarden-tls", "mountPath": "/keys"}]
        bare = changed(pod, {"/metadata/labels": None, "/spec/ephemeralContainers": [debug]})
        assert {*denials(bare, facts(OLD, pod))} == {"no-privileged", "reserved-names", "tls-on"}


class TestOthersOnOurContainer:
    """Admission plugins and other webhooks touch every container; what ours does must not change, nor be undone."""

    pod = after(factory.worker_pod())
    first = "/spec/initContainers/0"

    @pytest.mark.parametrize(
        "change",
        [
            {"imagePullPolicy": "Always"},
            {"resources/limits/ephemeral-storage": "1Gi"},
            {"resources/requests/cpu": "100m"},
            {"env/-": {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}},
            {"volumeMounts/-": {"name": "ca-bundle", "mountPath": "/etc/ssl/certs"}},
            {"securityContext/seLinuxOptions": {"level": "s0:c1,c2"}},
            {"env/0/valueFrom/fieldRef": {"fieldPath": "status.podIP"}},
        ],
    )
    def test_what_is_harmless_is_left(self, change: Object) -> None:
        pod = changed(self.pod, {f"{self.first}/{place}": value for place, value in change.items()})
        assert mutated(pod).operations == []
        assert denials(pod) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"command": ["sh", "-c", "true"]},
            {"args": ["--key-mode", "0777"]},
            {"image": "registry.elsewhere/raywarden:0.1.0"},
            {"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}},
            {"restartPolicy": "Always"},
            {"envFrom": [{"configMapRef": {"name": "x"}}]},
            {"env/-": {"name": "PYTHONPATH", "value": "/tmp"}},
            {"env/-": {"name": "RAYWARDEN_SIGNER_URL", "value": "https://elsewhere"}},
            {"env/1/value": "https://elsewhere"},
            {"volumeMounts/-": {"name": "x", "mountPath": "/etc/ray"}},
            {"volumeMounts/-": {"name": "x", "mountPath": "/var/run/secrets/raywarden.io/token"}},
            {"volumeMounts/0/subPath": "x"},
            {"securityContext/runAsNonRoot": False},
        ],
    )
    def test_what_is_not_is_replaced_or_else_refused(self, change: Object) -> None:
        pod = changed(self.pod, {f"{self.first}/{place}": value for place, value in change.items()})
        assert denials(pod) == ["tls-on"]
        assert after(pod) == self.pod

    def test_replicas_of_two_versions_agree(self) -> None:
        newer = changed(self.pod, {f"{self.first}/image": "raywarden:0.2.0"})
        assert denials(newer) == []


class TestUnreadable:
    """Wrong types are the API server's to refuse; here they are left alone, and the author is told."""

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
    def test_is_left_alone_with_a_warning(self, pointer: str, value: Any) -> None:
        result = mutated(changed(factory.ray_cluster(), {pointer: value}))
        assert any(f"RayWarden left this alone: {pointer} is" in warning for warning in result.warnings)

    def test_a_pod_is_completed_whole_or_not_at_all(self) -> None:
        pod = changed(factory.head_pod(), {"/spec/volumes": "none"})
        assert mutated(pod).mutations == ("pod-security",)


class TestHint:
    def test_it_says_what_was_injected(self) -> None:
        hint = after(factory.ray_cluster())["metadata"]["annotations"]["raywarden.io/injected"]
        assert hint == (
            '{"version":"0.1.0","hash":"0123456789ab","mutations":'
            '["pod-security","node-ip-address","service-type","token-automount","ray-tls"]}'
        )

    def test_a_reinvocation_adds_to_it(self) -> None:
        pod = after(factory.head_pod())
        pod["spec"]["containers"].append(container("ray-history-collector", image="collector:1"))
        hint = after(pod)["metadata"]["annotations"]["raywarden.io/injected"]
        assert '"mutations":["pod-security","ray-tls"]' in hint

    @pytest.mark.parametrize("broken", ["{", "[" * 100_000, '{"mutations": 5}', "5"])
    def test_a_broken_one_is_written_anew(self, broken: str) -> None:
        pod = changed(factory.head_pod(), {"/metadata/annotations/raywarden.io~1injected": broken})
        assert '"hash"' in after(pod)["metadata"]["annotations"]["raywarden.io/injected"]


@pytest.mark.parametrize("kind", ["head-pod", "worker-pod", "submitter-pod", "opted-in-pod"])
def test_mutated_pods_are_valid_to_kubernetes(kind: str) -> None:
    kubernetes_validate.validate(after(factory.MINIMAL[kind]()), "1.37", strict=True)


@pytest.mark.parametrize("group", ["head", "worker"])
def test_mutated_templates_are_valid_to_kubernetes(group: str) -> None:
    template = template_of(after(factory.ray_cluster()), group)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]}
    kubernetes_validate.validate(pod, "1.37", strict=True)
