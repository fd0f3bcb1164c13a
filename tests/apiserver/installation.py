"""RayWarden as installed with `deploy/base`, but with server processes instead of a Deployment."""

import base64
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import yaml

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.kuberay_operator import OPERATOR, install_operator
from tests.apiserver.permissions import REGISTRATION
from tests.support.deployed import BASE, rendered
from tests.support.factory import Object

if TYPE_CHECKING:
    from tests.apiserver.replica import Replica

T = TypeVar("T")

_CONFIGURATIONS = f"/apis/{REGISTRATION}/v1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_KINDS = {"Mutating": "mutate", "Validating": "validate"}
_GARBAGE = base64.b64encode(b"garbage").decode()
_CONFIGURED = [f"{kind}WebhookConfiguration" for kind in _KINDS]
_WORKERS, _OTHERS = (
    {"matchExpressions": [{"key": "ray.io/node-type", "values": ["worker"], "operator": operator}]}
    for operator in ("In", "NotIn")
)


def until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """Wait until `condition` returns something true; returns that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still {result!r} after {seconds:g} s"
        time.sleep(0.05)
    return result


@dataclass(frozen=True)
class Installation:
    """RayWarden's namespace, and a kubeconfig with the token of its service account."""

    control_plane: ControlPlane
    namespace: str
    kubeconfig: Path

    @classmethod
    def make(cls, control_plane: ControlPlane) -> "Installation":
        """Install `deploy/base` in a new namespace, without webhook configurations, and KubeRay."""
        name = f"raywarden-{uuid4().hex[:8]}"
        installation = cls(control_plane, name, control_plane.folder / f"{name}.kubeconfig")
        objects = installation.shipped()
        control_plane.apply(
            *(document for document in objects if document["kind"] not in _CONFIGURED)
        )
        # No kubelet renews it, and the end-to-end tests take longer than the usual ten minutes.
        token = control_plane.token(name, "raywarden", expirationSeconds=4 * 3600)
        control_plane.kubeconfig(name, token)
        installation.unregister()
        define_ray_clusters(control_plane)
        install_operator(control_plane)
        return installation

    def shipped(self) -> list[Object]:
        """Every object of `deploy/base`, in the namespace of this installation."""
        text = yaml.safe_dump_all(rendered(BASE)).replace("raywarden-system", self.namespace)
        return list(yaml.safe_load_all(text))

    @property
    def secret(self) -> str:
        """The API path of the Secret with the seed."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/raywarden-seed"

    def team(self, **labels: str) -> str:
        """Create a namespace with the service account `ray`; returns its name.

        The API server sends no requests of a namespace with the label `unseen`.
        """
        name = f"team-{uuid4().hex[:8]}"
        self.control_plane.make(
            "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}
        )
        self.control_plane.make(
            f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "ray"}}
        )
        return name

    def register(
        self,
        first: "Replica",
        second: "Replica",
        *,
        selectors: tuple[Object, Object] = (_OTHERS, _WORKERS),
    ) -> None:
        """Have the API server send what these selectors match to the first and to the second.

        By default the second gets worker pods, and the first everything else.
        """
        others, workers = selectors
        self._register(
            lambda webhook, path: [
                {
                    **_at(webhook, f"{replica.admission}{path}"),
                    "name": f"{number}.{webhook['name']}",
                    "objectSelector": _both(webhook.get("objectSelector", {}), of),
                }
                for number, replica, of in (("one", first, others), ("two", second, workers))
            ]
        )

    def register_at(self, mutate: str, validate: str) -> None:
        """Have the API server send everything to these URLs."""
        urls = {"/mutate": mutate, "/validate": validate}
        self._register(lambda webhook, path: [_at(webhook, f"{urls[path]}{path}")])

    def _register(self, local: Callable[[Object, str], list[Object]]) -> None:
        """Apply the shipped webhook configurations with URLs instead of Services.

        A Service would need the network of a cluster, which does not exist here.
        """
        for configuration in self.shipped():
            if configuration["kind"] in _CONFIGURED:
                webhooks = []
                for webhook in configuration["webhooks"]:
                    path = webhook["clientConfig"]["service"]["path"]
                    webhooks += local(webhook, path)
                self.control_plane.apply({**configuration, "webhooks": webhooks})

    def unregister(self) -> None:
        """Delete the webhook configurations."""
        for path in self._configurations():
            self.control_plane.delete(path)

    def spoil(self) -> None:
        """Overwrite one of the caBundles in each configuration with garbage."""
        for path in self._configurations():
            webhooks = self.control_plane.get(path)["webhooks"]
            webhooks[-1]["clientConfig"]["caBundle"] = _GARBAGE
            self.control_plane.patch(path, {"webhooks": webhooks})

    def bundles(self) -> set[bytes]:
        """Every distinct caBundle that is registered; there should be exactly one."""
        webhooks = [
            webhook
            for path in self._configurations()
            for webhook in self.control_plane.get(path)["webhooks"]
        ]
        return {base64.b64decode(webhook["clientConfig"]["caBundle"]) for webhook in webhooks}

    def trust(self) -> ssl.SSLContext:
        """A client context that trusts what the API server trusts."""
        (bundle,) = self.bundles()
        return ssl.create_default_context(cadata=bundle.decode())

    def wait_effective(self) -> None:
        """Wait until the API server calls both replicas.

        It learns of new registrations and caBundles with some delay.
        """
        namespace = self.team()
        for role in ("head", "worker"):
            self._wait_answered(namespace, role)

    def _wait_answered(self, namespace: str, role: str) -> None:
        labels = {"ray.io/cluster": "x", "ray.io/node-type": role, "raywarden.io/tls": "managed"}
        spec = {"serviceAccountName": "ray", "containers": [{"name": "ray", "image": "ray:2.60.0"}]}
        owner = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "name": "x",
            "uid": "x",
            "controller": True,
        }
        pod = {
            "metadata": {"generateName": "x-", "labels": labels, "ownerReferences": [owner]},
            "spec": spec,
        }
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        until(lambda: "raywarden-enroll" in self.control_plane.post(path, pod, OPERATOR).text)

    def _configurations(self) -> Iterator[str]:
        for kind in _KINDS:
            yield f"{_CONFIGURATIONS}/{kind.lower()}webhookconfigurations/raywarden"


def _at(webhook: Object, url: str) -> Object:
    """A shipped webhook at a URL; tests can bypass it in namespaces with the label `unseen`."""
    selector = [
        *webhook["namespaceSelector"]["matchExpressions"],
        {"key": "unseen", "operator": "DoesNotExist"},
    ]
    return {
        **webhook,
        "clientConfig": {"url": url},
        "namespaceSelector": {"matchExpressions": selector},
    }


def _both(first: Object, second: Object) -> Object:
    """A label selector for what both of these select."""
    expressions = [*first.get("matchExpressions", []), *second.get("matchExpressions", [])]
    return {"matchExpressions": expressions}


def define_ray_clusters(control_plane: ControlPlane) -> None:
    """Define KubeRay's RayCluster, without a schema."""
    define(control_plane, "ray.io", "v1", "RayCluster")


def define(control_plane: ControlPlane, group: str, version: str, kind: str) -> None:
    """Create a minimal CustomResourceDefinition and wait until it is served."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    singular, plural = kind.lower(), f"{kind.lower()}s"
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular}
    spec: dict[str, Any] = {
        "group": group,
        "scope": "Namespaced",
        "names": names,
        "versions": [served],
    }
    if not control_plane.get(f"{_DEFINITIONS}/{plural}.{group}"):
        # The API server requires this annotation for groups that end in k8s.io.
        approval = {"api-approved.kubernetes.io": "unapproved, for tests"}
        metadata = {"name": f"{plural}.{group}", "annotations": approval}
        control_plane.make(_DEFINITIONS, {"metadata": metadata, "spec": spec})
    until(lambda: control_plane.get(f"/apis/{group}/{version}/{plural}"))
