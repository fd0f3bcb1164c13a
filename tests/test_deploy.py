"""The manifests and the code say the same: paths, ports, kinds, rights, variables, and what is sent to us."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from policies import neighbour, workload
from tests import factory, neighbours, registration
from tests.deploy import DEPLOY, base, only, overlays, rendered, variables
from tests.factory import Object, changed
from webhook.cli import app as command_line
from webhook.policy_file import load_policy
from webhook.rights import rights
from webhook.settings import Settings

FOLDERS = pytest.mark.parametrize("folder", overlays(), ids=lambda folder: folder.name)
# Defined by others than Kubernetes, whose schemas kubernetes-validate does not have.
_FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/")
DEFAULTS = Settings.model_construct()


def container() -> Mapping[str, Any]:
    """Ours, in `deploy/base`."""
    (found,) = only(base(), "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


class TestFiles:
    @pytest.mark.parametrize("file", sorted(DEPLOY.glob("*/**/kustomization.yaml")), ids=lambda file: file.parent.name)
    def test_every_file_beside_a_kustomization_is_in_it(self, file: Path) -> None:
        there = {one.name for one in file.parent.iterdir()} - {"kustomization.yaml"}
        text = file.read_text()
        assert not {name for name in there if name not in text}

    def test_every_component_has_an_overlay(self) -> None:
        components = {one.name for one in (DEPLOY / "components").iterdir()}
        assert components <= {folder.name for folder in overlays()}

    @pytest.mark.parametrize("file", sorted(DEPLOY.glob("*/**/policy.yaml")), ids=lambda file: file.parent.name)
    def test_every_policy_is_one(self, file: Path) -> None:
        load_policy(file)

    def test_every_object_in_base_is_valid(self) -> None:
        for document in base():
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


class TestRendered:
    @FOLDERS
    def test_every_object_is_valid(self, folder: Path) -> None:
        for document in rendered(folder):
            if not document["apiVersion"].startswith(_FOREIGN):
                kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)

    @FOLDERS
    def test_pods_enrol_with_the_image_that_signs_for_them(self, folder: Path) -> None:
        deployment = only(rendered(folder), "Deployment")
        (ours,) = deployment["spec"]["template"]["spec"]["containers"]
        assert ours["image"] == variables(deployment)["RAYWARDEN_ENROLL_IMAGE"]
        assert ours["image"].endswith(":0.1.0")

    @FOLDERS
    def test_our_own_namespace_is_not_sent_to_us(self, folder: Path) -> None:
        objects = rendered(folder)
        (namespace,) = [one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"]
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for webhook in only(objects, kind)["webhooks"]:
                (expression,) = webhook["namespaceSelector"]["matchExpressions"]
                assert expression["values"] == [namespace, "kube-system"]
                assert webhook["clientConfig"]["service"]["namespace"] == namespace

    @FOLDERS
    def test_everything_is_in_one_namespace(self, folder: Path) -> None:
        objects = rendered(folder)
        (namespace,) = [one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"]
        named = {one["metadata"].get("namespace", namespace) for one in objects}
        bound = {subject["namespace"] for one in objects for subject in one.get("subjects", [])}
        assert named | bound == {namespace}

    @FOLDERS
    def test_every_volume_and_reference_leads_somewhere(self, folder: Path) -> None:
        objects = rendered(folder)
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        only(objects, "PriorityClass", pod["priorityClassName"])
        only(objects, "ServiceAccount", pod["serviceAccountName"])
        made = {one["spec"].get("secretName") for one in objects if one["kind"] == "Certificate"}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert "policy.yaml" in only(objects, "ConfigMap", volume["configMap"]["name"])["data"]
            else:
                assert volume["secret"]["secretName"] in made

    @FOLDERS
    def test_every_variable_is_a_setting_with_a_value_it_can_have(self, folder: Path) -> None:
        given = variables(only(rendered(folder), "Deployment"))
        fields = {name.removeprefix("RAYWARDEN_").lower(): value for name, value in given.items()}
        assert fields.keys() <= Settings.model_fields.keys()
        Settings.model_validate({name: value for name, value in fields.items() if value})

    def test_openshifts_own_namespaces_do_not_wait_for_us(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "openshift")
        asked = factory.request(neighbours.route())
        for webhook in only(objects, "ValidatingWebhookConfiguration")["webhooks"]:
            (condition,) = [one for one in webhook["matchConditions"] if one["name"] == "is-not-openshifts-own"]
            for namespace, is_sent in (("openshift-ingress", False), ("openshift", True), ("team-openshift-", True)):
                request = asked.model_copy(update={"namespace": namespace})
                assert registration.holds(condition["expression"], request) is is_sent

    def test_cert_manager_takes_the_ca_bundle_over(self) -> None:
        objects = rendered(DEPLOY / "overlays" / "cert-manager")
        given = variables(only(objects, "Deployment"))
        assert {"RAYWARDEN_TLS_CERT_FILE", "RAYWARDEN_ROOT_KEY_FILE"} <= given.keys()
        groups = [group for rule in only(objects, "ClusterRole")["rules"] for group in rule["apiGroups"]]
        assert "admissionregistration.k8s.io" not in groups
        (serving,) = [
            one for one in objects if one["metadata"]["name"] == "raywarden-serving" and "dnsNames" in one["spec"]
        ]
        names = {
            f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc"
            for one in objects
            if one["kind"] == "Service"
        }
        assert set(serving["spec"]["dnsNames"]) == names
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            annotations = only(objects, kind)["metadata"]["annotations"]
            assert annotations == {"cert-manager.io/inject-ca-from": "raywarden-system/raywarden-serving"}


class TestServer:
    """What the Deployment starts, and what leads to it."""

    def test_it_starts_a_command_there_is(self) -> None:
        names = {str(getattr(command.callback, "__name__", "")) for command in command_line.registered_commands}
        assert container()["args"] == ["serve"] and "serve" in names

    def test_its_ports_are_the_defaults(self) -> None:
        ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
        assert ports == {
            which: getattr(DEFAULTS, f"{which}_port") for which in ("admission", "enrolment", "operations")
        }

    def test_services_lead_to_these_ports_under_the_names_in_our_certificate(self) -> None:
        admission, enrolment = (
            only(base(), "Service", DEFAULTS.admission_service),
            only(base(), "Service", "raywarden-enroll"),
        )
        assert admission["spec"]["ports"] == [{"name": "admission", "port": 443, "targetPort": "admission"}]
        assert enrolment["spec"]["ports"] == [{"name": "enrolment", "port": 8444, "targetPort": "enrolment"}]
        assert DEFAULTS.signer_url == "https://raywarden-enroll.raywarden-system.svc:8444"
        labels = only(base(), "Deployment")["spec"]["template"]["metadata"]["labels"]
        for service in (admission, enrolment):
            assert service["spec"]["selector"].items() <= labels.items()

    def test_network_policies_let_both_ports_in(self) -> None:
        policy = only(base(), "NetworkPolicy")["spec"]
        ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert ports == {DEFAULTS.admission_port, DEFAULTS.enrolment_port}
        ((admission,), (enrolment,)) = (
            [rule for rule in policy["ingress"] if rule["ports"] == [{"port": port}]] for port in sorted(ports)
        )
        assert "from" not in admission
        keys = {one["podSelector"]["matchExpressions"][0]["key"] for one in enrolment["from"]}
        assert keys == {workload.RAY_CLUSTER_LABEL, workload.OPT_IN_CLUSTER_LABEL}

    def test_probes_ask_what_is_answered(self) -> None:
        # tests/test_server.py asks for these over a socket.
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            assert container()[probe]["httpGet"] == {"path": path, "port": "operations"}

    def test_there_is_time_to_end(self) -> None:
        pod = only(base(), "Deployment")["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > DEFAULTS.drain_seconds + DEFAULTS.shutdown_seconds
        # A replica that drains is found out before it stops answering.
        probe = container()["readinessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] < DEFAULTS.drain_seconds


class TestRights:
    def test_they_are_what_the_code_asks_for(self) -> None:
        everywhere = {("", *one) for one in granted(only(base(), "ClusterRole"))}
        ours = {("ours", *one) for one in granted(only(base(), "Role"))}
        wanted = {
            ("ours" if right.ours else "", right.verb, right.resource.group, right.resource.plural, right.name)
            for right in rights("raywarden")
        }
        assert everywhere | ours == wanted

    def test_they_are_bound_to_our_service_account_alone(self) -> None:
        subject = {"kind": "ServiceAccount", "name": "raywarden", "namespace": "raywarden-system"}
        for kind in ("ClusterRole", "Role"):
            binding = only(base(), f"{kind}Binding")
            assert binding["subjects"] == [subject]
            assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "raywarden"}


def granted(role: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every verb, group, resource and name (empty: all)."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield from ((verb, group, resource, name) for verb in rule["verbs"])


class TestRegistration:
    def test_every_kind_the_rules_know_is_sent_to_us(self) -> None:
        sent = {(group, resource) for group, resource, _ in registration.asked_for("validate") if "/" not in resource}
        assert sent == {(kind.group, plural) for kind, plural in registration.PLURALS.items()}
        assert {kind.kind for kind in registration.PLURALS} == workload.KINDS | neighbour.KINDS

    def test_every_way_to_write_what_is_looked_at_is_sent_to_us(self) -> None:
        """Status, too, where metadata can be written through it; containers put into a running pod."""
        ways = {resource for _, resource, _ in registration.asked_for("validate") if "/" in resource}
        status = {f"{plural}/status" for plural in ("pods", "services", "ingresses", "namespaces", "routes")}
        assert ways == {"pods/ephemeralcontainers", "namespaces/finalize", *status}

    def test_webhooks_are_as_designed(self) -> None:
        for kind, path, policy in (("Mutating", "/mutate", "Ignore"), ("Validating", "/validate", "Fail")):
            for webhook in only(base(), f"{kind}WebhookConfiguration")["webhooks"]:
                assert webhook["clientConfig"] == {
                    "service": {"name": "raywarden", "namespace": "raywarden-system", "path": path, "port": 443}
                }
                assert webhook["failurePolicy"] == policy
                assert webhook["matchPolicy"] == "Equivalent"
                assert (webhook["sideEffects"], webhook["timeoutSeconds"]) == ("None", 5)
                assert webhook.get("reinvocationPolicy") == ("IfNeeded" if kind == "Mutating" else None)


class TestConditions:
    """What is left out of what is sent; that nothing is left out which a rule refuses, `tests/test_rules.py` and
    `tests/bypasses` show with every object they have.
    """

    @pytest.mark.parametrize(
        "document",
        [
            {"kind": "Pod", "spec": {"containers": [{"name": "web", "image": "nginx:1.29", "args": ["start"]}]}},
            {"kind": "Service", "spec": {"selector": {"ray.io/cluster": "demo"}, "ports": [{"port": 8265}]}},
            {"kind": "Service", "spec": {"type": "ExternalName", "externalName": "example.com"}},
        ],
        ids=["pod", "internal service", "alias"],
    )
    def test_what_no_rule_has_an_opinion_on_is_not_sent(self, document: Object) -> None:
        made = {"apiVersion": "v1", "metadata": {"name": "plain", "labels": {"app": "web"}}, **document}
        assert sent(made) == []

    @pytest.mark.parametrize(
        "words",
        [
            ["ray", "start"],
            ["bash", "-c", "/opt/ray/bin/ray  --logging-level=debug\n start --head"],
            ["sh", "-c", "ray\u00a0start"],
            ["sh", "-c", "\u2026ray start\u2026"],
            ["ray-x", "ray", "--a", "b", "-c", "start;"],
        ],
        ids=repr,
    )
    def test_whatever_is_read_as_ray_start_is_sent(self, words: list[str]) -> None:
        pod = {"spec": {"containers": [{"name": "any", "command": words}]}}
        assert workload.starts_ray(pod)
        assert sent({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, **pod}) == ["pods.raywarden.io"]

    @pytest.mark.parametrize("words", [["v2ray", "--startup"], ["bash", "-c", "declare -a array; restart"]], ids=repr)
    def test_words_that_only_hold_those_are_not_sent(self, words: list[str]) -> None:
        spec = {"containers": [{"name": "any", "command": words}]}
        assert sent({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}) == []

    def test_plain_deployments_are_not_sent(self) -> None:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web"}]}}
        for api, kind, spec in (
            ("apps/v1", "Deployment", {"template": template}),
            ("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": template}}}),
        ):
            assert sent({"apiVersion": api, "kind": kind, "metadata": {"name": "plain"}, "spec": spec}) == []

    @pytest.mark.parametrize("base", [factory.ray_cluster, factory.head_pod, neighbours.service, neighbours.ingress])
    @pytest.mark.parametrize(
        "change",
        [{"/metadata/finalizers": []}, {"/status": {"phase": "Ready"}}, {"/metadata/managedFields": [{}]}],
        ids=["finalizers", "status", "managed fields"],
    )
    def test_updates_of_what_nobody_looks_at_are_not_sent(self, base: Any, change: Object) -> None:
        """So that objects can be deleted, and controllers go on, while nobody answers."""
        stored = changed(base(), {"/metadata/finalizers": ["foregroundDeletion"], "/spec/type": "NodePort"})
        assert sent(changed(stored, change), stored) == []
        assert sent(changed(stored, {"/metadata/labels": {"ray.io/cluster": "demo", "new": "one"}}), stored)

    def test_the_status_of_a_pod_is_not_sent(self) -> None:
        stored = factory.head_pod()
        assert sent(changed(stored, {"/status": {"phase": "Running"}}), stored, sub_resource="status") == []
        forged = changed(stored, {"/metadata/labels": {"ray.io/cluster": "other"}})
        assert sent(forged, stored, sub_resource="status") == ["pods.raywarden.io"]

    def test_what_networks_note_on_a_pod_is_not_sent(self) -> None:
        """Calico empties its annotation through `status` when a pod ends: that pod would stay, and with it a drain."""
        note, ours = "/metadata/annotations/cni.projectcalico.org~1podIP", "/metadata/annotations/raywarden.io~1x"
        stored = changed(factory.head_pod(), {"/metadata/annotations": {"a": "b"}})
        noted = changed(stored, {note: "10.0.0.7/32"})
        assert sent(noted, stored, sub_resource="status") == sent(changed(noted, {note: ""}), noted) == []
        for told in ({ours: ""}, {"/metadata/annotations/a": "c"}, {"/metadata/annotations": None}):
            assert sent(changed(noted, told), noted, sub_resource="status") == ["pods.raywarden.io"]
        many = {"/metadata/annotations": {f"cni.projectcalico.org/{number}": "" for number in range(201)}}
        assert sent(changed(stored, many), changed(stored, many)) == ["pods.raywarden.io"]

    def test_slices_of_controllers_are_not_sent(self) -> None:
        written = neighbours.NEIGHBOURS["endpointslice"]()
        assert sent(written, user="system:serviceaccount:kube-system:endpointslice-controller") == []
        assert sent(written, user="mallory") == ["endpoints.raywarden.io"]

    def test_locks_that_elect_a_leader_are_not_sent(self) -> None:
        """Some controllers still keep them in Endpoints, and end where they cannot renew them."""
        lock = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "provisioner", "annotations": {"a": "b"}}}
        assert sent(lock) == []
        assert sent(changed(lock, {"/metadata/annotations/a": "c"}), lock) == []
        led = changed(lock, {"/subsets": [{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 8265}]}]})
        assert sent(led) == sent(led, lock) == ["endpoints.raywarden.io"]

    def test_addresses_and_owners_of_slices_are_not_sent(self) -> None:
        """Others than Kubernetes' own controllers write slices, too, and go on while nobody answers."""
        stored = changed(neighbours.endpoint_slice(), {"/metadata/finalizers": ["foregroundDeletion"]})
        scaled = {"/endpoints": [{"addresses": ["10.0.0.8"]}], "/metadata/finalizers": [], "/metadata/annotations": {}}
        assert sent(changed(stored, scaled), stored) == []
        for told in ({"/ports/0/port": 8265}, {"/metadata/labels/kubernetes.io~1service-name": "other"}):
            assert sent(changed(stored, told), stored) == ["endpoints.raywarden.io"]

    def test_finalizers_are_not_sent_where_there_is_no_spec(self) -> None:
        """KubeRay's definitions ask for none."""
        stored = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "empty", "finalizers": ["a"]}}
        assert sent(stored) == ["clusters.raywarden.io"]
        assert sent(changed(stored, {"/metadata/finalizers": []}), stored) == []
        assert sent(changed(stored, {"/spec": {"entrypoint": "x"}}), stored) == ["clusters.raywarden.io"]

    def test_namespaces_are_sent_when_a_label_of_ours_changes(self) -> None:
        stored = neighbours.NEIGHBOURS["namespace"]()
        assert sent(changed(stored, {"/metadata/labels/team": "vision"}), stored) == []
        for mode in ("enforce", "warn", "audit"):
            loosened = changed(stored, {f"/metadata/labels/raywarden.io~1{mode}": "privileged"})
            for way in ("", "status", "finalize"):
                assert sent(loosened, stored, sub_resource=way) == ["namespaces.raywarden.io"]


def sent(document: Object, old: Object | None = None, user: str = "", **fields: Any) -> list[str]:
    """The validating webhooks that are called for an object that is created, or updated."""
    operation = "CREATE" if old is None else "UPDATE"
    return registration.called("validate", factory.request(document, operation, old, user, **fields))
