"""Live Kubernetes objects, raw as JSON has them, into what `certs` understands (Kubernetes API 1.37, KubeRay 1.7)."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from certs.identity import Address, Cluster, LivePod, Owner, Service, TokenIdentity
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# KubeRay names the head Service of these after them, too (`utils.GenerateHeadServiceName`).
_HEAD_SERVICE_OWNERS = ("RayService", "RayJob")
_SERVICE_ACCOUNT = "system:serviceaccount:"
_MAX_LABELS = 64
_MAX_NAME = 63
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


def caller_of(status: Any, audience: str) -> TokenIdentity | None:
    """The pod in the `status` of a TokenReview; None unless the token is valid, for `audience`, and bound to a pod."""
    review = as_dict(status)
    user = as_dict(review.get("user"))
    name, extra = as_str(user.get("username")), as_dict(user.get("extra"))
    audiences = [audience for _, audience in str_items(review.get("audiences"))]
    if (
        review.get("authenticated") is not True
        or audience not in audiences
        or not name.startswith(_SERVICE_ACCOUNT)
    ):
        return None
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    pod, uid = (
        next((value for _, value in str_items(extra.get(key))), "") for key in (_POD_NAME, _POD_UID)
    )
    if not (namespace and account and pod and uid):
        return None
    return TokenIdentity(namespace, account, pod, uid)


def pod_of(document: Mapping[str, Any]) -> LivePod:
    """A Pod object."""
    metadata, status = as_dict(document.get("metadata")), as_dict(document.get("status"))
    return LivePod(
        namespace=as_str(metadata.get("namespace")),
        name=as_str(metadata.get("name")),
        uid=as_str(metadata.get("uid")),
        labels=_strings(metadata.get("labels")),
        owner=_controller(metadata),
        service_account=as_str(as_dict(document.get("spec")).get("serviceAccountName"))
        or "default",
        addresses=tuple(_addresses(status)),
        ended="deletionTimestamp" in metadata or status.get("phase") in ("Succeeded", "Failed"),
    )


def ray_cluster_of(document: Mapping[str, Any]) -> Cluster:
    """A RayCluster object."""
    metadata, owner = (
        as_dict(document.get("metadata")),
        _controller(as_dict(document.get("metadata"))),
    )
    name = as_str(metadata.get("name"))
    head = as_dict(as_dict(document.get("spec")).get("headGroupSpec"))
    custom = as_str(as_dict(as_dict(head.get("headService")).get("metadata")).get("name"))
    services = [custom, f"{name}-head-svc"]
    if owner and owner.group == "ray.io" and owner.kind in _HEAD_SERVICE_OWNERS:
        services.append(f"{owner.name}-head-svc")
    return Cluster(
        namespace=as_str(metadata.get("namespace")),
        name=name,
        uid=as_str(metadata.get("uid")),
        created=created_of(document),
        ended="deletionTimestamp" in metadata,
        head_services=tuple(service for service in services if 0 < len(service) <= _MAX_NAME),
    )


def opted_in_cluster_of(namespace: Mapping[str, Any], name: str) -> Cluster:
    """A cluster of Ray without KubeRay, in a Namespace object."""
    metadata = as_dict(namespace.get("metadata"))
    return Cluster(
        namespace=as_str(metadata.get("name")),
        name=name,
        uid=as_str(metadata.get("uid")),
        created=created_of(namespace),
        opted_in=True,
        ended="deletionTimestamp" in metadata,
    )


def service_of(document: Mapping[str, Any]) -> Service:
    """A Service object."""
    name = as_str(as_dict(document.get("metadata")).get("name"))
    selector = _strings(as_dict(document.get("spec")).get("selector"))
    # No pod has so many labels; and these are kept in memory, whoever made them.
    return Service(name, selector if len(selector) <= _MAX_LABELS else {})


def created_of(document: Mapping[str, Any]) -> datetime:
    """The creationTimestamp of a live object; raises ValueError where it has none."""
    return datetime.fromisoformat(
        as_str(as_dict(document.get("metadata")).get("creationTimestamp"))
    )


def _controller(metadata: Mapping[str, Any]) -> Owner | None:
    for _, owner in dict_items(metadata.get("ownerReferences")):
        if owner.get("controller") is True:
            group, slash, _ = as_str(owner.get("apiVersion")).rpartition("/")
            return Owner(
                group if slash else "",
                as_str(owner.get("kind")),
                as_str(owner.get("name")),
                as_str(owner.get("uid")),
            )
    return None


def _addresses(status: Mapping[str, Any]) -> Iterator[Address]:
    listed = [as_str(entry.get("ip")) for _, entry in dict_items(status.get("podIPs"))]
    for address in dict.fromkeys((as_str(status.get("podIP")), *listed)):
        if address:
            yield ip_address(address)


def _strings(value: Any) -> dict[str, str]:
    return {name: entry for name, entry in as_dict(value).items() if isinstance(entry, str)}
