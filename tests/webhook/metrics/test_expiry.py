"""What ends when, as an operator's alerts see it."""

from dataclasses import replace
from datetime import timedelta

from prometheus_client import CollectorRegistry

from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.root import Root
from tests.certs import test_root
from tests.support import live_objects
from webhook.metrics.expiry import Lifetimes

CLUSTER = Cluster("team-a", "demo", "uid", live_objects.START)


def value(lifetimes: Lifetimes, name: str, what: str | None = None) -> float | None:
    registry = CollectorRegistry()
    registry.register(lifetimes)
    return registry.get_sample_value(f"raywarden_{name}", {"kind": what} if what else {})


def test_clusters_are_reported_sixty_days_before_their_first_certificates_end() -> None:
    now = live_objects.NOW
    ages = (timedelta(days=1), timedelta(days=669), timedelta(days=671), timedelta(days=800))
    clusters = [replace(CLUSTER, created=now - age) for age in ages]
    lifetimes = Lifetimes(
        lambda: clusters, CertificateProfile(timedelta(days=730)), None, lambda: None, lambda: now
    )
    assert (value(lifetimes, "ray_clusters"), value(lifetimes, "aging_ray_clusters")) == (4, 2)


def test_the_first_end_of_each_kind_is_told() -> None:
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
    assert value(lifetimes, "expires_timestamp_seconds", "cluster_ca") == expected.timestamp()
    assert (
        value(lifetimes, "expires_timestamp_seconds", "serving_certificate")
        == live_objects.NOW.timestamp()
    )
    ends = root.certificate.not_valid_after_utc.timestamp()
    assert value(lifetimes, "expires_timestamp_seconds", "root") == ends


def test_what_is_not_there_does_not_end() -> None:
    lifetimes = Lifetimes(
        lambda: (), CertificateProfile(), None, lambda: None, lambda: live_objects.NOW
    )
    for what in ("cluster_ca", "serving_certificate", "root"):
        assert value(lifetimes, "expires_timestamp_seconds", what) is None
