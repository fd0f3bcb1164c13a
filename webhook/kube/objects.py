"""Converts raw Kubernetes objects to the types of `certs` (Kubernetes API 1.37, KubeRay 1.7)."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from certs.identity import Address, Cluster, LivePod, Owner, Service, TokenIdentity
from policies.documents.metadata import controller_of, metadata_of, name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# KubeRay also names a head Service after an owner of these kinds (`utils.GenerateHeadServiceName`).
_HEAD_SERVICE_OWNERS = ("RayService", "RayJob")
_SERVICE_ACCOUNT = "system:serviceaccount:"
# No pod has this many labels. Selectors stay in memory, and any user can create a Service.
_MAX_SELECTOR_LABELS = 64
# A Service name is a DNS label (RFC 1123): a longer one cannot exist.
_MAX_SERVICE_NAME = 63
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


def caller_of(status: Any, audience: str) -> TokenIdentity | None:
    """The pod in the `status` of a TokenReview.

    None unless the token is valid, was issued for `audience`, and is bound to a pod.
    """
    review = as_dict(status)
    user = as_dict(review.get("user"))
    username = as_str(user.get("username"))
    if review.get("authenticated") is not True:
        return None
    # The API server lists the audiences that it verified. An authenticator that does not know
    # about audiences lists none: its answer does not count.
    if not any(verified == audience for _, verified in str_items(review.get("audiences"))):
        return None
    if not username.startswith(_SERVICE_ACCOUNT):
        return None
    namespace, _, account = username.removeprefix(_SERVICE_ACCOUNT).partition(":")
    extra = as_dict(user.get("extra"))
    pod, uid = _first_string(extra.get(_POD_NAME)), _first_string(extra.get(_POD_UID))
    if not (namespace and account and pod and uid):
        return None
    return TokenIdentity(namespace, account, pod, uid)


def pod_of(document: Mapping[str, Any]) -> LivePod:
    """The pod in a Pod object; raises ValueError for a malformed address."""
    metadata, status = metadata_of(document), as_dict(document.get("status"))
    owner = controller_of(document)
    spec = as_dict(document.get("spec"))
    service_account = as_str(spec.get("serviceAccountName"))
    hostname, subdomain = as_str(spec.get("hostname")), as_str(spec.get("subdomain"))
    return LivePod(
        namespace=namespace_of(document),
        name=name_of(document),
        uid=as_str(metadata.get("uid")),
        labels=_strings(metadata.get("labels")),
        owner=Owner(owner.group, owner.kind, owner.name, owner.uid) if owner else None,
        service_account=service_account or "default",
        addresses=tuple(_addresses(status)),
        ended=pod_has_ended(document),
        host=f"{hostname}.{subdomain}",
    )


def pod_has_ended(document: Mapping[str, Any]) -> bool:
    """Whether a Pod object has terminated or is being deleted."""
    phase = as_dict(document.get("status")).get("phase")
    return phase in ("Succeeded", "Failed") or "deletionTimestamp" in metadata_of(document)


def ray_cluster_of(document: Mapping[str, Any]) -> Cluster:
    """The cluster in a RayCluster object; raises ValueError without a creationTimestamp."""
    metadata, name = metadata_of(document), name_of(document)
    head = as_dict(as_dict(document.get("spec")).get("headGroupSpec"))
    services = [name_of(as_dict(head.get("headService"))), f"{name}-head-svc"]
    owner = controller_of(document)
    if owner and owner.group == "ray.io" and owner.kind in _HEAD_SERVICE_OWNERS:
        services.append(f"{owner.name}-head-svc")
    return Cluster(
        namespace=namespace_of(document),
        name=name,
        uid=as_str(metadata.get("uid")),
        created=created_of(document),
        ended="deletionTimestamp" in metadata,
        head_services=tuple(
            service for service in services if 0 < len(service) <= _MAX_SERVICE_NAME
        ),
    )


def opted_in_cluster_of(namespace: Mapping[str, Any], name: str) -> Cluster:
    """The Ray cluster `name` without KubeRay, which lives as long as its Namespace object."""
    metadata = metadata_of(namespace)
    return Cluster(
        namespace=name_of(namespace),
        name=name,
        uid=as_str(metadata.get("uid")),
        created=created_of(namespace),
        opted_in=True,
        ended="deletionTimestamp" in metadata,
    )


def service_of(document: Mapping[str, Any]) -> Service:
    """The Service in a Service object."""
    selector = _strings(as_dict(document.get("spec")).get("selector"))
    return Service(name_of(document), selector if len(selector) <= _MAX_SELECTOR_LABELS else {})


def addresses_of(document: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The addresses of an EndpointSlice, each with each of its TCP ports."""
    ports = [entry.get("port") for _, entry in dict_items(document.get("ports"))]
    for _, endpoint in dict_items(document.get("endpoints")):
        for _, text in str_items(endpoint.get("addresses")):
            try:
                address = str(ip_address(text))
            except ValueError:
                continue
            for port in ports:
                if isinstance(port, int):
                    yield address, port


def created_of(document: Mapping[str, Any]) -> datetime:
    """The creationTimestamp of a live object; raises ValueError if it has none."""
    return datetime.fromisoformat(as_str(metadata_of(document).get("creationTimestamp")))


def _addresses(status: Mapping[str, Any]) -> Iterator[Address]:
    addresses = [as_str(status.get("podIP"))]
    addresses += [as_str(entry.get("ip")) for _, entry in dict_items(status.get("podIPs"))]
    for address in dict.fromkeys(addresses):
        if address:
            yield ip_address(address)


def _first_string(value: Any) -> str:
    for _, text in str_items(value):
        return text
    return ""


def _strings(value: Any) -> dict[str, str]:
    return {name: entry for name, entry in as_dict(value).items() if isinstance(entry, str)}
