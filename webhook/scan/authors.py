"""Who would send the request for a stored object, and with which signer its pod was made.

The API server does not store who created an object. An object that belongs to a controller counts
as created by that controller, as its owner says: other rules compare the owner with what exists.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from policies.cluster.endpoints import CONTROLLER, MANAGED_BY_LABEL, service_of
from policies.cluster.state import NamespaceState
from policies.documents.metadata import controller_of, labels_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.model import Signer
from policies.ray import kuberay
from policies.ray.membership import JOB_CONTROLLERS, RAY_GROUP
from policies.ray.pod import ENROLL_CONTAINER
from webhook.ports import NamespaceStates

_SERVICE_ACCOUNTS = "system:serviceaccount:kube-system"
_CONTROLLERS = {
    ("apps", "DaemonSet"): f"{_SERVICE_ACCOUNTS}:daemon-set-controller",
    ("apps", "Deployment"): f"{_SERVICE_ACCOUNTS}:deployment-controller",
    ("apps", "ReplicaSet"): f"{_SERVICE_ACCOUNTS}:replicaset-controller",
    ("apps", "StatefulSet"): f"{_SERVICE_ACCOUNTS}:statefulset-controller",
    ("batch", "CronJob"): f"{_SERVICE_ACCOUNTS}:cronjob-controller",
    ("batch", "Job"): JOB_CONTROLLERS[0],
    ("", "ReplicationController"): f"{_SERVICE_ACCOUNTS}:replication-controller",
}


def author_of(document: Mapping[str, Any]) -> str:
    """The user whose controller creates such an object; empty if nobody knows."""
    owner = controller_of(document)
    if owner is None:
        return ""
    if owner.group == RAY_GROUP:
        return kuberay.OPERATOR
    return _CONTROLLERS.get((owner.group, owner.kind), "")


def is_written_by_kubernetes(kind: str, document: Mapping[str, Any], state: NamespaceState) -> bool:
    """Whether Kubernetes' controller keeps these endpoints, so that admission never sees them.

    It does so for every Service that has a selector.
    """
    if kind not in ("Endpoints", "EndpointSlice"):
        return False
    service = (state.services or {}).get(service_of(document))
    if service is None or not service.selector:
        return False
    return kind == "Endpoints" or labels_of(document).get(MANAGED_BY_LABEL) == CONTROLLER


class StatesWithOperator:
    """`NamespaceStates` that take the author of KubeRay's objects for KubeRay's operator.

    `states` must not change any more: the state of a namespace is built once for many objects.
    """

    def __init__(self, states: NamespaceStates) -> None:
        self._states = states
        # Lists are in the order of namespaces.
        self._state_of = lru_cache(maxsize=16)(self._with_operator)

    def state_of(self, namespace: str) -> NamespaceState:
        return self._state_of(namespace)

    def _with_operator(self, namespace: str) -> NamespaceState:
        state = self._states.state_of(namespace)
        operators = state.rbac.operators | {kuberay.OPERATOR}
        return replace(state, rbac=replace(state.rbac, operators=operators))


class PodSigner:
    """The signer of the pod that is judged.

    A pod keeps the CA that was current when it started, so each pod is compared with its own CA.
    If the server's settings are not known, the same holds for its image and its URL.
    """

    def __init__(self, server: Signer, *, is_known: bool) -> None:
        self._server = server
        self._is_known = is_known
        self._current = server

    def __call__(self) -> Signer:
        return self._current

    def expect(self, kind: str, document: Mapping[str, Any]) -> None:
        """Judge this object next."""
        self._current = self._server
        container = _enroll_container(document) if kind == "Pod" else {}
        if not container:
            return
        variables = {
            as_str(entry.get("name")): as_str(entry.get("value"))
            for _, entry in dict_items(container.get("env"))
        }
        ca = variables.get("RAYWARDEN_SIGNER_CA", "")
        self._current = replace(self._current, ca=ca)
        if not self._is_known:
            url = variables.get("RAYWARDEN_SIGNER_URL", "")
            self._current = replace(self._current, url=url, image=as_str(container.get("image")))


def _enroll_container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for _, container in dict_items(as_dict(pod.get("spec")).get("initContainers")):
        if container.get("name") == ENROLL_CONTAINER:
            return container
    return {}
