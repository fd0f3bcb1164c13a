"""What the answers of a port prove about TLS and tokens, as findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.ray.version import AGENT_AUTH_SINCE, TOKEN_AUTH_SINCE, dotted
from webhook.check.dial import Answer, DialResult, Port
from webhook.check.facts import Unavailable
from webhook.check.findings import Finding, Status, enumerated, failed, ok, unknown
from webhook.check.probe_clients import ProbeClient

_ONLY_TLS_SERVERS_ANSWER = (Answer.REFUSED, Answer.UNTRUSTED)
_TOKEN_REQUIRED = (401, 403)
_RECREATE = (
    "recreate the cluster so that RayWarden completes it; "
    "RAY_USE_TLS must be exactly 1 in every Ray container"
)
_RESTART = (
    "restart the pod so that it enrolls again; raywarden ca list shows which pods are outdated"
)


@dataclass(frozen=True, slots=True)
class ProbedPort:
    """A port of a pod, and how to reach it if it cannot be reached from here."""

    pod: str
    port: Port
    how_to_reach: str

    def __str__(self) -> str:
        return f"{self.pod}:{self.port.number}"


def grpc_findings(
    port: ProbedPort,
    results: Mapping[ProbeClient, DialResult],
    no_member: Unavailable | None = None,
) -> Iterator[Finding]:
    """The findings about a port that must require mutual TLS, from the result of each client.

    `no_member` is the reason why the results have no member.
    """
    if all(result.answer is Answer.UNREACHABLE for result in results.values()):
        yield _unreachable("tls", port, next(iter(results.values())))
        return
    has_tls = any(_proves_tls(client, result) for client, result in results.items())
    if results[ProbeClient.PLAINTEXT].answer is Answer.HTTP2 and not has_tls:
        yield failed("rejects-plaintext", f"{port} speaks plaintext: TLS is off", _RECREATE)
        return
    for client, result in results.items():
        if client is ProbeClient.MEMBER:
            yield _member(port, result)
        else:
            yield _intruder(port, client, result, has_tls)
    if no_member:
        yield unknown("accepts-member", _accepts_member(port), no_member)


def _proves_tls(client: ProbeClient, result: DialResult) -> bool:
    if result.answer in _ONLY_TLS_SERVERS_ANSWER:
        return True
    return client is not ProbeClient.PLAINTEXT and result.answer is Answer.HTTP2


def _intruder(port: ProbedPort, client: ProbeClient, result: DialResult, has_tls: bool) -> Finding:
    id = f"rejects-{client.id}"
    if result.answer is Answer.HTTP2:
        return failed(id, f"{port} accepts {client}", _RECREATE)
    # A closed connection proves a rejection only if another client met TLS on the same port: behind
    # kubectl port-forward every connection closes if no server listens in the pod.
    closes = result.answer in (Answer.CLOSED, Answer.OTHER)
    closes_on_plaintext = client is ProbeClient.PLAINTEXT and closes
    if result.answer is Answer.REFUSED or (closes_on_plaintext and has_tls):
        return ok(id, f"{port} rejects {client}")
    return _inconclusive(id, f"whether {port} rejects {client}", port, result)


def _member(port: ProbedPort, result: DialResult) -> Finding:
    id, detail = "accepts-member", _in_parentheses(result.detail)
    if result.answer is Answer.HTTP2:
        message = (
            f"{port} accepts {ProbeClient.MEMBER}, and its own certificate is valid for "
            f"{port.port.name}"
        )
        return ok(id, message)
    if result.answer is Answer.UNTRUSTED:
        message = (
            f"{port} has a certificate that is not from this cluster's CA, or not valid for "
            f"{port.port.name}{detail}"
        )
        return failed(id, message, _RESTART)
    if result.answer is Answer.REFUSED:
        message = f"{port} rejects {ProbeClient.MEMBER}{detail}; it trusts another CA"
        return failed(id, message, _RESTART)
    return _inconclusive(id, _accepts_member(port), port, result)


def _accepts_member(port: ProbedPort) -> str:
    return f"whether {port} accepts {ProbeClient.MEMBER}"


def _inconclusive(id: str, subject: str, port: ProbedPort, result: DialResult) -> Finding:
    reason = f"{result.answer}{_in_parentheses(result.detail)}"
    remediation = "look at the pod's logs, and try again"
    if result.answer in (Answer.UNREACHABLE, Answer.CLOSED):
        remediation = port.how_to_reach
    return unknown(id, subject, Unavailable(reason, remediation))


def _in_parentheses(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _unreachable(id: str, port: ProbedPort, result: DialResult) -> Finding:
    message = f"{port} cannot be reached at {port.port}: {result.detail}"
    return Finding(id, Status.UNKNOWN, message, port.how_to_reach)


def http_finding(
    port: ProbedPort, path: str, result: DialResult, *, is_agent: bool, has_kuberay: bool = True
) -> Finding:
    """The finding about a port that must require a token: the dashboard, or the agent.

    The agent requires tokens only since a later version of Ray. Without KubeRay, the author of the
    pods sets the token.
    """
    id, subject = "requires-token", f"whether {port} requires a token"
    answer = f"{port} answers GET {path} without a token with {result.code}"
    if result.answer is Answer.UNREACHABLE:
        return _unreachable(id, port, result)
    if result.answer is not Answer.HTTP:
        return _inconclusive(id, subject, port, result)
    if result.code in _TOKEN_REQUIRED:
        return ok(id, answer)
    if 300 <= result.code < 400 or result.code >= 500:
        unavailable = Unavailable(
            f"it answers {result.code}",
            "look at the pod's logs, and at any proxy in front of the port",
        )
        return unknown(id, subject, unavailable)
    since = dotted(AGENT_AUTH_SINCE if is_agent else TOKEN_AUTH_SINCE)
    remediation = f"set RAY_AUTH_MODE: token and RAY_AUTH_TOKEN in every pod (Ray {since})"
    if has_kuberay:
        remediation = (
            f"set spec.authOptions: {{mode: token}} in the RayCluster (KubeRay 1.5.1, Ray {since}),"
            " or recreate the cluster with inject.auth: auto in the policy"
        )
    remediation += f"; close port {port.port.number} with a NetworkPolicy"
    return failed(id, f"{answer}: anyone who can reach the port can run code", remediation)


def loopback_finding(port: ProbedPort) -> Finding:
    """The finding about a dashboard that only its own pod reaches."""
    message = f"{port} refuses connections: the dashboard listens only on the loopback address"
    return ok("requires-token", message)


def merge_ok(findings: Sequence[Finding], ports: Sequence[ProbedPort]) -> Iterator[Finding]:
    """The findings about the same port of many pods, with all that are `ok` merged into one."""
    good = [
        str(port)
        for port, finding in zip(ports, findings, strict=True)
        if finding.status is Status.OK
    ]
    if len(good) < 2:
        yield from findings
        return
    yield ok(findings[0].id, f"{enumerated(good)} reject a request without a token")
    yield from (finding for finding in findings if finding.status is not Status.OK)
