"""Kubernetes identities for the dashboard: which heads get a proxy, and with what."""

import json
from typing import Any

import pytest

from tests.support import factory
from tests.support.factory import Object, changed, container
from tests.support.injection import OLD, after, mutated, only, template_of
from tests.support.proxied import (
    ANNOTATION,
    HEAD,
    HOST,
    IMAGE,
    NAME,
    proxied_cluster,
    proxying,
    sent_head,
)

PARAMETERS = "/spec/headGroupSpec/rayStartParams"


def names(template: Object, field: str = "containers") -> list[str]:
    return [entry["name"] for entry in template["spec"][field]]


def has_proxy(document: Object, **inject: Any) -> bool:
    """The stored RayCluster has the proxy; without, nothing of it is there."""
    head = after(document, proxying(**inject))["spec"]["headGroupSpec"]
    proxied = NAME in names(head["template"])
    metadata = head["template"].get("metadata", {})
    assert (ANNOTATION in metadata.get("annotations", {})) == proxied
    return proxied


def authorization(template: Object) -> Any:
    text = template["metadata"]["annotations"][ANNOTATION]
    return json.loads(text)["authorization"]["resourceAttributes"]


class TestNewClusters:
    def test_by_default_nothing_changes(self) -> None:
        document = after(factory.ray_cluster())
        assert NAME not in names(template_of(document))
        assert "dashboard-host" not in document["spec"]["headGroupSpec"]["rayStartParams"]

    def test_the_proxy_listens_where_the_dashboard_was(self) -> None:
        document = proxied_cluster()
        head = document["spec"]["headGroupSpec"]
        proxy = only(head["template"], NAME)
        assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"
        assert names(head["template"]) == ["ray-head", NAME]
        assert proxy["image"] == IMAGE
        assert "--secure-listen-address=[$(RAYWARDEN_POD_IP)]:8265" in proxy["args"]
        assert "--upstream=http://localhost:8265/" in proxy["args"]
        assert names(template_of(document, "worker")) == ["ray-worker"]

    def test_it_asks_for_this_cluster(self) -> None:
        attributes = authorization(template_of(proxied_cluster()))
        assert attributes["resource"] == "rayclusters"
        assert (attributes["namespace"], attributes["name"]) == ("team-a", "demo")

    def test_only_the_proxy_gets_an_api_token(self) -> None:
        template = template_of(proxied_cluster())
        assert template["spec"]["automountServiceAccountToken"] is False
        mounts = {
            entry["name"]: str(entry["volumeMounts"]) for entry in template["spec"]["containers"]
        }
        assert "raywarden-api-token" in mounts[NAME]
        assert "raywarden-api-token" not in mounts["ray-head"]

    def test_it_runs_as_the_user_that_may_read_the_key(self) -> None:
        proxy = only(template_of(proxied_cluster()), NAME)
        assert proxy["securityContext"]["runAsUser"] == 1000
        private = {f"{HEAD}/spec/containers/0/image": "registry.example/team/ray:1"}
        proxy = only(template_of(proxied_cluster(**private)), NAME)
        assert "runAsUser" not in proxy["securityContext"]

    def test_the_author_reads_what_changes(self) -> None:
        (warning,) = mutated(factory.ray_cluster(), proxying()).warnings
        assert warning.startswith("the dashboard of this cluster now speaks HTTPS")
        assert warning.endswith("; Ray's own token goes into X-Ray-Authorization")
        old = changed(
            factory.ray_cluster(), {"/spec/rayVersion": "2.46.0", "/spec/authOptions": None}
        )
        (warning,) = mutated(old, proxying()).warnings
        assert "X-Ray-Authorization" not in warning

    def test_ray_still_asks_for_its_own_token(self) -> None:
        document = changed(factory.ray_cluster(), {"/spec/authOptions": None})
        assert after(document, proxying())["spec"]["authOptions"] == {"mode": "token"}
        again = {**proxied_cluster(), "spec": {**proxied_cluster()["spec"], "authOptions": None}}
        assert after(again, proxying())["spec"]["authOptions"] == {"mode": "token"}


