"""The rules with a real API server: the user, related objects, and changes of both."""

import httpx
import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import make_cluster, make_pods, place_of
from tests.apiserver.replica import Replica
from tests.support import factory, related_objects
from tests.support.factory import Object, changed

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

AUTHOR = "author"


@pytest.fixture(scope="module")
def team(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> str:
    """A namespace in which `author` has all rights, and no rights elsewhere."""
    namespace = installation.team(**{"raywarden.io/enforce": "restricted"})
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    path = f"{RBAC}/namespaces/{namespace}"
    control_plane.make(f"{path}/roles", {"metadata": {"name": "author"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "author"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AUTHOR}]
    binding = {"metadata": {"name": "author"}, "roleRef": reference, "subjects": subjects}
    control_plane.make(f"{path}/rolebindings", binding)
    as_author = {"Impersonate-User": AUTHOR}
    until(lambda: control_plane.admin.get(services(namespace), headers=as_author).is_success)
    return namespace


@pytest.fixture
def cluster(control_plane: ControlPlane, team: str) -> Object:
    """A RayCluster that complies with `restricted`: its namespace has a quota and is isolated."""
    spec = {"hard": {"pods": "100", "limits.memory": "256Gi"}}
    quota = {"metadata": {"name": "ray"}, "spec": spec}
    if not control_plane.get(f"/api/v1/namespaces/{team}/resourcequotas/ray"):
        control_plane.make(f"/api/v1/namespaces/{team}/resourcequotas", quota)
        policy = {**related_objects.network_policy(), "metadata": {"name": "inside"}}
        control_plane.make(f"/apis/networking.k8s.io/v1/namespaces/{team}/networkpolicies", policy)
    until(lambda: post_cluster(control_plane, team, dry_run=True).is_success)
    control_plane.delete(f"/apis/ray.io/v1/namespaces/{team}/rayclusters/demo")
    return make_cluster(control_plane, team)


def services(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/services"


def post_cluster(control_plane: ControlPlane, namespace: str, dry_run: bool) -> httpx.Response:
    query = "?dryRun=All" if dry_run else ""
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters{query}"
    document = changed(factory.ray_cluster(), {"/metadata": {"name": "new"}})
    return control_plane.post(path, document, AUTHOR)


def refused_by(response: httpx.Response) -> set[str]:
    """The rules that denied the request; empty if the object was stored."""
    if response.is_success:
        return set()
    assert response.status_code == 403, response.text
    _, _, message = response.json()["message"].partition("denied the request: ")
    return {line.partition(":")[0] for line in message.splitlines()}


def test_a_cluster_is_denied_until_its_namespace_is_closed_and_has_a_quota(
    control_plane: ControlPlane, team: str
) -> None:
    other = f"{team}-other"
    labels = control_plane.get(f"/api/v1/namespaces/{team}")["metadata"]["labels"]
    labels.pop("kubernetes.io/metadata.name")
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": other, "labels": labels}})
    path = f"/apis/ray.io/v1/namespaces/{other}/rayclusters?dryRun=All"
    document = changed(factory.ray_cluster(), {"/metadata": {"name": "new"}})

    def findings() -> set[str]:
        return refused_by(control_plane.post(path, document))

    # Policies add up: this one opens what RayWarden's will close.
    policies = f"/apis/networking.k8s.io/v1/namespaces/{other}/networkpolicies"
    opens = {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}]}}
    control_plane.make(policies, opens)
    until(lambda: findings() == {"network-policy-present", "namespace-quota"})
    control_plane.delete(f"{policies}/open")
    until(lambda: findings() == {"namespace-quota"})
    spec = {"hard": {"pods": "100", "limits.memory": "256Gi"}}
    quota = {"metadata": {"name": "ray"}, "spec": spec}
    control_plane.make(f"/api/v1/namespaces/{other}/resourcequotas", quota)
    until(lambda: findings() == set())
    control_plane.delete(f"/api/v1/namespaces/{other}/resourcequotas/ray")
    until(lambda: findings() == {"namespace-quota"})


