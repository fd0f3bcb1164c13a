"""The CertificateSigningRequests of people, and the API server's answers about who they are."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from certs.client import ClusterName
from certs.identity import Cluster
from policies.documents.metadata import metadata_of, name_of
from policies.documents.untyped import as_dict, as_str, clipped, dict_items, str_items
from policies.injection.contract import TlsBy, own_secret, tls_by
from policies.ray.workload import Workload
from webhook.kube.api import KubeApi
from webhook.kube.informer import Informer
from webhook.kube.memory import NAMESPACES, RAY_CLUSTERS
from webhook.kube.objects import created_of, opted_in_cluster_of, ray_cluster_of
from webhook.kube.policy_writer import EVENTS
from webhook.kube.request import Resource
from webhook.ports import ClientRequest, ConflictError, Requester

_GROUP = "certificates.k8s.io"
REQUESTS = Resource(_GROUP, "v1", "certificatesigningrequests")
APPROVAL = Resource(_GROUP, "v1", "certificatesigningrequests/approval")
STATUS = Resource(_GROUP, "v1", "certificatesigningrequests/status")
SIGNERS = Resource(_GROUP, "v1", "signers")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
SIGNER = "raywarden.io/ray-client"
# The verb that lets a user connect to a RayCluster.
CONNECT_VERB = "connect"
_REPORTER = "raywarden.io/ray-client"
# A larger request cannot be for a key that Ray can use; its bytes are not kept.
_MAX_CSR_BYTES = 16 * 1024
# The API server refuses longer notes.
_MAX_NOTE = 1000


class KubeClientRequests:
    """`ports.ClientRequests`."""

    def __init__(self, api: KubeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now

    async def follow(self, offer: Callable[[ClientRequest], None]) -> None:
        # Each list offers what a watch may have missed.
        fields = f"spec.signerName={SIGNER}"
        await Informer(self._api, REQUESTS, partial(_OfferedRequests, offer), fields=fields).run()

    async def read(self, request: ClientRequest) -> ClientRequest | None:
        document = await self._document(request)
        return request_of(document) if document else None

    async def may_connect(self, requester: Requester, cluster: ClusterName) -> bool:
        attributes = {
            "verb": CONNECT_VERB,
            "group": RAY_CLUSTERS.group,
            "version": RAY_CLUSTERS.version,
            "resource": RAY_CLUSTERS.plural,
            "namespace": cluster.namespace,
            "name": cluster.name,
        }
        spec = {
            "user": requester.name,
            "uid": requester.uid,
            "groups": list(requester.groups),
            "extra": {key: list(values) for key, values in requester.extra.items()},
            "resourceAttributes": attributes,
        }
        kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        answer = await self._api.review(ACCESS_REVIEWS, {**kind, "spec": spec})
        return as_dict(answer.get("status")).get("allowed") is True

    async def cluster(self, name: ClusterName) -> tuple[Cluster | None, str]:
        if name.opted_in:
            document = await self._api.get(NAMESPACES, "", name.namespace)
            cluster = opted_in_cluster_of(document, name.name) if document else None
        else:
            document = await self._api.get(RAY_CLUSTERS, name.namespace, name.name)
            cluster = ray_cluster_of(document) if document else None
        if document is None or cluster is None or cluster.ended:
            return None, f"there is no Ray cluster {name}"
        problem = "" if name.opted_in else without_our_tls(document)
        return (None, f"RayCluster {name} {problem}") if problem else (cluster, "")

    async def approve(self, request: ClientRequest, message: str) -> ClientRequest:
        stored = await self._write(APPROVAL, request, _condition("Approved", "MayConnect", message))
        return request_of(stored)

    async def deny(self, request: ClientRequest, reason: str, message: str) -> None:
        await self._write(APPROVAL, request, _condition("Denied", reason, message))

    async def fail(self, request: ClientRequest, reason: str, message: str) -> None:
        await self._write(STATUS, request, _condition("Failed", reason, message))

    async def issue(self, request: ClientRequest, certificates: bytes) -> None:
        await self._write(STATUS, request, None, certificates)

    async def record(self, request: ClientRequest, cluster: Cluster, message: str) -> None:
        if cluster.opted_in:
            return
        regarding = {
            "apiVersion": f"{RAY_CLUSTERS.group}/{RAY_CLUSTERS.version}",
            "kind": "RayCluster",
            "namespace": cluster.namespace,
            "name": cluster.name,
            "uid": cluster.uid,
        }
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"raywarden.{uuid4().hex}", "namespace": cluster.namespace},
            "eventTime": f"{self._now():%FT%T.%fZ}",
            "reportingController": _REPORTER,
            "reportingInstance": "raywarden",
            "action": "Issue",
            "reason": "ClientCertificateIssued",
            "type": "Normal",
            "regarding": regarding,
            "note": clipped(message, _MAX_NOTE),
        }
        await self._api.create(EVENTS, cluster.namespace, event)

    async def _document(self, request: ClientRequest) -> Mapping[str, Any] | None:
        """The stored object; None if it is gone, or another one has its name now."""
        document = await self._api.get(REQUESTS, "", request.name)
        if document is None or metadata_of(document).get("uid") != request.uid:
            return None
        return document

    async def _write(
        self,
        subresource: Resource,
        request: ClientRequest,
        condition: Mapping[str, str] | None,
        certificates: bytes = b"",
    ) -> Mapping[str, Any]:
        document = await self._document(request)
        if document is None or metadata_of(document).get("resourceVersion") != request.version:
            raise ConflictError(f"the request {request.name} has changed since it was read")
        status = dict(as_dict(document.get("status")))
        if condition:
            known = [entry for _, entry in dict_items(status.get("conditions"))]
            status["conditions"] = [*known, condition]
        if certificates:
            status["certificate"] = base64.b64encode(certificates).decode()
        changed = {**document, "status": status}
        return await self._api.replace(subresource, "", request.name, changed)


class _OfferedRequests:
    """A store that keeps nothing: it passes on what an informer finds."""

    def __init__(self, offer: Callable[[ClientRequest], None]) -> None:
        self._offer = offer

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        request = request_of(document)
        if not request.decided:
            self._offer(request)

    def remove(self, namespace: str, name: str) -> None:
        pass

    def __len__(self) -> int:
        return 0


def request_of(document: Mapping[str, Any]) -> ClientRequest:
    """The request in a CertificateSigningRequest; raises ValueError without a creationTimestamp."""
    metadata, spec = metadata_of(document), as_dict(document.get("spec"))
    status = as_dict(document.get("status"))
    conditions = {as_str(entry.get("type")) for _, entry in dict_items(status.get("conditions"))}
    lifetime = spec.get("expirationSeconds")
    requester = Requester(
        name=as_str(spec.get("username")),
        uid=as_str(spec.get("uid")),
        groups=_texts(spec.get("groups")),
        extra={key: _texts(values) for key, values in as_dict(spec.get("extra")).items()},
    )
    return ClientRequest(
        name=name_of(document),
        uid=as_str(metadata.get("uid")),
        version=as_str(metadata.get("resourceVersion")),
        created=created_of(document),
        requester=requester,
        csr=_decoded(as_str(spec.get("request"))),
        usages=_texts(spec.get("usages")),
        lifetime=lifetime if isinstance(lifetime, int) else None,
        approved="Approved" in conditions,
        decided=bool(conditions & {"Denied", "Failed"}) or bool(status.get("certificate")),
    )


def without_our_tls(ray_cluster: Mapping[str, Any]) -> str:
    """Why a certificate of RayWarden is of no use in a RayCluster; empty if it is."""
    workload = Workload("RayCluster", ray_cluster)
    manager = tls_by(workload)
    if manager is not TlsBy.RAYWARDEN:
        return f"has no certificates from RayWarden (TLS by {manager})"
    secret = own_secret(workload)
    return f"brings its own certificates (Secret {secret})" if secret else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for _, text in str_items(value))


def _decoded(text: str) -> bytes:
    """The bytes of the CSR, or the first of them if it is too large for any purpose."""
    try:
        return base64.b64decode(text[:_MAX_CSR_BYTES])
    except binascii.Error:
        return b""


def _condition(kind: str, reason: str, message: str) -> Mapping[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}
