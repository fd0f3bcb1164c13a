"""Replicas that start together or early, and outages of the API server."""

import base64
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from cryptography import x509

from tests.apiserver.admin import Admin
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import CLUSTER_RULES, RBAC, watched
from tests.apiserver.pods import cluster_of, csr, give_address, make_cluster, make_pods, token_for
from tests.apiserver.replica import Replica, replicas
from tests.support.factory import Object, head_pod, review

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_UNREGISTERED = (
    "raywarden does not exist in mutatingwebhookconfigurations.admissionregistration.k8s.io: "
    "apply deploy/base"
)


@pytest.fixture
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """A new installation for each test."""
    installed = Installation.make(control_plane)
    yield installed
    installed.unregister()


def test_replicas_that_start_together_agree_on_one_seed(
    control_plane: ControlPlane, installation: Installation
) -> None:
    with replicas(installation, 2) as pair:
        for replica in pair:
            replica.wait_missing("webhook configurations")
            replica.wait_logged("reconcile failed", reason=_UNREGISTERED)
        stored = control_plane.get(installation.secret)
        (secret,) = stored["data"].values()
        assert len(base64.b64decode(secret)) == 32
        installation.register(*pair)
        for replica in pair:
            replica.wait_ready()
            assert [event["ports"] for event in replica.log("ready")] == [list(replica.ports)]
            assert [event["generations"] for event in replica.log("seed adopted")] == [
                list(stored["data"])
            ]
        assert control_plane.get(installation.secret) == stored, "the seed was written again"
        (bundle,) = installation.bundles()
        (authority,) = x509.load_pem_x509_certificates(bundle)
        leaves = [served(replica) for replica in pair]
        for leaf in leaves:
            leaf.verify_directly_issued_by(authority)
        assert leaves[0].public_key() != leaves[1].public_key(), "replicas share a key"
        assert any(replica.log("caBundle written") for replica in pair)
        assert [replica.stop() for replica in pair] == [0, 0]


def served(replica: Replica) -> x509.Certificate:
    """The certificate that a replica presents to its clients."""
    address = ("127.0.0.1", replica.ports[0])
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(address, timeout=10).encode())


def test_during_an_outage_of_the_api_server_admission_works_and_enrollment_is_retried(
    control_plane: ControlPlane, installation: Installation
) -> None:
    with replicas(installation, 1) as (replica,):
        installation.register(replica, replica)
        replica.wait_ready()
        installation.wait_effective()
        cluster = make_cluster(control_plane, installation.team())
        head, worker = make_pods(control_plane, cluster)
        give_address(control_plane, head, "10.1.0.1")
        token, trust = token_for(control_plane, head), installation.trust()
        before = replica.enroll(trust, token, csr())
        assert before.status_code == 200
        with control_plane.outage():
            assert_admission_works_and_enrollment_is_retried(replica, trust, token)
            assert not replica.missing, "the replica must stay ready for admission"
        after = replica.enroll(trust, token, csr())
        assert (after.status_code, after.json()["caBundle"]) == (200, before.json()["caBundle"])
        assert_watches_and_reconciler_work_again(installation, replica, worker)


def assert_admission_works_and_enrollment_is_retried(
    replica: Replica, trust: ssl.SSLContext, token: str
) -> None:
    for _ in range(3):
        response = replica.mutate(trust, review(head_pod()))
        assert response.json()["response"]["patch"]
    refused = replica.enroll(trust, token, csr())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert refused.json()["detail"] == "the API server is unavailable"
    replica.wait_logged("enrollment refused", outcome="unavailable", status=503)


def assert_watches_and_reconciler_work_again(
    installation: Installation, replica: Replica, worker: Object
) -> None:
    """The caBundle is restored, and a new Service appears in the names of a pod that enrolls."""
    control_plane, namespace = installation.control_plane, worker["metadata"]["namespace"]
    good = installation.bundles()
    installation.spoil()
    until(lambda: installation.bundles() == good)
    spec = {"selector": {"ray.io/node-type": "worker"}, "ports": [{"port": 1}]}
    control_plane.make(
        f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": "late"}, "spec": spec}
    )
    give_address(control_plane, worker, "10.1.0.2")

    def names() -> list[str]:
        response = replica.enroll(installation.trust(), token_for(control_plane, worker), csr())
        leaf = x509.load_pem_x509_certificate(response.json()["certificate"].encode())
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)

    until(lambda: "late" in names())


def test_a_server_that_starts_first_waits_for_the_api_server(
    control_plane: ControlPlane, installation: Installation
) -> None:
    with ExitStack() as stack:
        with control_plane.outage():
            (early,) = stack.enter_context(replicas(installation, 1))
            early.wait_missing(
                *watched(CLUSTER_RULES), "seed", "serving certificate", "webhook configurations"
            )
            assert httpx.get(f"{early.operations}/livez", trust_env=False).status_code == 200
            until(lambda: early.log("reconcile failed"))
            time.sleep(2)
            (failed,) = early.log("reconcile failed")
            address = control_plane.server.removeprefix("https://")
            reason = (
                f"get secrets in namespace {installation.namespace}: "
                f"the API server cannot be reached at {address}"
            )
            assert failed["reason"].startswith(reason)
        early.wait_missing("webhook configurations")
        installation.register(early, early)
        early.wait_ready()
        assert early.stop() == 0


def test_a_malformed_seed_is_neither_replaced_nor_used(
    control_plane: ControlPlane, installation: Installation
) -> None:
    """For example after an incomplete restore. A new seed would cut off all clusters for good."""
    path, _, name = installation.secret.rpartition("/")
    entry = "20261120T080000Z"
    broken = {"metadata": {"name": name}, "data": {entry: base64.b64encode(b"short").decode()}}
    stored = control_plane.make(path, broken)
    with replicas(installation, 1) as (replica,):
        installation.register(replica, replica)
        replica.wait_missing("seed", "serving certificate", "webhook configurations")
        replica.wait_logged("reconcile failed", reason=f"entry '{entry}' holds 5 bytes, not 32")
        time.sleep(1)
        assert control_plane.get(installation.secret) == stored
        control_plane.patch(
            installation.secret, {"data": {entry: base64.b64encode(bytes(range(32))).decode()}}
        )
        replica.wait_ready()


def test_an_administrator_can_write_the_ca_bundle_instead_of_the_server(
    control_plane: ControlPlane, installation: Installation
) -> None:
    """As with the component `ca-bundle-by-hand`, where the server has no right to write it."""
    role = f"{RBAC}/clusterroles/raywarden"
    rules = control_plane.get(role)["rules"]
    fewer = [rule for rule in rules if "patch" not in rule["verbs"]]
    assert len(fewer) == len(rules) - 1
    control_plane.patch(role, {"rules": fewer})
    with replicas(installation, 1, WEBHOOK_CONFIGURATION="") as (replica,):
        installation.register(replica, replica)
        replica.wait_ready()
        distrusted = try_cluster(control_plane, installation.team())
        assert (
            distrusted.status_code == 500
            and "certificate signed by unknown authority" in distrusted.text
        )
        admin = Admin(installation)
        assert admin.run("publish") == "caBundle updated\n"
        installation.wait_effective()
        assert admin.run("publish") == "caBundle is up to date\n"
        assert not replica.log("reconcile failed")


def try_cluster(control_plane: ControlPlane, namespace: str) -> httpx.Response:
    """Create a RayCluster as a dry run; returns the response."""
    return control_plane.post(
        f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters?dryRun=All", cluster_of()
    )