class TestMembership:
    """An author with all rights in a namespace cannot put a pod into a Ray cluster."""

    def test_by_creating_it(self, control_plane: ControlPlane, cluster: Object) -> None:
        head, _ = make_pods(control_plane, cluster)
        metadata = {name: head["metadata"][name] for name in ("labels", "ownerReferences")}
        forged = {
            "metadata": {"name": "forged", **metadata},
            "spec": {**head["spec"], "nodeName": None},
        }
        path, _, _ = place_of(head).rpartition("/")
        assert refused_by(control_plane.post(path, forged, AUTHOR)) == {"operator-made-pods"}
        assert control_plane.post(f"{path}?dryRun=All", forged, OPERATOR).is_success

    def test_by_adding_the_label_later(self, control_plane: ControlPlane, cluster: Object) -> None:
        namespace = cluster["metadata"]["namespace"]
        plain = {"metadata": {"generateName": "plain-"}, "spec": factory.template("busy")["spec"]}
        stored = control_plane.make(f"/api/v1/namespaces/{namespace}/pods", plain, AUTHOR)
        for metadata in (
            {"labels": {"ray.io/cluster": "demo"}},
            {
                "ownerReferences": [owner(cluster)],
                "labels": {"ray.io/cluster": "demo", "ray.io/node-type": "worker"},
            },
        ):
            response = control_plane.change(place_of(stored), {"metadata": metadata}, AUTHOR)
            assert "operator-made-pods" in refused_by(response)

    @pytest.mark.parametrize(
        ("path", "kind"),
        [("apps/v1", "deployments"), ("apps/v1", "statefulsets"), ("batch/v1", "jobs")],
    )
    def test_by_creating_a_controller_for_it(
        self, control_plane: ControlPlane, cluster: Object, path: str, kind: str
    ) -> None:
        labels = {"ray.io/cluster": "demo", "ray.io/node-type": "redis-cleanup"}
        template = {
            "metadata": {"labels": labels},
            "spec": factory.template("ray")["spec"] | {"restartPolicy": "Never"},
        }
        spec: Object = {"template": template}
        if kind != "jobs":
            template["spec"]["restartPolicy"] = "Always"
            spec |= {"selector": {"matchLabels": labels}, "serviceName": "ray"}
        address = f"/apis/{path}/namespaces/{cluster['metadata']['namespace']}/{kind}"
        response = control_plane.post(
            address, {"metadata": {"name": "forged"}, "spec": spec}, AUTHOR
        )
        assert "operator-made-pods" in refused_by(response)
        if kind == "jobs":
            job = {"metadata": {"generateName": "clean-up-"}, "spec": spec}
            response = control_plane.post(f"{address}?dryRun=All", job, OPERATOR)
            assert "operator-made-pods" in refused_by(response)
            job["metadata"] |= {"ownerReferences": [owner(cluster)]}
            assert control_plane.post(f"{address}?dryRun=All", job, OPERATOR).is_success


