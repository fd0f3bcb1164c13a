"""KubeRay's real operator of some release, beside RayWarden on a real API server.

`KUBERAY_RELEASES` is a folder with a folder for each release, such as `1.7.0`: the operator
`manager`, and from the `config` of the same release the CustomResourceDefinitions in `crds` and the
operator's ClusterRole `role.yaml`.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from tests.apiserver.control_plane import AUDIT_LOG, ControlPlane
from tests.apiserver.free_ports import free_port
from tests.apiserver.installation import Installation, define, until
from tests.apiserver.kuberay_operator import NAME, NAMESPACE, OPERATOR
from tests.apiserver.permissions import RBAC
from tests.apiserver.pods import place_of
from tests.apiserver.replica import serving
from tests.support.factory import Object
from tests.tools.kuberay_fields import definitions

T = TypeVar("T")

RELEASES = os.environ.get("KUBERAY_RELEASES", "")
# Alpha features, by the release in which they came.
_GATES = {
    "RayCronJob": (1, 6),
    "RayClusterMTLS": (1, 7),
    "RayClusterNetworkPolicy": (1, 7),
}
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ROUND = "mutation.webhook.admission.k8s.io/round_"
_CHANGING = ("create", "update", "patch", "delete", "deletecollection")
# The operator reads from its cache: what is gone or has changed since is nothing unusual.
_USUAL = (404, 409)
# An operator reconciles at its own pace, and a machine may be busy.
_SECONDS = 180.0
# The API server needs seconds for a definition of more than a megabyte.
_LARGE = httpx.Timeout(120)


@dataclass(frozen=True)
class Release:
    """A release of KubeRay, with all its alpha features on or off."""

    folder: Path
    alpha: bool

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(map(int, self.folder.name.split(".")))

    @property
    def gates(self) -> tuple[str, ...]:
        known = [gate for gate, since in _GATES.items() if self.version >= since]
        return tuple(known) if self.alpha else ()

    def __str__(self) -> str:
        return f"{self.folder.name}-{'alpha' if self.alpha else 'default'}"


def releases() -> list[Release]:
    """Every release in the folder; with all alpha features too, if it has any."""
    folders = sorted(Path(RELEASES).iterdir()) if RELEASES else []
    found = [Release(folder, alpha) for folder in folders for alpha in (False, True)]
    return [release for release in found if release.gates or not release.alpha]


@dataclass(frozen=True)
class RunningRelease:
    """The operator runs; tests play the kubelet, the scheduler and the other controllers."""

    release: Release
    control_plane: ControlPlane
    log: Path

    def make_namespace(self, name: str) -> None:
        """A namespace held to the stricter profile, with a quota and a service account."""
        labels = {"raywarden.io/enforce": "restricted"}
        self.control_plane.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": labels},
            },
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "ray", "namespace": name},
                "automountServiceAccountToken": False,
            },
        )
        hard = {f"{part}.{size}": "9999Gi" for part in ("requests", "limits") for size in _SIZES}
        quota = {"metadata": {"name": "ray"}, "spec": {"hard": hard}}
        path = f"/api/v1/namespaces/{name}/resourcequotas"
        self.control_plane.make(path, quota)
        # No controller counts here.
        status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
        self.control_plane.patch(f"{path}/ray/status", {"status": status})

    def make(self, namespace: str, document: Object) -> Object:
        plural = f"{document['kind'].lower()}s"
        path = f"/apis/ray.io/v1/namespaces/{namespace}/{plural}"
        return self.control_plane.make(path, document)

    def get(self, namespace: str, plural: str, name: str = "") -> Any:
        path = f"/apis/ray.io/v1/namespaces/{namespace}/{plural}"
        found = self.control_plane.get(f"{path}/{name}" if name else path)
        return found if name else found["items"]

    def pods(self, namespace: str) -> list[Object]:
        """The pods of a namespace; each is running and ready as soon as it is seen."""
        pods: list[Object] = self.control_plane.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        for number, pod in enumerate(pods, 2):
            if pod["status"].get("phase") == "Pending":
                self.control_plane.patch(f"{place_of(pod)}/status", _running(pod, number))
        return pods

    def wait_ready(self, namespace: str, pods: int) -> Object:
        """Wait until the only RayCluster of a namespace is ready with so many pods."""

        def ready() -> list[Object]:
            existing = self.pods(namespace)
            clusters: list[Object] = self.get(namespace, "rayclusters")
            states = [cluster.get("status", {}).get("state") for cluster in clusters]
            return clusters if len(existing) == pods and states == ["ready"] else []

        return self.until(ready)[0]

    def until(self, condition: Callable[[], T]) -> T:
        """Wait until `condition` returns something true; the operator's errors are shown."""
        try:
            return until(condition, _SECONDS)
        except AssertionError as error:
            lines = self.log.read_text().splitlines()
            shown = "\n".join(line for line in lines if "error" in line.lower())[-3000:]
            raise AssertionError(f"{error}: {self.refused()}\n{shown}") from None

    def refused(self) -> list[str]:
        """The changes that the operator was not allowed to make, in the audit log."""
        return [
            f"{event['verb']} {event['requestURI']}: {event['responseStatus']}"
            for event in self._requests()
            if event["verb"] in _CHANGING
            and event.get("responseStatus", {}).get("code", 0) >= 400
            and event["responseStatus"]["code"] not in _USUAL
        ]

    def changed_again(self) -> list[str]:
        """The requests of the operator that RayWarden changed when it was called again."""
        found = []
        for event in self._requests():
            for name, text in event.get("annotations", {}).items():
                later = name.startswith(_ROUND) and not name.startswith(f"{_ROUND}0")
                call = json.loads(text) if later else {}
                if call.get("mutated") and call["configuration"] == "raywarden":
                    found.append(f"{event['requestURI']}: {text}")
        return found

    def created(self, resource: str) -> int:
        """How many objects of a resource the operator has created."""
        return sum(
            event.get("objectRef", {}).get("resource") == resource
            and event["verb"] == "create"
            and event["responseStatus"]["code"] == 201
            for event in self._requests()
        )

    def _requests(self) -> Iterator[Mapping[str, Any]]:
        for line in (self.control_plane.folder / AUDIT_LOG).read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] == OPERATOR:
                yield event


