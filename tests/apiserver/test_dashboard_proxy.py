"""Who may use a proxied dashboard: the real kube-rbac-proxy asks a real API server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import yaml

from policies.injection.token_fix import review_binding
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.dashboard import (
    ADDRESS,
    Dashboard,
    dashboard_on_loopback,
    program,
    proxied,
    proxy_of,
)
from tests.apiserver.dashboard_of_ray import RAY_TOKEN, ray_head, submit
from tests.apiserver.installation import Installation, until
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import Enrolling, Tls, give_address, make_cluster, make_pods
from tests.apiserver.replica import serving
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

IMAGE = "registry.example/kube-rbac-proxy:v0.19.1"
POLICY = f"""
inject: {{dashboard: rbac-proxy, dashboardProxyImage: "{IMAGE}"}}
networkIsolation: {{mode: "off"}}
"""


@pytest.fixture(scope="module")
def head(
    control_plane: ControlPlane,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Object]:
    """A head pod that the API server stored, of a RayCluster with a proxy."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(POLICY)
    with serving(installation, POLICY_FILE=str(policy)) as replica:
        installation.register_at(replica.admission, replica.admission)
        replica.wait_ready()
        installation.wait_effective()
        namespace = installation.team()
        pod, _ = make_pods(control_plane, make_cluster(control_plane, namespace))
        give_address(control_plane, pod, ADDRESS)
        yield pod
        installation.unregister()


@pytest.fixture(scope="module")
def tls(control_plane: ControlPlane, head: Object, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """The certificate of the pod."""
    folder = tmp_path_factory.mktemp("pod")
    return Enrolling.start(control_plane, head, ADDRESS, folder / "volumes").wait()


@pytest.fixture(scope="module")
def dashboard(
    control_plane: ControlPlane, head: Object, tls: Tls, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    program()
    folder = tmp_path_factory.mktemp("proxy")
    with ExitStack() as stack:
        port = stack.enter_context(dashboard_on_loopback())
        yield stack.enter_context(proxied(control_plane, head, tls, folder, port))


@pytest.fixture(scope="module")
def user(control_plane: ControlPlane, head: Object) -> Callable[..., str]:
    """Makes a user with these verbs on the RayCluster; returns a token."""
    namespace = head["metadata"]["namespace"]

    def make(name: str, *verbs: str, cluster: str = "demo") -> str:
        place = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        control_plane.make(place, {"metadata": {"name": name}})
        rule = {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "resourceNames": [cluster]}
        role = {"metadata": {"name": name}, "rules": [{**rule, "verbs": list(verbs)}]}
        account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [account],
        }
        if verbs:
            control_plane.make(f"{RBAC}/namespaces/{namespace}/roles", role)
            control_plane.make(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
        return control_plane.token(namespace, name)

    return make


@pytest.fixture(scope="module")
def allowed(control_plane: ControlPlane, dashboard: Dashboard, head: Object) -> Dashboard:
    """The dashboard, after the administrator applied what the warning says."""
    namespace = head["metadata"]["namespace"]
    text = review_binding(namespace, head["spec"]["serviceAccountName"])
    control_plane.apply(yaml.safe_load(text.removeprefix("apply ")))
    token = control_plane.token(namespace, "ray")
    until(lambda: dashboard.ask(token).status_code != 401)
    return dashboard


@pytest.fixture(scope="module")
def rays(
    control_plane: ControlPlane,
    allowed: Dashboard,
    head: Object,
    tls: Tls,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dashboard]:
    """The proxy in front of a real head, once the rights are known."""
    assert allowed.url
    folder = tmp_path_factory.mktemp("ray")
    with ExitStack() as stack:
        port = stack.enter_context(ray_head(folder))
        yield stack.enter_context(proxied(control_plane, head, tls, folder, port))


def has_token(container: Object) -> bool:
    mounts = container.get("volumeMounts", [])
    return any(mount["name"] == "raywarden-api-token" for mount in mounts)


def test_the_api_server_stores_the_proxy_and_its_token(head: Object) -> None:
    proxy = proxy_of(head)
    assert proxy["image"] == IMAGE
    holders = [
        container["name"] for container in head["spec"]["containers"] if has_token(container)
    ]
    assert holders == [proxy["name"]]
    assert head["spec"]["automountServiceAccountToken"] is False


def test_without_rights_for_the_proxy_nobody_gets_in(
    dashboard: Dashboard, user: Callable[..., str]
) -> None:
    assert dashboard.ask(user("early", "get")).status_code == 401


class TestWithRights:
    def test_nobody_gets_in_without_a_token(self, allowed: Dashboard) -> None:
        assert allowed.ask("").status_code == 401
        assert allowed.ask("made-up").status_code == 401

    def test_a_user_who_may_get_the_cluster_reads(
        self, allowed: Dashboard, user: Callable[..., str]
    ) -> None:
        token = user("reader", "get")
        assert allowed.ask(token).status_code == 200
        assert allowed.ask(token, "POST").status_code == 403

    def test_a_user_who_may_create_the_cluster_submits(
        self, allowed: Dashboard, user: Callable[..., str]
    ) -> None:
        assert allowed.ask(user("submitter", "get", "create"), "POST").status_code == 200

    def test_others_do_not_get_in(self, allowed: Dashboard, user: Callable[..., str]) -> None:
        assert allowed.ask(user("stranger")).status_code == 403
        assert allowed.ask(user("other", "get", cluster="other")).status_code == 403

    def test_ray_sees_its_own_token_and_not_the_users(
        self, allowed: Dashboard, user: Callable[..., str]
    ) -> None:
        seen = allowed.ask(user("both", "get"), **{"X-Ray-Authorization": "Bearer ray"}).json()
        assert seen["x-ray-authorization"] == "Bearer ray"
        assert "authorization" not in seen


class TestRay:
    """Ray's own dashboard, whose token RayWarden turns on besides."""

    def test_both_tokens_open_the_dashboard(
        self, rays: Dashboard, user: Callable[..., str]
    ) -> None:
        token, jobs = user("viewer", "get"), "/api/jobs/"
        assert rays.ask("", path=jobs).status_code == 401
        assert rays.ask(user("guest"), path=jobs).status_code == 403
        refused = rays.ask(token, path=jobs)
        assert (refused.status_code, "Missing authentication token" in refused.text) == (401, True)
        headers = {"X-Ray-Authorization": f"Bearer {RAY_TOKEN}"}
        assert rays.ask(token, path=jobs, **headers).json() == []
        # A browser sends Ray's token in a cookie.
        cookie = {"Cookie": f"ray-authentication-token={RAY_TOKEN}"}
        assert rays.ask(token, path=jobs, **cookie).json() == []

    def test_ray_job_submit(self, rays: Dashboard, user: Callable[..., str], tls: Tls) -> None:
        headers = {"X-Ray-Authorization": f"Bearer {RAY_TOKEN}"}
        denied = submit(rays, user("looks", "get"), headers, tls)
        assert denied.returncode != 0
        assert "Forbidden" in denied.stdout + denied.stderr
        allowed = submit(rays, user("submits", "get", "create"), headers, tls)
        assert allowed.returncode == 0, allowed.stdout + allowed.stderr
        assert "submitted successfully" in allowed.stdout