class TestLeftAlone:
    @pytest.mark.parametrize("kind", ["RayJob", "RayService"])
    def test_kuberay_speaks_plain_http_to_these(self, kind: str) -> None:
        labels = {"ray.io/originated-from-crd": kind}
        assert not has_proxy(changed(factory.ray_cluster(), {"/metadata/labels": labels}))

    def test_the_author_runs_a_proxy(self) -> None:
        own = container("proxy", image="quay.io/x/oauth2-proxy:v7")
        document = changed(factory.ray_cluster(), {f"{HEAD}/spec/containers/-": own})
        assert not has_proxy(document)
        assert mutated(document, proxying()).warnings == ()

    def test_the_author_closed_the_dashboard(self) -> None:
        document = changed(factory.ray_cluster(), {HOST: "127.0.0.1"})
        assert not has_proxy(document)
        off = changed(factory.ray_cluster(), {f"{PARAMETERS}/include-dashboard": "false"})
        assert not has_proxy(off)

    @pytest.mark.parametrize(
        ("parameter", "value"), [("dashboard-host", "0.0.0.0"), ("dashboard-port", "8266")]
    )
    def test_the_author_moved_the_dashboard(self, parameter: str, value: str) -> None:
        document = changed(factory.ray_cluster(), {f"{PARAMETERS}/{parameter}": value})
        assert not has_proxy(document)
        (warning,) = mutated(document, proxying()).warnings
        assert warning.startswith(f"the dashboard gets no proxy: the head sets {parameter}")

    def test_the_default_port_may_be_stated(self) -> None:
        document = changed(factory.ray_cluster(), {f"{PARAMETERS}/dashboard-port": "8265"})
        assert has_proxy(document)

    def test_raywarden_changes_nothing(self) -> None:
        assert not has_proxy(factory.with_own_tls(factory.ray_cluster()))
        opted_out = {"/metadata/labels": {"raywarden.io/inject": "false"}}
        document = changed(factory.ray_cluster(), opted_out)
        assert not has_proxy(document, optOutNamespaces=["team-*"])


class TestPods:
    def test_nothing_is_left_to_do(self) -> None:
        pod = sent_head(proxied_cluster())
        assert names(after(pod, proxying())) == names(pod) == ["ray-head", NAME]
        assert "dashboard-proxy" not in mutated(pod, proxying()).mutations

    def test_a_template_of_gitops_gets_the_proxy_in_its_pods(self) -> None:
        stored = after(factory.ray_cluster(), proxying(rayCluster="marker"))
        assert names(template_of(stored)) == ["ray-head"]
        assert stored["spec"]["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
        pod = after(sent_head(stored), proxying(rayCluster="marker"))
        assert names(pod) == ["ray-head", NAME]
        assert only(pod, NAME) == only(template_of(proxied_cluster()), NAME)
        assert {"raywarden-dashboard", "raywarden-api-token"} <= set(names(pod, "volumes"))

    def test_a_new_pod_gets_the_current_image(self) -> None:
        other = f"registry.example/kube-rbac-proxy@sha256:{'b' * 64}"
        pod = after(sent_head(proxied_cluster()), proxying(dashboardProxyImage=other))
        assert only(pod, NAME)["image"] == other

    def test_without_a_policy_the_proxy_stays(self) -> None:
        pod = sent_head(proxied_cluster())
        assert only(after(pod), NAME) == only(pod, NAME)

    def test_a_cluster_without_a_name_gets_it_in_its_pods(self) -> None:
        unnamed = {"/metadata/name": None, "/metadata/generateName": "demo-"}
        stored = proxied_cluster(**unnamed)
        assert "name" not in authorization(template_of(stored))
        pod = after(sent_head({**stored, "metadata": {"name": "demo-x7k"}}), proxying())
        assert authorization(pod)["name"] == "demo-x7k"

    def test_an_authors_authorization_is_replaced(self) -> None:
        open_to_all = json.dumps({"authorization": {"static": [{"resourceRequest": True}]}})
        place = f"/metadata/annotations/{ANNOTATION.replace('/', '~1')}"
        pod = changed(sent_head(proxied_cluster()), {place: open_to_all})
        assert authorization(after(pod, proxying()))["name"] == "demo"

    def test_others_may_add_what_changes_nothing(self) -> None:
        pod = sent_head(proxied_cluster())
        proxy = only(pod, NAME)
        proxy |= {"terminationMessagePath": "/dev/termination-log"}
        proxy["env"].append({"name": "DD_AGENT_HOST", "value": "10.0.0.1"})
        assert only(after(pod, proxying()), NAME) == proxy

    @pytest.mark.parametrize("name", ["KUBERNETES_SERVICE_HOST", "LD_PRELOAD", "SSL_CERT_FILE"])
    def test_what_changes_whom_the_proxy_asks_is_removed(self, name: str) -> None:
        pod = sent_head(proxied_cluster())
        only(pod, NAME)["env"].append({"name": name, "value": "x"})
        assert len(only(after(pod, proxying()), NAME)["env"]) == 1


class TestUpdates:
    stored = proxied_cluster()

    def test_the_authors_file_changes_nothing(self) -> None:
        author = factory.ray_cluster()
        assert after(author, proxying(OLD, self.stored)) == self.stored
        off = proxying(OLD, self.stored, dashboard="author", dashboardProxyImage="")
        assert after(author, off) == self.stored

    def test_a_new_image_waits_for_new_pods(self) -> None:
        other = proxying(OLD, self.stored, dashboardProxyImage="registry.example/proxy:v2")
        assert mutated(self.stored, other).operations == []

    def test_a_stored_cluster_gets_no_proxy(self) -> None:
        plain = after(factory.ray_cluster())
        assert mutated(plain, proxying(OLD, plain)).operations == []

    def test_the_proxy_cannot_be_changed(self) -> None:
        place = f"{HEAD}/spec/containers/1/image"
        update = changed(self.stored, {place: "registry.example/other:1"})
        assert after(update, proxying(OLD, self.stored)) == self.stored
