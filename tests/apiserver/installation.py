"""RayWarden as an operator installs it: namespace, service account, rights, webhook configurations."""

import base64
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.kuberay_operator import OPERATOR, install_operator
from tests.apiserver.rights import CLUSTER_RULES, OWN_RULES, REGISTRATION, grant
from tests.factory import Object

if TYPE_CHECKING:
    from tests.apiserver.replica import Replica

T = TypeVar("T")

_CONFIGURATIONS = f"/apis/{REGISTRATION}/v1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_KINDS = {"Mutating": ("mutate", "Ignore"), "Validating": ("validate", "Fail")}
_LOOKED_AT = {
    "": ["pods", "pods/ephemeralcontainers", "services", "endpoints", "namespaces"],
    "ray.io": ["rayclusters"],
    "apps": ["deployments", "statefulsets"],
    "batch": ["jobs", "cronjobs"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "discovery.k8s.io": ["endpointslices"],
}
_GARBAGE = base64.b64encode(b"garbage").decode()
_WORKER = {"key": "ray.io/node-type", "values": ["worker"]}


def until(ask: Callable[[], T], seconds: float = 20.0) -> T:
    """What `ask` answers, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds:g} s"
        time.sleep(0.05)
    return answer


@dataclass(frozen=True)
class Installation:
    """A namespace of RayWarden's own, and a kubeconfig with the token of its service account."""

    control_plane: ControlPlane
    namespace: str
    kubeconfig: Path

    @classmethod
    def make(cls, control_plane: ControlPlane) -> "Installation":
        """Without webhook configurations, as before the operator has applied them."""
        name = f"raywarden-{uuid4().hex[:8]}"
        control_plane.make("/api/v1/namespaces", {"metadata": {"name": name}})
        control_plane.make(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "raywarden"}})
        grant(control_plane, name, CLUSTER_RULES, OWN_RULES)
        made = cls(control_plane, name, control_plane.kubeconfig(name, control_plane.token(name, "raywarden")))
        made.unregister()
        define_ray_clusters(control_plane)
        install_operator(control_plane)
        return made

    @property
    def secret(self) -> str:
        """Where the seed is."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/raywarden-seed"

    def team(self, **labels: str) -> str:
        """A namespace whose pods and RayClusters are sent to us, with the service account `ray`; gives its name."""
        name = f"team-{uuid4().hex[:8]}"
        labelled = {"name": name, "labels": {"warden": self.namespace, **labels}}
        self.control_plane.make("/api/v1/namespaces", {"metadata": labelled})
        self.control_plane.make(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "ray"}})
        return name

    def register(self, first: "Replica", second: "Replica") -> None:
        """Have the API server send worker pods to `second` and everything else to `first`; its caBundle is garbage."""
        for kind, (path, policy) in _KINDS.items():
            webhooks = [
                self._webhook("one", f"{first.admission}/{path}", policy, {**_WORKER, "operator": "NotIn"}),
                self._webhook("two", f"{second.admission}/{path}", policy, {**_WORKER, "operator": "In"}),
            ]
            made = {"metadata": {"name": "raywarden"}, "webhooks": webhooks}
            self.control_plane.make(f"{_CONFIGURATIONS}/{kind.lower()}webhookconfigurations", made)

    def _webhook(self, name: str, url: str, policy: str, objects: Object) -> Object:
        everything = [
            {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": resources}
            for group, resources in _LOOKED_AT.items()
        ]
        return {
            "name": f"{name}.raywarden.io",
            "clientConfig": {"url": url, "caBundle": _GARBAGE},
            "failurePolicy": policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "rules": everything,
            "namespaceSelector": {"matchLabels": {"warden": self.namespace}},
            "objectSelector": {"matchExpressions": [objects]},
        }

    def unregister(self) -> None:
        """Take the webhook configurations away."""
        for path in self._configurations():
            self.control_plane.delete(path)

    def spoil(self) -> None:
        """Overwrite one of the caBundles in each configuration with garbage."""
        for path in self._configurations():
            webhooks = self.control_plane.get(path)["webhooks"]
            webhooks[1]["clientConfig"]["caBundle"] = _GARBAGE
            self.control_plane.patch(path, {"webhooks": webhooks})

    def bundles(self) -> set[bytes]:
        """Every caBundle that is registered; one is what there should be."""
        webhooks = [webhook for path in self._configurations() for webhook in self.control_plane.get(path)["webhooks"]]
        return {base64.b64decode(webhook["clientConfig"]["caBundle"]) for webhook in webhooks}

    def trust(self) -> ssl.SSLContext:
        """What the API server trusts."""
        (bundle,) = self.bundles()
        return ssl.create_default_context(cadata=bundle.decode())

    def wait_effective(self) -> None:
        """Until the API server calls both of us: it hears of registrations and caBundles a little late."""
        namespace = self.team()
        for role in ("head", "worker"):
            self._wait_answered(namespace, role)

    def _wait_answered(self, namespace: str, role: str) -> None:
        labels = {"ray.io/cluster": "x", "ray.io/node-type": role, "raywarden.io/tls": "managed"}
        spec = {"serviceAccountName": "ray", "containers": [{"name": "ray", "image": "ray:2.55.1"}]}
        owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "x", "uid": "x", "controller": True}
        pod = {"metadata": {"generateName": "x-", "labels": labels, "ownerReferences": [owner]}, "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        until(lambda: "raywarden-enroll" in self.control_plane.post(path, pod, OPERATOR).text)

    def _configurations(self) -> Iterator[str]:
        for kind in _KINDS:
            yield f"{_CONFIGURATIONS}/{kind.lower()}webhookconfigurations/raywarden"


def define_ray_clusters(control_plane: ControlPlane) -> None:
    """KubeRay's own resource, as far as it is needed."""
    define(control_plane, "ray.io", "v1", "RayCluster")


def define(control_plane: ControlPlane, group: str, version: str, kind: str) -> None:
    """A minimal CustomResourceDefinition, served when this returns."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    singular, plural = kind.lower(), f"{kind.lower()}s"
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular}
    spec: dict[str, Any] = {"group": group, "scope": "Namespaced", "names": names, "versions": [served]}
    if not control_plane.get(f"{_DEFINITIONS}/{plural}.{group}"):
        # Groups that end in k8s.io are Kubernetes' own, and want to be approved of.
        approval = {"api-approved.kubernetes.io": "unapproved, for tests"}
        metadata = {"name": f"{plural}.{group}", "annotations": approval}
        control_plane.make(_DEFINITIONS, {"metadata": metadata, "spec": spec})
    until(lambda: control_plane.get(f"/apis/{group}/{version}/{plural}"))
