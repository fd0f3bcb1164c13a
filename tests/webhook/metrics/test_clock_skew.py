"""Replicas, nodes and the API server disagree about the time: what still works, what is logged."""

import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from certs.authority import serving_authority
from certs.profile import SERVER, CertificateProfile
from certs.seed import Generation, Seed
from tests.support.openssl import needs_openssl
from webhook.metrics.clock_skew import ClockSkew

TRUE = datetime(2026, 11, 20, 12, tzinfo=UTC)
SEED = Seed((Generation(TRUE - timedelta(days=30), bytes(range(32))),))
MINUTES = pytest.mark.parametrize("minutes", [-55, 0, 55])


def verified(tmp_path: Path, issued: datetime, lifetime: timedelta) -> bool:
    """Whether OpenSSL accepts at `TRUE` a certificate from a replica whose clock says `issued`."""
    authority = serving_authority(SEED.serving)
    key, names = ec.generate_private_key(ec.SECP256R1()), [x509.DNSName("localhost")]
    leaf = authority.issue(
        key.public_key(), names, SERVER, CertificateProfile(lifetime).validity(issued), 1
    )
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "leaf.crt").write_bytes(leaf.public_bytes(Encoding.PEM))
    now = str(int(TRUE.timestamp()))
    command = ["openssl", "verify", "-attime", now, "-CAfile", "ca.crt", "leaf.crt"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    return result.returncode == 0


@needs_openssl
@MINUTES
@pytest.mark.parametrize(
    "lifetime", [timedelta(days=7), timedelta(days=730)], ids=["our own", "of pods"]
)
def test_a_clock_skew_of_almost_an_hour_is_harmless(
    tmp_path: Path, minutes: int, lifetime: timedelta
) -> None:
    assert verified(tmp_path, TRUE + timedelta(minutes=minutes), lifetime)


@needs_openssl
def test_a_clock_more_than_an_hour_ahead_breaks_verification(tmp_path: Path) -> None:
    """This is why the warning comes at ten minutes."""
    assert not verified(tmp_path, TRUE + timedelta(minutes=65), timedelta(days=7))


def skew_at(ahead: timedelta) -> ClockSkew:
    return ClockSkew(lambda: TRUE + ahead)


def seconds(skew: ClockSkew) -> float:
    ((sample,),) = (metric.samples for metric in skew.collect())
    return sample.value


DATE = format_datetime(TRUE, usegmt=True)


@pytest.mark.parametrize("ahead", [timedelta(minutes=11), timedelta(minutes=-11)])
def test_a_large_skew_is_measured_and_logged_once(ahead: timedelta) -> None:
    skew = skew_at(ahead)
    with capture_logs() as logs:
        for _ in range(3):
            skew.record_date(DATE)
    assert seconds(skew) == ahead.total_seconds()
    assert logs == [
        {
            "event": "clock skew",
            "seconds_ahead": round(ahead.total_seconds()),
            "log_level": "warning",
        }
    ]


def test_a_skew_that_returns_is_logged_again() -> None:
    times = iter([TRUE + timedelta(hours=1), TRUE, TRUE + timedelta(hours=1)])
    skew = ClockSkew(lambda: next(times))
    with capture_logs() as logs:
        for _ in range(3):
            skew.record_date(DATE)
    assert len(logs) == 2


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Fri, 20 Nov 2026 12:00:00", "Fri, 99 Nov 2026 12:00:00 GMT", "\x00"]
)
def test_a_malformed_date_is_ignored(date: str) -> None:
    skew: ClockSkew = skew_at(timedelta(hours=1))
    with capture_logs() as logs:
        skew.record_date(date)
    assert (seconds(skew), logs) == (0, [])


@pytest.mark.parametrize("minutes", [-60 * 24 * 20, -30, 30, 60 * 24 * 400])
def test_a_replicas_clock_does_not_decide_which_ca_a_cluster_has(minutes: int) -> None:
    """The API server's clock does: the cluster's creationTimestamp decides."""
    newer = Generation(TRUE + timedelta(minutes=minutes), bytes(range(1, 33)))
    seed = Seed(
        tuple(sorted((*SEED.generations, newer), key=lambda generation: generation.activated))
    )
    chosen = seed.for_cluster(TRUE)
    assert (chosen is newer) == (minutes < 0)
