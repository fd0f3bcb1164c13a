"""What a probe proves: what was heard on a port, as findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.ray.version import AGENT_ASKS_SINCE, TOKENS_SINCE, dotted
from webhook.check.dial import Answer, Heard, Port
from webhook.check.findings import Finding, Status, Unavailable, failed, named, ok, unknown
from webhook.check.probe_callers import ProbeClient

_SPOKE_TLS = (Answer.REFUSED, Answer.UNTRUSTED)
_REFUSES = (401, 403)
_RECREATE = "recreate the cluster, so that RayWarden completes it; RAY_USE_TLS must be exactly 1 in every Ray container"


@dataclass(frozen=True, slots=True)
class ProbedPort:
    """A port of a pod, and what to do where it cannot be reached from here."""

    pod: str
    port: Port
    reach: str

    def __str__(self) -> str:
        return f"{self.pod}:{self.port.number}"


def of_grpc(
    place: ProbedPort, heard: Mapping[ProbeClient, Heard], no_member: Unavailable | None = None
) -> Iterator[Finding]:
    """A port of Ray's that must be mutual TLS, by what each caller heard; or why there was no member among them."""
    if all(one.answer is Answer.UNREACHABLE for one in heard.values()):
        yield _unreachable("tls", place, next(iter(heard.values())))
        return
    spoke = any(_spoke_tls(caller, one) for caller, one in heard.items())
    if heard[ProbeClient.PLAINTEXT].answer is Answer.HTTP2 and not spoke:
        yield failed("refuses-plaintext", f"{place} speaks plaintext: TLS is off", _RECREATE)
        return
    for caller, one in heard.items():
        yield (
            _of_member(place, one)
            if caller is ProbeClient.MEMBER
            else _of_intruder(place, caller, one, spoke)
        )
    if no_member:
        yield unknown("lets-in-member", f"whether {place} lets in {ProbeClient.MEMBER}", no_member)


def _spoke_tls(caller: ProbeClient, heard: Heard) -> bool:
    return heard.answer in _SPOKE_TLS or (
        caller is not ProbeClient.PLAINTEXT and heard.answer is Answer.HTTP2
    )


def _of_intruder(place: ProbedPort, caller: ProbeClient, heard: Heard, spoke_tls: bool) -> Finding:
    id = f"refuses-{caller.name.lower()}"
    if heard.answer is Answer.HTTP2:
        return failed(id, f"{place} lets in {caller}", _RECREATE)
    # Whoever hangs up on everybody has proved nothing: behind a forwarded port there may be no server at all.
    hangs_up = caller is ProbeClient.PLAINTEXT and heard.answer in (Answer.CLOSED, Answer.OTHER)
    if heard.answer is Answer.REFUSED or (hangs_up and spoke_tls):
        return ok(id, f"{place} refuses {caller}")
    return _unclear(id, f"whether {place} refuses {caller}", place, heard)


def _of_member(place: ProbedPort, heard: Heard) -> Finding:
    id, detail = "lets-in-member", f" ({heard.detail})" if heard.detail else ""
    if heard.answer is Answer.HTTP2:
        return ok(
            id,
            f"{place} lets in {ProbeClient.MEMBER}, and shows one of its own for {place.port.name}",
        )
    if heard.answer is Answer.UNTRUSTED:
        message = f"{place} shows a certificate that is not of this cluster's CA, or not for {place.port.name}{detail}"
        return failed(
            id,
            message,
            "restart the pod, so that it enrolls anew; raywarden ca list says which pods are behind",
        )
    if heard.answer is Answer.REFUSED:
        message = f"{place} refuses {ProbeClient.MEMBER}{detail}: it trusts another CA"
        return failed(
            id,
            message,
            "restart the pod, so that it enrolls anew; raywarden ca list says which pods are behind",
        )
    return _unclear(id, f"whether {place} lets in {ProbeClient.MEMBER}", place, heard)


def _unclear(id: str, title: str, place: ProbedPort, heard: Heard) -> Finding:
    detail = f" ({heard.detail})" if heard.detail else ""
    remediation = (
        place.reach
        if heard.answer in (Answer.UNREACHABLE, Answer.CLOSED)
        else "look at the pod's logs, and try again"
    )
    return unknown(id, title, Unavailable(f"{heard.answer}{detail}", remediation))


def _unreachable(id: str, place: ProbedPort, heard: Heard) -> Finding:
    return unknown(
        id, f"{place} cannot be reached at {place.port}", Unavailable(heard.detail, place.reach)
    )


def of_http(place: ProbedPort, path: str, heard: Heard, agent: bool) -> Finding:
    """A port of Ray's that must ask who is there: the dashboard, or the agent, which learnt it later."""
    id, asked = "asks-for-token", f"{place} answers GET {path} without a token"
    if heard.answer is Answer.UNREACHABLE:
        return _unreachable(id, place, heard)
    if heard.answer is not Answer.HTTP:
        return _unclear(id, f"whether {place} asks for a token", place, heard)
    if heard.code in _REFUSES:
        return ok(id, f"{asked} with {heard.code}")
    if 300 <= heard.code < 400 or heard.code >= 500:
        look = Unavailable(
            f"it answers {heard.code}", "look at what stands before it, and at the pod's logs"
        )
        return unknown(id, f"whether {place} asks for a token", look)
    message = f"{asked} with {heard.code}: whoever reaches it runs code in the cluster"
    since = dotted(AGENT_ASKS_SINCE if agent else TOKENS_SINCE)
    remediation = (
        f"spec.authOptions: {{mode: token}} in the RayCluster (KubeRay 1.5.1, Ray {since}), or inject: {{auth: token}} "
        f"in the policy, and recreate it; and a NetworkPolicy that closes {place.port.number}"
    )
    return failed(id, message, remediation)


def together(findings: Sequence[Finding], places: Sequence[ProbedPort]) -> Iterator[Finding]:
    """Findings of many pods, those that are well in one."""
    good = [
        str(place)
        for place, finding in zip(places, findings, strict=True)
        if finding.status is Status.OK
    ]
    if len(good) > 1:
        yield ok(findings[0].id, f"{named(good)} answer without a token with 401")
    yield from (one for one in findings if one.status is not Status.OK or len(good) == 1)
