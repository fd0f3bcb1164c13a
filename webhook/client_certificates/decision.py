"""What a CertificateSigningRequest asks for, and why some are refused. Pure: no API call."""

import shlex
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from certs.client import ClusterName, requested_cluster
from certs.csr import CsrError
from certs.profile import PublicKey
from policies.documents.untyped import printable
from webhook.ports import ClientRequest

# What a Ray client needs, and nothing else.
USAGES = frozenset({"digital signature", "client auth"})
ROLE = "raywarden-ray-user"
# Names of users are e-mail addresses or URLs; no real one is longer.
MAX_USER_NAME = 256


class Outcome(StrEnum):
    """How a request without a certificate ends, as a value of the metric's label."""

    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ClientRefusal:
    """No certificate: the condition that the request gets.

    `reason` is a word in CamelCase, as Kubernetes wants it; `message` is for the requester.
    """

    outcome: Outcome
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a valid request asks for."""

    cluster: ClusterName
    key: PublicKey
    lifetime: timedelta


def wanted(request: ClientRequest, longest: timedelta) -> Wanted | ClientRefusal:
    """What a request asks for; its lifetime is at most `longest`, which is also the default."""
    if frozenset(request.usages) != USAGES:
        return invalid("spec.usages must be `digital signature` and `client auth`")
    try:
        cluster, key = requested_cluster(request.csr)
    except CsrError as error:
        return invalid(str(error))
    lifetime = longest
    # The API server refuses less than ten minutes.
    if request.lifetime is not None and 0 < request.lifetime < longest.total_seconds():
        lifetime = timedelta(seconds=request.lifetime)
    return Wanted(cluster, key, lifetime)


def invalid(message: str) -> ClientRefusal:
    """The refusal of a request that no role could make right."""
    return ClientRefusal(Outcome.FAILED, "InvalidRequest", message)


def not_allowed(user: str, cluster: ClusterName) -> ClientRefusal:
    """The refusal of a user whom no role allows to connect; it names the role."""
    user = printable(user, MAX_USER_NAME)
    binding = (
        f"kubectl create rolebinding ray-users --namespace={cluster.namespace} "
        f"--clusterrole={ROLE} --user={shlex.quote(user)}"
    )
    message = (
        f"{user} may not connect to {cluster}: ask an administrator for the ClusterRole {ROLE} "
        f"in the namespace {cluster.namespace} ({binding})"
    )
    return ClientRefusal(Outcome.DENIED, "NotAllowed", message)
