"""Names of RayWarden's dashboard proxy, and certificates that RayWarden did not sign."""

import json

import pytest

from tests.bypasses.admission import KINDS, refused
from tests.support import factory
from tests.support.factory import Object, changed
from tests.support.proxied import ANNOTATION, HEAD, INJECT, NAME, proxied_cluster

SECRET = "raywarden.io/tls-secret"
POLICY: Object = {"inject": INJECT}
PROXY = f"{HEAD}/spec/containers/1"
CONTAINER = {"name": NAME, "image": "registry.example/own:1"}


def stored(document: Object) -> Object:
    """The spec of a new object as it is stored, with names that the rules accept."""
    reviewer = factory.reviewer(POLICY)
    mutated = dict(reviewer.mutated(factory.request(document)).document)
    verdict = reviewer.verdict(factory.request(mutated))
    assert "reserved-names" not in {violation.rule for violation in verdict.denied}
    spec: Object = mutated["spec"]
    return spec


@pytest.mark.parametrize(
    "change",
    [
        {f"{PROXY}/image": "registry.example/own:1"},
        {f"{PROXY}/args/0": "--upstream=http://127.0.0.1:1"},
        {f"{PROXY}/command": ["sh", "-c", "id"]},
        {f"{PROXY}/env/-": {"name": "SSL_CERT_DIR", "value": "/own"}},
        {f"{PROXY}/lifecycle": {"postStart": {"exec": {"command": ["id"]}}}},
        {f"{PROXY}/securityContext/runAsUser": 0},
    ],
    ids=lambda change: next(iter(change)).rpartition("/")[2],
)
def test_82_what_only_looks_like_the_dashboards_proxy_is_replaced(change: Object) -> None:
    assert stored(changed(proxied_cluster(), change)) == proxied_cluster()["spec"]


@pytest.mark.parametrize("make, spec", KINDS)
def test_82_the_name_is_refused_where_nobody_asked_for_a_proxy(make: object, spec: str) -> None:
    place = f"{spec}/workerGroupSpecs/0/template/spec/containers/-"
    assert callable(make)
    assert "reserved-names" in refused(changed(make(), {place: CONTAINER}))


def test_82_another_authorization_for_the_proxy_is_replaced() -> None:
    everyone = json.dumps({"authorization": {"static": [{"resourceRequest": True}]}})
    own = {f"{HEAD}/metadata/annotations/{ANNOTATION.replace('/', '~1')}": everyone}
    assert stored(changed(proxied_cluster(), own)) == proxied_cluster()["spec"]


@pytest.mark.parametrize("volume", ["raywarden-api-token", "raywarden-dashboard"])
def test_82_the_volumes_of_the_proxy_are_refused_elsewhere(volume: str) -> None:
    mount = {"name": volume, "mountPath": "/stolen"}
    own = factory.container("own", image="registry.example/own:1", volumeMounts=[mount])
    document = changed(proxied_cluster(), {f"{HEAD}/spec/containers/-": own})
    assert "reserved-names" in refused(document, policy=POLICY)


@pytest.mark.parametrize("make, spec", KINDS)
def test_83_a_certificate_of_the_author_is_refused(make: object, spec: str) -> None:
    assert callable(make)
    places = ("/metadata", f"{spec}/headGroupSpec/template/metadata")
    for place in places:
        own = changed(make(), {f"{place}/annotations": {SECRET: "ray-tls-certs"}})
        assert "no-opt-out" in refused(own), place


@pytest.mark.parametrize("role", ["head", "worker", "client"])
def test_83_a_certificate_of_a_pod_without_kuberay_is_refused(role: str) -> None:
    pod = factory.opted_in_pod(role)
    pod["metadata"]["annotations"] = {SECRET: "ray-tls-certs"}
    assert "no-opt-out" in refused(pod)
    elsewhere = {"inject": {"tlsSecretNamespaces": ["team-b", "b-*"]}}
    assert "no-opt-out" in refused(pod, policy=elsewhere)


def test_83_the_content_of_an_allowed_secret_remains() -> None:
    pod = factory.opted_in_pod()
    pod["metadata"]["annotations"] = {SECRET: "somebody-elses-ca"}
    allowed = {"inject": {"tlsSecretNamespaces": ["team-a"]}}
    assert "no-opt-out" not in refused(pod, policy=allowed)