class TestExposure:
    def test_a_service_that_selects_its_pods(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        path = services(cluster["metadata"]["namespace"])
        spec: Object = {"selector": {"app.kubernetes.io/name": "kuberay"}, "ports": [{"port": 80}]}
        inside = control_plane.make(
            path, {"metadata": {"generateName": "door-"}, "spec": spec}, AUTHOR
        )
        public = {"spec": {"type": "NodePort"}}
        response = control_plane.change(f"{path}/{inside['metadata']['name']}", public, AUTHOR)
        assert refused_by(response) == {"no-public-ray-service"}
        assert "selects pods of the RayCluster demo" in response.json()["message"]

    def test_a_service_that_existed_before_the_cluster(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        namespace = cluster["metadata"]["namespace"]
        spec = {"type": "NodePort", "selector": {"team": "vision"}, "ports": [{"port": 80}]}
        control_plane.make(
            services(namespace), {"metadata": {"name": "early"}, "spec": spec}, AUTHOR
        )
        template = "/spec/headGroupSpec/template/metadata"
        document = changed(
            factory.ray_cluster(),
            {"/metadata": {"name": "new"}, template: {"labels": {"team": "vision"}}},
        )
        path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters?dryRun=All"
        until(
            lambda: (
                refused_by(control_plane.post(path, document, AUTHOR)) == {"no-public-ray-service"}
            )
        )
        control_plane.delete(f"{services(namespace)}/early")
        until(lambda: refused_by(control_plane.post(path, document, AUTHOR)) == set())

    def test_an_internal_load_balancer_with_the_node_ports_that_it_gets(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        """The API server allocates node ports before admission, so only a warning is possible."""
        path = f"{services(cluster['metadata']['namespace'])}?dryRun=All"
        azure = {"service.beta.kubernetes.io/azure-load-balancer-internal": "True"}
        selector = {"ray.io/cluster": "demo"}
        spec: Object = {"type": "LoadBalancer", "selector": selector, "ports": [{"port": 8265}]}
        internal = {"metadata": {"name": "door", "annotations": azure}, "spec": spec}
        response = control_plane.post(path, internal, AUTHOR)
        assert response.is_success and response.json()["spec"]["ports"][0]["nodePort"]
        assert "opens a port on every node" in response.headers["Warning"]
        without = changed(internal, {"/spec/allocateLoadBalancerNodePorts": False})
        assert "opens a port" not in control_plane.post(path, without, AUTHOR).headers.get(
            "Warning", ""
        )
        asking = changed(without, {"/spec/ports/0/nodePort": 30265})
        assert refused_by(control_plane.post(path, asking, AUTHOR)) == {"no-public-ray-service"}

    def test_endpoints_by_hand_before_a_cluster_moves_its_port(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        namespace = cluster["metadata"]["namespace"]
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        by_hand = changed(related_objects.endpoint_slice(), {"/ports/0/port": 9999})
        by_hand["metadata"].pop("namespace")
        control_plane.make(path, by_hand, AUTHOR)
        moved = changed(
            factory.ray_cluster(),
            {
                "/metadata": {"name": "new"},
                "/spec/headGroupSpec/rayStartParams": {"dashboard-port": "9999"},
            },
        )
        clusters = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters?dryRun=All"
        until(
            lambda: (
                refused_by(control_plane.post(clusters, moved, AUTHOR)) == {"no-public-ray-service"}
            )
        )
        claims = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
        hidden = control_plane.change(f"{path}/web-1", {"metadata": {"labels": claims}}, AUTHOR)
        assert refused_by(hidden) == {"no-public-ray-service"}
        control_plane.delete(f"{path}/web-1")
        until(lambda: refused_by(control_plane.post(clusters, moved, AUTHOR)) == set())

    def test_an_ingress_to_another_service(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        namespace = cluster["metadata"]["namespace"]
        spec = {"selector": {"ray.io/cluster": "demo"}, "ports": [{"port": 80, "targetPort": 8265}]}
        control_plane.make(services(namespace), {"metadata": {"name": "web"}, "spec": spec}, AUTHOR)
        ingress = {**related_objects.ingress(), "metadata": {"name": "web"}}
        path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?dryRun=All"
        until(lambda: refused_by(control_plane.post(path, ingress, AUTHOR)) == {"no-open-ingress"})
        asks = {"nginx.ingress.kubernetes.io/auth-url": "https://sso.example/auth"}
        guarded = changed(ingress, {"/metadata/annotations": asks})
        assert refused_by(control_plane.post(path, guarded, AUTHOR)) == set()

    def test_a_network_policy_that_opens_it(
        self, control_plane: ControlPlane, cluster: Object
    ) -> None:
        policy = changed(
            related_objects.network_policy(), {"/metadata": {"name": "all"}, "/spec/ingress": [{}]}
        )
        namespace = cluster["metadata"]["namespace"]
        path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
        assert refused_by(control_plane.post(path, policy, AUTHOR)) == {"network-policy-present"}


def test_an_ephemeral_container_cannot_mount_the_key_or_trace_processes(
    control_plane: ControlPlane, cluster: Object
) -> None:
    head, _ = make_pods(control_plane, cluster)
    key = {"name": "raywarden-tls", "mountPath": "/keys"}
    traces = {"capabilities": {"add": ["SYS_PTRACE"]}}
    debug = {
        "name": "debug",
        "image": "busybox:1.36",
        "volumeMounts": [key],
        "securityContext": traces,
    }
    change = {"spec": {"ephemeralContainers": [debug]}}
    response = control_plane.change(f"{place_of(head)}/ephemeralcontainers", change, AUTHOR)
    assert {"reserved-names", "no-privileged"} <= refused_by(response)


def test_only_an_administrator_may_remove_the_profile_of_a_namespace(
    control_plane: ControlPlane, team: str
) -> None:
    path = f"/api/v1/namespaces/{team}"
    looser = {"metadata": {"labels": {"raywarden.io/enforce": None}}}
    response = control_plane.change(path, looser, AUTHOR)
    assert refused_by(response) == {"no-opt-out"}
    assert control_plane.change(f"{path}?dryRun=All", looser).is_success


def owner(cluster: Object) -> Object:
    metadata = cluster["metadata"]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
