"""Replicas, nodes and the API server do not agree on the time: what holds all the same, and what is said."""

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
    """Whether OpenSSL takes a certificate, at the true time, of a replica whose clock says `issued`."""
    authority = serving_authority(SEED.serving)
    key, names = ec.generate_private_key(ec.SECP256R1()), [x509.DNSName("localhost")]
    leaf = authority.issue(
        key.public_key(), names, SERVER, CertificateProfile(lifetime).validity(issued), 1
    )
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "leaf.crt").write_bytes(leaf.public_bytes(Encoding.PEM))
    command = [
        "openssl",
        "verify",
        "-attime",
        str(int(TRUE.timestamp())),
        "-CAfile",
        "ca.crt",
        "leaf.crt",
    ]
    return (
        subprocess.run(
            command, cwd=tmp_path, capture_output=True, timeout=30, check=False
        ).returncode
        == 0
    )


@needs_openssl
@MINUTES
@pytest.mark.parametrize(
    "lifetime", [timedelta(days=7), timedelta(days=730)], ids=["our own", "of pods"]
)
def test_a_clock_that_is_almost_an_hour_off_does_no_harm(
    tmp_path: Path, minutes: int, lifetime: timedelta
) -> None:
    assert verified(tmp_path, TRUE + timedelta(minutes=minutes), lifetime)


@needs_openssl
def test_a_clock_that_is_more_than_an_hour_ahead_does(tmp_path: Path) -> None:
    """Which is why it is said at ten minutes."""
    assert not verified(tmp_path, TRUE + timedelta(minutes=65), timedelta(days=7))


def skew_at(ahead: timedelta) -> ClockSkew:
    return ClockSkew(lambda: TRUE + ahead)


def seconds(skew: ClockSkew) -> float:
    ((sample,),) = (metric.samples for metric in skew.collect())
    return sample.value


DATE = format_datetime(TRUE, usegmt=True)


@pytest.mark.parametrize("ahead", [timedelta(minutes=11), timedelta(minutes=-11)])
def test_it_is_counted_and_said_once(ahead: timedelta) -> None:
    skew = skew_at(ahead)
    with capture_logs() as said:
        for _ in range(3):
            skew.record_date(DATE)
    assert seconds(skew) == ahead.total_seconds()
    assert said == [
        {
            "event": "clock differs from the API server's",
            "seconds_ahead": round(ahead.total_seconds()),
            "log_level": "warning",
        }
    ]


def test_it_is_said_again_after_it_was_right() -> None:
    times = iter([TRUE + timedelta(hours=1), TRUE, TRUE + timedelta(hours=1)])
    skew = ClockSkew(lambda: next(times))
    with capture_logs() as said:
        for _ in range(3):
            skew.record_date(DATE)
    assert len(said) == 2


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Fri, 20 Nov 2026 12:00:00", "Fri, 99 Nov 2026 12:00:00 GMT", "\x00"]
)
def test_a_date_that_is_none_tells_nothing(date: str) -> None:
    skew: ClockSkew = skew_at(timedelta(hours=1))
    with capture_logs() as said:
        skew.record_date(date)
    assert (seconds(skew), said) == (0, [])


@pytest.mark.parametrize("minutes", [-60 * 24 * 20, -30, 30, 60 * 24 * 400])
def test_no_clock_of_ours_decides_which_ca_a_cluster_has(minutes: int) -> None:
    """The API server's does: it is by the cluster's own creationTimestamp."""
    newer = Generation(TRUE + timedelta(minutes=minutes), bytes(range(1, 33)))
    seed = Seed(tuple(sorted((*SEED.generations, newer), key=lambda one: one.activated)))
    chosen = seed.for_cluster(TRUE)
    assert (chosen is newer) == (minutes < 0)
