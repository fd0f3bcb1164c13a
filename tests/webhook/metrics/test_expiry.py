"""The expiration metrics that an operator's alerts use."""

from dataclasses import replace
from datetime import timedelta

from prometheus_client import CollectorRegistry

from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.root import Root
from tests.certs import test_root
from tests.support import live_objects
from webhook.metrics.expiry import Lifetimes

EXPIRATION = "certificate_expiration_timestamp_seconds"
CLUSTER = Cluster("team-a", "demo", "uid", live_objects.START)


def value(lifetimes: Lifetimes, name: str, kind: str | None = None) -> float | None:
    registry = CollectorRegistry()
    registry.register(lifetimes)
    return registry.get_sample_value(f"raywarden_{name}", {"kind": kind} if kind else {})


def test_clusters_are_counted_sixty_days_before_their_first_certificates_expire() -> None:
    now = live_objects.NOW
    ages = (timedelta(days=1), timedelta(days=669), timedelta(days=671), timedelta(days=800))
    clusters = [replace(CLUSTER, created=now - age) for age in ages]
    lifetimes = Lifetimes(
        lambda: clusters, CertificateProfile(timedelta(days=730)), None, lambda: None, lambda: now
    )
    assert value(lifetimes, "ray_clusters") == 4
    assert value(lifetimes, "expiring_ray_clusters") == 2


def test_the_first_expiration_of_each_kind_is_reported() -> None:
    root = Root.load(test_root.certificate(), test_root.private(), live_objects.NOW)
    clusters = [CLUSTER, replace(CLUSTER, created=live_objects.START + timedelta(days=1))]
    lifetimes = Lifetimes(
        lambda: clusters,
        CertificateProfile(),
        root,
        lambda: live_objects.NOW,
        lambda: live_objects.NOW,
    )
    expected = live_objects.START - timedelta(hours=1) + timedelta(days=3650)
    assert value(lifetimes, EXPIRATION, "cluster_ca") == expected.timestamp()
    assert value(lifetimes, EXPIRATION, "serving") == live_objects.NOW.timestamp()
    root_ends = root.certificate.not_valid_after_utc
    assert value(lifetimes, EXPIRATION, "root_ca") == root_ends.timestamp()


def test_missing_certificates_have_no_expiration() -> None:
    lifetimes = Lifetimes(
        lambda: (), CertificateProfile(), None, lambda: None, lambda: live_objects.NOW
    )
    for kind in ("cluster_ca", "serving", "root_ca"):
        assert value(lifetimes, EXPIRATION, kind) is None
