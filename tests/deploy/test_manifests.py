"""The manifests agree with the code: paths, ports, kinds, rights, variables and registration."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from policies.cluster import related_object
from policies.ray import membership, workload
from tests.support import registration
from tests.support.deployed import base, only, overlays, read
from tests.support.paths import DEPLOY
from webhook.client_certificates.decision import ROLE as DENIED_ROLE
from webhook.commands.cli import command_line
from webhook.connect.problems import REQUESTS_ROLE, ROLE
from webhook.kube.permissions import client_permissions, permissions
from webhook.policy.file import load_policy
from webhook.settings import Settings

DEFAULTS = Settings.model_construct()
CONNECT = DEPLOY / "components" / "connect"


def container() -> Mapping[str, Any]:
    """The container of RayWarden in `deploy/base`."""
    (container,) = only(base(), "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


class TestFiles:
    @pytest.mark.parametrize(
        "file", sorted(DEPLOY.glob("*/**/kustomization.yaml")), ids=lambda file: file.parent.name
    )
    def test_a_kustomization_names_every_file_beside_it(self, file: Path) -> None:
        names = {sibling.name for sibling in file.parent.iterdir()} - {"kustomization.yaml"}
        text = file.read_text()
        assert not {name for name in names if name not in text}

    def test_every_component_has_an_overlay(self) -> None:
        components = {folder.name for folder in (DEPLOY / "components").iterdir()}
        assert components <= {folder.name for folder in overlays()}

    @pytest.mark.parametrize(
        "file", sorted(DEPLOY.glob("*/**/policy.yaml")), ids=lambda file: file.parent.name
    )
    def test_every_policy_file_is_valid(self, file: Path) -> None:
        load_policy(file)

    def test_every_object_in_base_is_valid(self) -> None:
        for document in base():
            kubernetes_validate.validate(
                document, kubernetes_validate.latest_version(), strict=True
            )


class TestServer:
    """The Deployment, and the Services and network policies that lead to it."""

    def test_the_container_runs_an_existing_command(self) -> None:
        names = {command.name for command in command_line([]).registered_commands}
        assert container()["args"] == ["serve"] and "serve" in names

    def test_the_container_ports_are_the_defaults(self) -> None:
        ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
        assert ports == {
            name: getattr(DEFAULTS, f"{name}_port")
            for name in ("admission", "enrollment", "operations")
        }

    def test_services_lead_to_the_ports_under_the_names_in_the_certificate(self) -> None:
        admission = only(base(), "Service", DEFAULTS.admission_service)
        enrollment = only(base(), "Service", "raywarden-enroll")
        assert admission["spec"]["ports"] == [
            {"name": "admission", "port": 443, "targetPort": "admission"}
        ]
        assert enrollment["spec"]["ports"] == [
            {"name": "enrollment", "port": 8444, "targetPort": "enrollment"}
        ]
        assert DEFAULTS.signer_url == "https://raywarden-enroll.raywarden-system.svc:8444"
        labels = only(base(), "Deployment")["spec"]["template"]["metadata"]["labels"]
        for service in (admission, enrollment):
            assert service["spec"]["selector"].items() <= labels.items()

    def test_the_network_policy_allows_connections_to_both_ports(self) -> None:
        rules = only(base(), "NetworkPolicy")["spec"]["ingress"]
        ports = {port["port"] for rule in rules for port in rule["ports"]}
        assert ports == {DEFAULTS.admission_port, DEFAULTS.enrollment_port}
        (admission,) = [r for r in rules if r["ports"] == [{"port": DEFAULTS.admission_port}]]
        (enrollment,) = [r for r in rules if r["ports"] == [{"port": DEFAULTS.enrollment_port}]]
        assert "from" not in admission
        keys = {peer["podSelector"]["matchExpressions"][0]["key"] for peer in enrollment["from"]}
        assert keys == {membership.RAY_CLUSTER_LABEL, membership.OPT_IN_CLUSTER_LABEL}

    def test_probes_request_the_paths_of_the_operations_port(self) -> None:
        # tests/webhook/server/test_server.py requests the same paths over a socket.
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            assert container()[probe]["httpGet"] == {"path": path, "port": "operations"}

    def test_the_grace_period_is_long_enough_to_drain_and_shut_down(self) -> None:
        pod = only(base(), "Deployment")["spec"]["template"]["spec"]
        needed = DEFAULTS.drain_seconds + DEFAULTS.shutdown_seconds
        assert pod["terminationGracePeriodSeconds"] > needed
        # The kubelet marks a draining replica unready before it stops accepting requests.
        probe = container()["readinessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] < DEFAULTS.drain_seconds


ROLES = ("raywarden", "raywarden-network-policies")


class TestRights:
    def test_the_roles_grant_exactly_what_the_code_needs(self) -> None:
        everywhere, own_namespace = set(), set()
        for name in ROLES:
            everywhere |= {("", *right) for right in granted(only(base(), "ClusterRole", name))}
            own_namespace |= {("ours", *right) for right in granted(only(base(), "Role", name))}
        needed = {
            (
                "ours" if right.ours else "",
                right.verb,
                right.resource.group,
                right.resource.plural,
                right.name,
            )
            for right in permissions("raywarden")
        }
        assert everywhere | own_namespace == needed

    def test_the_component_connect_grants_exactly_what_its_code_needs(self) -> None:
        role = only(read(CONNECT / "signer.yaml"), "ClusterRole", "raywarden-connect")
        needed = {
            (right.verb, right.resource.group, right.resource.plural, right.name)
            for right in client_permissions()
        }
        assert set(granted(role)) == needed

    def test_no_role_of_people_is_bound_and_none_can_decide_or_read_secrets(self) -> None:
        documents = read(CONNECT / "roles.yaml")
        assert {document["kind"] for document in documents} == {"ClusterRole"}
        rights = {right for role in documents for right in granted(role)}
        assert ("connect", "ray.io", "rayclusters", "") in rights
        assert not {right for right in rights if right[0] in ("update", "patch", "approve", "sign")}
        assert "secrets" not in {resource for _, _, resource, _ in rights}
        # The code names these roles in its messages.
        names = {document["metadata"]["name"] for document in documents}
        assert names == {ROLE, REQUESTS_ROLE} and ROLE == DENIED_ROLE

    def test_the_roles_are_bound_only_to_the_service_account_of_raywarden(self) -> None:
        subject = {"kind": "ServiceAccount", "name": "raywarden", "namespace": "raywarden-system"}
        for kind, name in product(("ClusterRole", "Role"), ROLES):
            binding = only(base(), f"{kind}Binding", name)
            assert binding["subjects"] == [subject]
            group = "rbac.authorization.k8s.io"
            assert binding["roleRef"] == {"apiGroup": group, "kind": kind, "name": name}


def granted(role: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every verb, group, resource and name that a role grants; an empty name means all."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield from ((verb, group, resource, name) for verb in rule["verbs"])


class TestRegistration:
    def test_every_kind_that_the_rules_judge_is_sent(self) -> None:
        sent = {
            (group, resource)
            for group, resource, _ in registration.registered_operations("validate")
            if "/" not in resource
        }
        assert sent == {(kind.group, plural) for kind, plural in registration.PLURALS.items()}
        kinds = {kind.kind for kind in registration.PLURALS}
        assert kinds == workload.WORKLOAD_KINDS | related_object.RELATED_KINDS

    def test_every_subresource_that_can_change_what_the_rules_read_is_sent(self) -> None:
        """This includes `status`, through which metadata can be written, and new containers."""
        subresources = {
            resource
            for _, resource, _ in registration.registered_operations("validate")
            if "/" in resource
        }
        status = {
            f"{plural}/status"
            for plural in ("pods", "services", "ingresses", "namespaces", "routes")
        }
        assert subresources == {"pods/ephemeralcontainers", "namespaces/finalize", *status}

    def test_webhooks_have_the_designed_fields(self) -> None:
        for kind, path, policy in (
            ("Mutating", "/mutate", "Ignore"),
            ("Validating", "/validate", "Fail"),
        ):
            for webhook in only(base(), f"{kind}WebhookConfiguration")["webhooks"]:
                assert webhook["clientConfig"] == {
                    "service": {
                        "name": "raywarden",
                        "namespace": "raywarden-system",
                        "path": path,
                        "port": 443,
                    }
                }
                only_warns = webhook["name"] == "clients.raywarden.io"
                assert webhook["failurePolicy"] == ("Ignore" if only_warns else policy)
                assert webhook["matchPolicy"] == "Equivalent"
                assert (webhook["sideEffects"], webhook["timeoutSeconds"]) == ("None", 5)
                assert webhook.get("reinvocationPolicy") == (
                    "IfNeeded" if kind == "Mutating" else None
                )