_SIZES = ("cpu", "memory")


def _running(pod: Object, number: int) -> Object:
    containers = pod["spec"]["containers"]
    running = {"ready": True, "restartCount": 0, "imageID": "", "state": {"running": {}}}
    statuses = [{"name": one["name"], "image": one["image"], **running} for one in containers]
    status = {
        "phase": "Running",
        "podIP": f"10.1.2.{number}",
        "podIPs": [{"ip": f"10.1.2.{number}"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": statuses,
    }
    return {"status": status}


@contextmanager
def running(release: Release, folder: Path, assets: Path) -> Iterator[RunningRelease]:
    """Run an API server, RayWarden and the operator of a release."""
    with ControlPlane(folder, assets) as control_plane:
        _install(control_plane, release)
        installation = Installation.make(control_plane)
        with serving(installation) as replica:
            installation.register_at(replica.admission, replica.admission)
            replica.wait_ready()
            installation.wait_effective()
            with _operator(control_plane, release) as log:
                yield RunningRelease(release, control_plane, log)


def _install(control_plane: ControlPlane, release: Release) -> None:
    """KubeRay's definitions and rights, and the kinds of cert-manager that its mTLS needs."""
    control_plane.admin.timeout = _LARGE
    for document in definitions(release.folder / "crds"):
        name = document["metadata"]["name"]
        control_plane.make(_CRDS, {"metadata": {"name": name}, "spec": document["spec"]})
        until(partial(control_plane.get, f"/apis/ray.io/v1/{name.partition('.')[0]}"), 120)
    for kind in ("Issuer", "Certificate"):
        define(control_plane, "cert-manager.io", "v1", kind)
        # KubeRay compares generations, which a status must not change.
        place = f"{_CRDS}/{kind.lower()}s.cert-manager.io"
        (served,) = control_plane.get(place)["spec"]["versions"]
        versions = [{**served, "subresources": {"status": {}}}]
        control_plane.patch(place, {"spec": {"versions": versions}})
    role = yaml.safe_load((release.folder / "role.yaml").read_text())
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    control_plane.make(
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": NAME}}
    )
    control_plane.make(f"{RBAC}/clusterroles", {"metadata": {"name": NAME}, "rules": role["rules"]})
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    binding = {"metadata": {"name": NAME}, "roleRef": reference, "subjects": [subject]}
    control_plane.make(f"{RBAC}/clusterrolebindings", binding)


@contextmanager
def _operator(control_plane: ControlPlane, release: Release) -> Iterator[Path]:
    token = control_plane.token(NAMESPACE, NAME, expirationSeconds=4 * 3600)
    kubeconfig, probes = control_plane.kubeconfig(NAME, token), free_port()
    command = [
        str(release.folder / "manager"),
        "--enable-leader-election=false",
        f"--metrics-addr=127.0.0.1:{free_port()}",
        f"--health-probe-bind-address=127.0.0.1:{probes}",
    ]
    if release.gates:
        command.append(f"--feature-gates={','.join(f'{gate}=true' for gate in release.gates)}")
    log = control_plane.folder / "kuberay-operator.log"
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(control_plane.folder)}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        until(lambda: _is_ready(process, log, probes), _SECONDS)
        yield log
    finally:
        process.kill()
        process.wait()


def _is_ready(process: "subprocess.Popen[bytes]", log: Path, port: int) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False
