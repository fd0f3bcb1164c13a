"""RBAC decides who gets a client certificate; a real API server says who asks."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.people import KEY, USAGES, Team
from tests.apiserver.permissions import RBAC
from tests.apiserver.replica import Replica
from webhook.kube.permissions import client_permissions

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]


def test_a_user_who_may_connect_gets_a_certificate_of_hours(
    people: Team, signers: tuple[Replica, Replica]
) -> None:
    path = people.ask(people.user("alice"), people.csr(), expirationSeconds=3600)
    assert people.answer(path) == (
        "Approved",
        f"{people.user('alice')} may connect to {people.title}",
    )
    leaf, *authorities = people.certificates(path)
    assert leaf.public_key() == KEY.public_key()
    leaf.verify_directly_issued_by(authorities[0])
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lifetime.total_seconds() == 2 * 3600, "an hour, and one for slow clocks"
    record = until(lambda: issued(signers, path))
    assert record["user"] == people.user("alice") and record["cluster"] == "demo"
    assert record["serial"] == f"{leaf.serial_number:x}"
    outcome = 'raywarden_client_certificates_total{outcome="issued"}'
    assert sum(replica.metric(outcome) for replica in signers) >= 1
    assert events(people) and f"{leaf.serial_number:x}" in events(people)[-1]["note"]


def test_a_client_certificate_serves_as_nobody(people: Team) -> None:
    path = people.ask(people.user("alice"), people.csr())
    people.answer(path)
    leaf = people.certificates(path)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uri = f"spiffe://cluster.local/ns/{people.namespace}/ray/demo/client"
    assert list(names) == [x509.UniformResourceIdentifier(uri)]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_user_without_the_role_is_told_its_name(
    people: Team, signers: tuple[Replica, Replica]
) -> None:
    path = people.ask(people.user("bob"), people.csr())
    kind, message = people.answer(path)
    assert kind == "Denied"
    assert f"the ClusterRole raywarden-ray-user in the namespace {people.namespace}" in message
    assert f"--user={people.user('bob')}" in message
    assert "certificate" not in people.control_plane.get(path)["status"]
    until(lambda: logged(signers, "client certificate refused", path))


def test_one_cluster_can_be_granted_by_its_name(people: Team) -> None:
    rule = {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["connect"]}
    place = f"{RBAC}/namespaces/{people.namespace}"
    user = "carol"
    role = {"metadata": {"name": "one"}, "rules": [{**rule, "resourceNames": ["demo"]}]}
    people.control_plane.make(f"{place}/roles", role)
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "one"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "one"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    people.control_plane.make(f"{place}/rolebindings", binding)
    admin = people.control_plane
    allow_requests(admin, user)
    assert people.answer(people.ask(user, people.csr()))[0] == "Approved"
    assert people.answer(people.ask(user, people.csr("other")))[0] == "Denied"


def test_nobody_can_write_who_asks(people: Team) -> None:
    """The signer trusts these fields, because the API server overwrites them."""
    forged = {"username": "admin", "groups": ["system:masters"], "uid": "1"}
    path = people.ask(people.user("bob"), people.csr(), **forged)
    spec = people.control_plane.get(path)["spec"]
    assert spec["username"] == people.user("bob") and "system:masters" not in spec["groups"]
    assert people.answer(path)[0] == "Denied"
    people.control_plane.change(path, {"spec": forged}, people.user("bob"))
    assert people.control_plane.get(path)["spec"]["username"] == people.user("bob")


def test_requests_of_other_signers_are_never_touched(
    people: Team, signers: tuple[Replica, Replica]
) -> None:
    path = people.ask(people.user("alice"), people.csr(), signerName="raywarden.io/other")
    people.answer(people.ask(people.user("alice"), people.csr()))
    assert people.control_plane.get(path)["status"] == {}
    name = path.rpartition("/")[2]
    assert f'"name":"{name}"' not in audit_of_raywarden(people.control_plane)


def test_raywarden_may_not_approve_for_other_signers(
    people: Team, installation: Installation
) -> None:
    path = people.ask(people.user("alice"), people.csr(), signerName="example.com/other")
    document = people.control_plane.get(path)
    condition = {"type": "Approved", "status": "True", "reason": "x", "message": "x"}
    approved = {**document, "status": {"conditions": [condition]}}
    user = f"system:serviceaccount:{installation.namespace}:raywarden"
    headers = {"Impersonate-User": user}
    response = people.control_plane.admin.put(f"{path}/approval", json=approved, headers=headers)
    assert response.status_code == 403 and "signer" in response.text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"usages": ["digital signature", "server auth"]}, "spec.usages must be"),
        ({"usages": [*USAGES, "cert sign"]}, "spec.usages must be"),
    ],
)
def test_other_usages_fail(spec: Any, message: str, people: Team) -> None:
    kind, said = people.answer(people.ask(people.user("alice"), people.csr(), **spec))
    assert kind == "Failed" and message in said


def test_a_cluster_that_does_not_exist_fails_only_for_those_who_may_connect(people: Team) -> None:
    path = people.ask(people.user("alice"), people.csr("nothing"))
    expected = ("Failed", f"there is no Ray cluster {people.namespace}/nothing")
    assert people.answer(path) == expected
    assert people.answer(people.ask(people.user("bob"), people.csr("nothing")))[0] == "Denied"


def test_the_signer_uses_every_right_and_needs_no_other(
    people: Team, installation: Installation
) -> None:
    people.answer(people.ask(people.user("alice"), people.csr()))
    until(lambda: events(people))
    used = set[tuple[str, str, str]]()
    for line in audit_of_raywarden(people.control_plane, installation.namespace).splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef", {})
        resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
        used.add((entry["verb"], target.get("apiGroup", ""), resource))
    needed = {
        (right.verb, right.resource.group, right.resource.plural)
        for right in client_permissions()
        # The API server asks for these itself; see the test of other signers.
        if right.resource.plural != "signers"
    }
    assert needed <= used
    groups = ("certificates.k8s.io", "events.k8s.io", "authorization.k8s.io")
    assert {use for use in used if use[1] in groups} == needed


def allow_requests(control_plane: ControlPlane, user: str) -> None:
    group = "rbac.authorization.k8s.io"
    control_plane.make(
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"generateName": "requests-"},
            "roleRef": {
                "apiGroup": group,
                "kind": "ClusterRole",
                "name": "raywarden-ray-user-requests",
            },
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        },
    )


def logged(signers: tuple[Replica, Replica], event: str, path: str) -> Mapping[str, Any]:
    name = path.rpartition("/")[2]
    records = [record for replica in signers for record in replica.log(event)]
    return next((record for record in records if record["request"] == name), {})


def issued(signers: tuple[Replica, Replica], path: str) -> Mapping[str, Any]:
    return logged(signers, "client certificate issued", path)


def events(people: Team) -> list[Mapping[str, Any]]:
    path = f"/apis/events.k8s.io/v1/namespaces/{people.namespace}/events"
    items: list[Mapping[str, Any]] = people.control_plane.get(path)["items"]
    ours = [item for item in items if item["reason"] == "ClientCertificateIssued"]
    return [item for item in ours if item["regarding"]["uid"] == people.cluster["metadata"]["uid"]]


def audit_of_raywarden(control_plane: ControlPlane, namespace: str = "") -> str:
    lines = (control_plane.folder / AUDIT_LOG).read_text().splitlines()
    user = f":{namespace or 'raywarden-'}"
    return "\n".join(line for line in lines if f'"username":"system:serviceaccount{user}' in line)
