"""A healthy installation as Prometheus sees it for two hours, and what makes each alert fire.

Values are in promtool's notation, one a minute: `0+2x60` rises by 2 sixty times, `1x60` stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MINUTES = 120
_DAY = 86_400
_FIRST, _SECOND = 'job="raywarden-metrics",pod="a"', 'job="raywarden-metrics",pod="b"'
_API_SERVER = 'job="apiserver",name="clusters.raywarden.io"'
READY_A, READY_B = f"raywarden_ready{{{_FIRST}}}", f"raywarden_ready{{{_SECOND}}}"
STARTED = f"process_start_time_seconds{{{_FIRST}}}"
FAIL_OPEN = f"apiserver_admission_webhook_fail_open_count{{{_API_SERVER}}}"
_FAIL_OPEN_ELSEWHERE = FAIL_OPEN.replace("}", ',instance="b"}')
_REJECTIONS = f"apiserver_admission_webhook_rejection_count{{{_API_SERVER}"
REJECTED = f'{_REJECTIONS},error_type="calling_webhook_error"}}'
REFUSED = f'{_REJECTIONS},error_type="no_error"}}'


def constant(value: int) -> str:
    return f"{value}x{MINUTES}"


def rising(step: int, minutes: int = MINUTES - 1) -> str:
    """A counter that stays at 0 until the last minutes, in which it rises."""
    return f"0x{MINUTES - minutes - 1} 0+{step}x{minutes}"


def once() -> str:
    """A counter that counts a single event, five minutes before the end."""
    return f"0x{MINUTES - 6} 1x5"


def of(name: str, labels: str = "") -> str:
    """A series of the first replica."""
    return f"raywarden_{name}{{{_FIRST}{',' if labels else ''}{labels}}}"


def bucket(name: str, bound: str) -> str:
    labels = f'le="{bound}"' + (',webhook="validate"' if name == "admission" else "")
    return of(f"{name}_duration_seconds_bucket", labels)


HEALTHY: Mapping[str, str] = {
    READY_A: constant(1),
    READY_B: constant(1),
    STARTED: constant(60),
    REFUSED: rising(3),
    of("connections", 'port="admission"'): constant(25),
    of("rule_violations_total", 'rule="tls-on",action="deny"'): constant(0),
    of("rule_violations_total", 'rule="no-root",action="deny"'): rising(5),
    of("rule_failures_total", 'rule="no-root"'): constant(0),
    of("rejected_requests_total", 'status="400"'): rising(1),
    of("rejected_requests_total", 'status="503"'): constant(0),
    bucket("admission", "0.01"): rising(60),
    bucket("admission", "10"): rising(60),
    bucket("admission", "+Inf"): rising(60),
    of("policy_last_reload_successful"): constant(1),
    of("watch_up_to_date", 'resource="pods"'): constant(1),
    of("enrollments_total", 'outcome="issued"'): rising(4),
    of("enrollments_total", 'outcome="retry_later"'): rising(1),
    of("enrollments_total", 'outcome="forbidden"'): rising(1),
    bucket("enrollment", "1"): rising(4),
    bucket("enrollment", "10"): rising(4),
    bucket("enrollment", "+Inf"): rising(4),
    of("client_certificates_total", 'outcome="denied"'): rising(2),
    of("client_certificates_total", 'outcome="delayed"'): constant(0),
    of("ray_clusters_missing_network_policies"): constant(0),
    of("open_pod_starts_total"): constant(0),
    of("network_policy_errors_total", 'reason="refused"'): constant(0),
    of("reconcile_errors_total"): once(),
    of("clock_skew_seconds"): "-3+0x120",
    of("certificate_expiration_timestamp_seconds", 'kind="serving"'): constant(4 * _DAY),
    of("certificate_expiration_timestamp_seconds", 'kind="cluster_ca"'): constant(3_000 * _DAY),
    of("certificate_expiration_timestamp_seconds", 'kind="root_ca"'): constant(300 * _DAY),
    of("expiring_ray_clusters"): constant(0),
}


@dataclass(frozen=True)
class AlertCase:
    """Series that differ from the healthy ones, and every alert that then fires in the end."""

    changes: Mapping[str, str]
    firing: frozenset[str]


def firing(alerts: str, changes: Mapping[str, str]) -> AlertCase:
    return AlertCase(changes, frozenset(f"RayWarden{name}" for name in alerts.split()))


def _days(kind: str, days: int) -> Mapping[str, str]:
    name = of("certificate_expiration_timestamp_seconds", f'kind="{kind}"')
    return {name: constant(days * _DAY)}


CASES: Mapping[str, AlertCase] = {
    "healthy": firing("", {}),
    "no replica is ready": firing("Down", {READY_A: "1x100 0x20", READY_B: constant(0)}),
    "nothing is scraped": firing("Down", {READY_A: "_x120", READY_B: "_x120"}),
    "no replica is ready for a minute": firing("", {READY_A: "1x118 0x1", READY_B: "1x118 0x1"}),
    "one of two is ready": firing("FewReplicas", {READY_B: "1x100 0x20"}),
    "one of two is ready for ten minutes": firing("", {READY_B: "1x109 0x10"}),
    "three restarts": firing("Restarting", {STARTED: "60x90 120x5 180x5 240x20"}),
    "a rollout and an eviction": firing("", {STARTED: "60x90 120x5 180x25"}),
    "many connections": firing(
        "ConnectionsNearLimit", {of("connections", 'port="admission"'): "25x100 950x20"}
    ),
    "the API server cannot call": firing("WebhookCallsFailing", {REJECTED: rising(2, 20)}),
    "the API server failed to call once": firing("", {REJECTED: once()}),
    "mutation skipped for the first time": firing("MutationSkipped", {FAIL_OPEN: "_x115 1x5"}),
    "mutation skipped again": firing("MutationSkipped", {FAIL_OPEN: "3x115 4x5"}),
    "mutation skipped for the first time by a second API server": firing(
        "MutationSkipped", {FAIL_OPEN: constant(3), _FAIL_OPEN_ELSEWHERE: "_x115 1x5"}
    ),
    "a scrape failed ten minutes ago": firing("", {FAIL_OPEN: "3x107 stale _x2 3x9"}),
    "mutation skipped long ago": firing("", {FAIL_OPEN: "_x60 1x60"}),
    "TLS turned off once": firing(
        "DeniedWithoutTls", {of("rule_violations_total", 'rule="tls-on",action="deny"'): once()}
    ),
    "a rule crashes": firing("RuleErrors", {of("rule_failures_total", 'rule="no-root"'): once()}),
    "an internal error": firing(
        "ServerErrors", {of("rejected_requests_total", 'status="500"'): once()}
    ),
    "large requests": firing(
        "ServerErrors TooManyLargeRequests",
        {of("rejected_requests_total", 'status="503"'): rising(2, 15)},
    ),
    "slow reviews": firing("AdmissionSlow", {bucket("admission", "0.01"): constant(0)}),
    "an invalid policy": firing(
        "PolicyRejected", {of("policy_last_reload_successful"): "1x110 0x10"}
    ),
    "an old cache": firing(
        "CacheOutOfDate", {of("watch_up_to_date", 'resource="pods"'): "1x100 0x20"}
    ),
    "forged tokens": firing(
        "EnrollmentsRefused", {of("enrollments_total", 'outcome="unauthenticated"'): rising(3, 30)}
    ),
    "pods that wait": firing(
        "EnrollmentsDelayed", {of("enrollments_total", 'outcome="held"'): rising(9, 30)}
    ),
    "slow enrollments": firing("EnrollmentSlow", {bucket("enrollment", "1"): constant(0)}),
    "people wait": firing(
        "ClientCertificatesFailing",
        {of("client_certificates_total", 'outcome="delayed"'): rising(1, 20)},
    ),
    "clusters without policies": firing(
        "NetworkPoliciesMissing", {of("ray_clusters_missing_network_policies"): "0x110 2x10"}
    ),
    "a pod without policies": firing("PodsStartedOpen", {of("open_pod_starts_total"): once()}),
    "policies are refused": firing(
        "NetworkPolicyErrors",
        {of("network_policy_errors_total", 'reason="refused"'): rising(2, 30)},
    ),
    "the caBundle cannot be kept": firing(
        "ReconcileErrors", {of("reconcile_errors_total"): rising(6, 30)}
    ),
    "a fast clock": firing("ClockSkew", {of("clock_skew_seconds"): "0x100 700x20"}),
    "a slow clock": firing("ClockSkew", {of("clock_skew_seconds"): "0x100 -700+0x20"}),
    "the serving certificate": firing("ServingCertificateExpiring", _days("serving", 1)),
    "a cluster CA": firing("ClusterCaExpiring", _days("cluster_ca", 50)),
    "the root CA": firing("RootCaExpiring", _days("root_ca", 50)),
    "certificates of clusters": firing(
        "ClusterCertificatesExpiring", {of("expiring_ray_clusters"): constant(1)}
    ),
}
