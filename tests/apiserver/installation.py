"""RayWarden as an operator installs it: `deploy/base`, its servers beside the API server in place of a Deployment's."""

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
        """`deploy/base` under another name, without webhook configurations, beside KubeRay."""
        name = f"raywarden-{uuid4().hex[:8]}"
        made = cls(control_plane, name, control_plane.folder / f"{name}.kubeconfig")
        control_plane.apply(*(one for one in made.shipped() if one["kind"] not in _CONFIGURED))
        control_plane.kubeconfig(name, control_plane.token(name, "raywarden"))
        made.unregister()
        define_ray_clusters(control_plane)
        install_operator(control_plane)
        return made

    def shipped(self) -> list[Object]:
        """Every object of `deploy/base`, in our namespace."""
        text = yaml.safe_dump_all(rendered(BASE)).replace("raywarden-system", self.namespace)
        return list(yaml.safe_load_all(text))

    @property
    def secret(self) -> str:
        """Where the seed is."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/raywarden-seed"

    def team(self, **labels: str) -> str:
        """A namespace with the service account `ray`; gives its name. One labeled `unseen` is not sent to us."""
        name = f"team-{uuid4().hex[:8]}"
        self.control_plane.make(
            "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}
        )
        self.control_plane.make(
            f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "ray"}}
        )
        return name

    def register(self, first: "Replica", second: "Replica") -> None:
        """Have the API server send worker pods to `second` and everything else to `first`."""
        self._register(
            lambda webhook, path: [
                {
                    **_at(webhook, f"{replica.admission}{path}"),
                    "name": f"{number}.{webhook['name']}",
                    "objectSelector": of,
                }
                for number, replica, of in (("one", first, _OTHERS), ("two", second, _WORKERS))
            ]
        )

    def register_at(self, mutate: str, validate: str) -> None:
        """Have the API server send everything to these URLs."""
        urls = {"/mutate": mutate, "/validate": validate}
        self._register(lambda webhook, path: [_at(webhook, f"{urls[path]}{path}")])

    def _register(self, local: Callable[[Object, str], list[Object]]) -> None:
        """As it is shipped, but for URLs: where a Service leads to would be the cluster's network's choice."""
        for configuration in self.shipped():
            if configuration["kind"] in _CONFIGURED:
                listed = configuration["webhooks"]
                webhooks = [
                    one
                    for each in listed
                    for one in local(each, each["clientConfig"]["service"]["path"])
                ]
                self.control_plane.apply({**configuration, "webhooks": webhooks})

    def unregister(self) -> None:
        """Take the webhook configurations away."""
        for path in self._configurations():
            self.control_plane.delete(path)

    def spoil(self) -> None:
        """Overwrite one of the caBundles in each configuration with garbage."""
        for path in self._configurations():
            webhooks = self.control_plane.get(path)["webhooks"]
            webhooks[-1]["clientConfig"]["caBundle"] = _GARBAGE
            self.control_plane.patch(path, {"webhooks": webhooks})

    def bundles(self) -> set[bytes]:
        """Every caBundle that is registered; one is what there should be."""
        webhooks = [
            webhook
            for path in self._configurations()
            for webhook in self.control_plane.get(path)["webhooks"]
        ]
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
    """A webhook as it is shipped, at a URL, and with a way for tests to get past it."""
    selector = [
        *webhook["namespaceSelector"]["matchExpressions"],
        {"key": "unseen", "operator": "DoesNotExist"},
    ]
    return {
        **webhook,
        "clientConfig": {"url": url},
        "namespaceSelector": {"matchExpressions": selector},
    }


def define_ray_clusters(control_plane: ControlPlane) -> None:
    """KubeRay's own resource, as far as it is needed."""
    define(control_plane, "ray.io", "v1", "RayCluster")


def define(control_plane: ControlPlane, group: str, version: str, kind: str) -> None:
    """A minimal CustomResourceDefinition, served when this returns."""
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
        # Groups that end in k8s.io are Kubernetes' own, and want to be approved of.
        approval = {"api-approved.kubernetes.io": "unapproved, for tests"}
        metadata = {"name": f"{plural}.{group}", "annotations": approval}
        control_plane.make(_DEFINITIONS, {"metadata": metadata, "spec": spec})
    until(lambda: control_plane.get(f"/apis/{group}/{version}/{plural}"))
