"""RayWarden as its users run it.

Two servers, webhook calls of the API server, and the program of the init container.
"""

import time
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.pods import (
    Enrolling,
    csr,
    enroll,
    give_address,
    init_container,
    make_cluster,
    make_pods,
    place_of,
    token_for,
    variable,
)
from tests.apiserver.replica import Replica
from tests.support.factory import Object, changed, head_pod

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

Pair = tuple[Replica, Replica]
HEAD, WORKER = "10.1.0.1", "10.1.0.2"
API_SERVER = "https://kubernetes.default.svc.cluster.local"


def test_the_pods_of_kuberay_are_stored_with_the_init_container(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    (bundle,) = installation.bundles()
    cluster = make_cluster(control_plane, installation.team())
    assert cluster["metadata"]["labels"]["raywarden.io/tls"] == "managed"
    assert (
        cluster["spec"]["headGroupSpec"]["rayStartParams"]["node-ip-address"]
        == "$(RAYWARDEN_POD_IP)"
    )
    for pod, replica in zip(make_pods(control_plane, cluster), pair, strict=True):
        assert pod["spec"]["initContainers"][0] == init_container(pod), "it is not the first"
        assert variable(pod, "RAYWARDEN_SIGNER_URL") == replica.enrollment
        assert variable(pod, "RAYWARDEN_SIGNER_CA") == bundle.decode()
        volumes = pod["spec"]["volumes"]
        (token,) = [volume for volume in volumes if volume["name"] == "raywarden-token"]
        assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "raywarden.io"
        for container in pod["spec"]["containers"]:
            assert {"name": "RAY_USE_TLS", "value": "1"} in container["env"]


def test_pods_enroll_as_their_stored_specs_say_and_accept_each_other(
    control_plane: ControlPlane, installation: Installation, pair: Pair, tmp_path: Path
) -> None:
    namespace = installation.team()
    head, worker = make_pods(control_plane, make_cluster(control_plane, namespace))
    before = [replica.issued() for replica in pair]
    early = Enrolling.start(control_plane, head, HEAD, tmp_path / "head")
    time.sleep(1)
    assert early.process.poll() is None, "it enrolled before the API server knew its address"
    give_address(control_plane, head, HEAD)
    head_tls, worker_tls = early.wait(), enroll(control_plane, worker, WORKER, tmp_path / "worker")
    assert [replica.issued() for replica in pair] == [count + 1 for count in before], (
        "each replica must issue one"
    )
    assert head_tls.bundle == worker_tls.bundle and len(head_tls.authorities) == 1
    name = f"demo-head-svc.{namespace}.svc.cluster.local"
    for purpose in ("sslserver", "sslclient"):
        of_head = ["-purpose", purpose, "-verify_ip", HEAD, "-verify_hostname", name]
        assert worker_tls.verify(head_tls, *of_head)[0] == 0
        assert head_tls.verify(worker_tls, "-purpose", purpose, "-verify_ip", WORKER)[0] == 0
    addresses = {ip_address(text) for text in (HEAD, "127.0.0.1", "::1")}
    assert set(head_tls.names.get_values_for_type(x509.IPAddress)) == addresses
    assert name not in worker_tls.names.get_values_for_type(x509.DNSName)
    uris = [
        tls.names.get_values_for_type(x509.UniformResourceIdentifier)
        for tls in (head_tls, worker_tls)
    ]
    assert uris == [
        [f"spiffe://cluster.local/ns/{namespace}/ray/demo/{role}"] for role in ("head", "worker")
    ]


def test_clusters_reject_each_others_certificates(
    control_plane: ControlPlane, installation: Installation, pair: Pair, tmp_path: Path
) -> None:
    namespace = installation.team()
    pods = [
        make_pods(control_plane, make_cluster(control_plane, namespace, name))[0]
        for name in ("first", "second")
    ]
    first, second = (
        enroll(control_plane, pod, HEAD, tmp_path / pod["metadata"]["name"]) for pod in pods
    )
    code, output = first.verify(second)
    assert code != 0 and "unable to get local issuer certificate" in output


class TestRefusals:
    """Pods that bypassed admission: the signer must not rely on the webhooks."""

    @pytest.fixture
    def cluster(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair
    ) -> Object:
        """A RayCluster in a namespace whose requests are not sent to RayWarden."""
        return make_cluster(control_plane, installation.team(unseen="true"))

    def pod(self, control_plane: ControlPlane, cluster: Object, uid: str | None) -> Object:
        """A head pod with an address, owned by the RayCluster with this uid."""
        owner = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "name": "demo",
            "uid": uid,
            "controller": True,
        }
        changes = {"/metadata/namespace": None, "/spec/serviceAccountName": "ray"}
        owners = {"/metadata/ownerReferences": [owner] if uid else []}
        path = f"/api/v1/namespaces/{cluster['metadata']['namespace']}/pods"
        stored = control_plane.make(path, changed(head_pod(), {**changes, **owners}))
        give_address(control_plane, stored, HEAD)
        return stored

    def ask(self, installation: Installation, pair: Pair, token: str) -> tuple[int, str]:
        """Request a certificate from both replicas; returns their status and detail.

        Both must respond alike, and must not issue a certificate if they refuse.
        """
        before = [replica.issued() for replica in pair]
        responses = [replica.enroll(installation.trust(), token, csr()) for replica in pair]
        (status,) = {response.status_code for response in responses}
        detail = responses[0].json().get("detail", "")
        if status != 200:
            assert all("certificate" not in response.json() for response in responses)
            assert [replica.issued() for replica in pair] == before
        assert ("WWW-Authenticate" in responses[0].headers) == (status == 401)
        return status, detail

    def test_a_pod_of_the_cluster_gets_a_certificate(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        token = token_for(
            control_plane, self.pod(control_plane, cluster, cluster["metadata"]["uid"])
        )
        assert self.ask(installation, pair, token) == (200, "")

    @pytest.mark.parametrize("audience", [API_SERVER, "vault"])
    def test_a_token_for_another_audience(
        self,
        control_plane: ControlPlane,
        installation: Installation,
        pair: Pair,
        cluster: Object,
        audience: str,
    ) -> None:
        pod = self.pod(control_plane, cluster, cluster["metadata"]["uid"])
        assert self.ask(installation, pair, token_for(control_plane, pod, audience))[0] == 401

    def test_a_token_that_is_not_bound_to_a_pod(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        token = control_plane.token(
            cluster["metadata"]["namespace"], "ray", audiences=["raywarden.io"]
        )
        assert self.ask(installation, pair, token)[0] == 401

    def test_a_pod_that_has_been_deleted(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        pod = self.pod(control_plane, cluster, cluster["metadata"]["uid"])
        token = token_for(control_plane, pod)
        assert self.ask(installation, pair, token)[0] == 200
        control_plane.delete(place_of(pod))
        # The API server caches accepted tokens for some seconds; after that the status is 401.
        status, detail = self.ask(installation, pair, token)
        assert (status == 403 and "no longer exists" in detail) or status == 401

    def test_a_recreated_pod_of_the_same_name(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        pod = self.pod(control_plane, cluster, cluster["metadata"]["uid"])
        token = token_for(control_plane, pod)
        control_plane.delete(place_of(pod))
        metadata = {"name": pod["metadata"]["name"], "labels": pod["metadata"]["labels"]}
        path, _, _ = place_of(pod).rpartition("/")
        stored = control_plane.make(
            path, {"metadata": metadata, "spec": head_pod()["spec"] | {"serviceAccountName": "ray"}}
        )
        give_address(control_plane, stored, HEAD)
        assert self.ask(installation, pair, token)[0] in (401, 403)

    def test_an_owner_with_another_uid(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        token = token_for(control_plane, self.pod(control_plane, cluster, str(uuid4())))
        status, detail = self.ask(installation, pair, token)
        assert status == 403 and "demo" in detail and "no longer exists" in detail

    def test_a_label_without_an_owner(
        self, control_plane: ControlPlane, installation: Installation, pair: Pair, cluster: Object
    ) -> None:
        token = token_for(control_plane, self.pod(control_plane, cluster, None))
        status, detail = self.ask(installation, pair, token)
        assert status == 403 and "not owned by that RayCluster" in detail
