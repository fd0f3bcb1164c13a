"""The manifests and the code say the same: paths, ports, kinds, rights, variables, and what is sent to us."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from policies.cluster import related_object
from policies.ray import workload
from tests.support import registration
from tests.support.deployed import base, only, overlays
from tests.support.paths import DEPLOY
from webhook.commands.cli import app as command_line
from webhook.kube.permissions import permissions
from webhook.policy.file import load_policy
from webhook.settings import Settings

DEFAULTS = Settings.model_construct()


def container() -> Mapping[str, Any]:
    """Ours, in `deploy/base`."""
    (found,) = only(base(), "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


class TestFiles:
    @pytest.mark.parametrize(
        "file", sorted(DEPLOY.glob("*/**/kustomization.yaml")), ids=lambda file: file.parent.name
    )
    def test_every_file_beside_a_kustomization_is_in_it(self, file: Path) -> None:
        there = {one.name for one in file.parent.iterdir()} - {"kustomization.yaml"}
        text = file.read_text()
        assert not {name for name in there if name not in text}

    def test_every_component_has_an_overlay(self) -> None:
        components = {one.name for one in (DEPLOY / "components").iterdir()}
        assert components <= {folder.name for folder in overlays()}

    @pytest.mark.parametrize(
        "file", sorted(DEPLOY.glob("*/**/policy.yaml")), ids=lambda file: file.parent.name
    )
    def test_every_policy_is_one(self, file: Path) -> None:
        load_policy(file)

    def test_every_object_in_base_is_valid(self) -> None:
        for document in base():
            kubernetes_validate.validate(
                document, kubernetes_validate.latest_version(), strict=True
            )


class TestServer:
    """What the Deployment starts, and what leads to it."""

    def test_it_starts_a_command_there_is(self) -> None:
        names = {command.name for command in command_line.registered_commands}
        assert container()["args"] == ["serve"] and "serve" in names

    def test_its_ports_are_the_defaults(self) -> None:
        ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
        assert ports == {
            which: getattr(DEFAULTS, f"{which}_port")
            for which in ("admission", "enrollment", "operations")
        }

    def test_services_lead_to_these_ports_under_the_names_in_our_certificate(self) -> None:
        admission, enrollment = (
            only(base(), "Service", DEFAULTS.admission_service),
            only(base(), "Service", "raywarden-enroll"),
        )
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

    def test_network_policies_let_both_ports_in(self) -> None:
        policy = only(base(), "NetworkPolicy")["spec"]
        ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert ports == {DEFAULTS.admission_port, DEFAULTS.enrollment_port}
        ((admission,), (enrollment,)) = (
            [rule for rule in policy["ingress"] if rule["ports"] == [{"port": port}]]
            for port in sorted(ports)
        )
        assert "from" not in admission
        keys = {one["podSelector"]["matchExpressions"][0]["key"] for one in enrollment["from"]}
        assert keys == {workload.RAY_CLUSTER_LABEL, workload.OPT_IN_CLUSTER_LABEL}

    def test_probes_ask_what_is_answered(self) -> None:
        # tests/webhook/server/test_server.py asks for these over a socket.
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            assert container()[probe]["httpGet"] == {"path": path, "port": "operations"}

    def test_there_is_time_to_end(self) -> None:
        pod = only(base(), "Deployment")["spec"]["template"]["spec"]
        assert (
            pod["terminationGracePeriodSeconds"]
            > DEFAULTS.drain_seconds + DEFAULTS.shutdown_seconds
        )
        # A replica that drains is found out before it stops answering.
        probe = container()["readinessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] < DEFAULTS.drain_seconds


class TestRights:
    def test_they_are_what_the_code_asks_for(self) -> None:
        everywhere = {("", *one) for one in granted(only(base(), "ClusterRole"))}
        ours = {("ours", *one) for one in granted(only(base(), "Role"))}
        wanted = {
            (
                "ours" if right.ours else "",
                right.verb,
                right.resource.group,
                right.resource.plural,
                right.name,
            )
            for right in permissions("raywarden")
        }
        assert everywhere | ours == wanted

    def test_they_are_bound_to_our_service_account_alone(self) -> None:
        subject = {"kind": "ServiceAccount", "name": "raywarden", "namespace": "raywarden-system"}
        for kind in ("ClusterRole", "Role"):
            binding = only(base(), f"{kind}Binding")
            assert binding["subjects"] == [subject]
            assert binding["roleRef"] == {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": kind,
                "name": "raywarden",
            }


def granted(role: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every verb, group, resource and name (empty: all)."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    yield from ((verb, group, resource, name) for verb in rule["verbs"])


class TestRegistration:
    def test_every_kind_the_rules_know_is_sent_to_us(self) -> None:
        sent = {
            (group, resource)
            for group, resource, _ in registration.asked_for("validate")
            if "/" not in resource
        }
        assert sent == {(kind.group, plural) for kind, plural in registration.PLURALS.items()}
        assert {
            kind.kind for kind in registration.PLURALS
        } == workload.WORKLOAD_KINDS | related_object.RELATED_KINDS

    def test_every_way_to_write_what_is_looked_at_is_sent_to_us(self) -> None:
        """Status, too, where metadata can be written through it; containers put into a running pod."""
        ways = {
            resource for _, resource, _ in registration.asked_for("validate") if "/" in resource
        }
        status = {
            f"{plural}/status"
            for plural in ("pods", "services", "ingresses", "namespaces", "routes")
        }
        assert ways == {"pods/ephemeralcontainers", "namespaces/finalize", *status}

    def test_webhooks_are_as_designed(self) -> None:
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
                assert webhook["failurePolicy"] == policy
                assert webhook["matchPolicy"] == "Equivalent"
                assert (webhook["sideEffects"], webhook["timeoutSeconds"]) == ("None", 5)
                assert webhook.get("reinvocationPolicy") == (
                    "IfNeeded" if kind == "Mutating" else None
                )
