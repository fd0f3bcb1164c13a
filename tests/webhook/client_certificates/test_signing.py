"""Who gets a client certificate, what it holds, and what is said to the others."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.client import ClusterName
from certs.identity import Domains
from tests.support import live_objects
from tests.webhook.client_certificates.fake_requests import (
    AUTHORITIES,
    DEMO,
    KEY,
    FakeRequests,
    csr,
    request,
)
from webhook.client_certificates.decision import Wanted, not_allowed, wanted
from webhook.client_certificates.signing import ClientDecision, ClientSigning
from webhook.ports import ClientRequest

EIGHT_HOURS = timedelta(hours=8)


def answered(fake: FakeRequests, asked: ClientRequest) -> ClientDecision:
    signing = ClientSigning(
        fake, lambda: AUTHORITIES, Domains(), EIGHT_HOURS, lambda: live_objects.NOW, lambda: 7
    )
    return asyncio.run(signing.answer(asked))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, EIGHT_HOURS),
        (600, timedelta(minutes=10)),
        (3600, timedelta(hours=1)),
        (8 * 3600, EIGHT_HOURS),
        (8 * 3600 + 1, EIGHT_HOURS),
        (2**31 - 1, EIGHT_HOURS),
        (0, EIGHT_HOURS),
        (-1, EIGHT_HOURS),
    ],
)
def test_the_longest_life_is_capped(seconds: int | None, expected: timedelta) -> None:
    asked = wanted(request(lifetime=seconds), EIGHT_HOURS)
    assert isinstance(asked, Wanted) and asked.lifetime == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"usages": ()}, "spec.usages must be `digital signature` and `client auth`"),
        ({"usages": ("client auth",)}, "spec.usages must be"),
        ({"usages": ("digital signature", "server auth")}, "spec.usages must be"),
        ({"usages": ("digital signature", "client auth", "server auth")}, "spec.usages must be"),
        ({"usages": ("digital signature", "client auth", "any")}, "spec.usages must be"),
        ({"csr": b""}, "the CSR is not a PKCS #10 request in PEM form"),
        ({"csr": b"x" * 100_000}, "the CSR is larger than 8192 bytes"),
        ({"csr": b"\x00" * 5000}, "the CSR is not a PKCS #10 request in PEM form"),
    ],
)
def test_a_request_for_anything_else_fails_without_a_question(fields: Any, message: str) -> None:
    asked = request(**fields)
    fake = FakeRequests(asked)
    refusal = answered(fake, asked).refusal
    assert refusal and refusal.message.startswith(message)
    assert fake.of("one") == ["failed"] and fake.asked == []


def test_a_certificate_is_for_this_cluster_as_a_client_and_for_hours() -> None:
    asked = request()
    fake = FakeRequests(asked)
    certificate = answered(fake, asked).certificate
    assert certificate
    assert fake.of("one") == ["approved", "issued"]
    leaf, *authorities = x509.load_pem_x509_certificates(certificate.certificates)
    authority = AUTHORITIES.of(certificate.cluster).authority.certificate
    assert authorities == [authority]
    leaf.verify_directly_issued_by(authority)
    assert leaf.public_key() == KEY.public_key() and leaf.subject == x509.Name([])
    assert leaf.not_valid_after_utc == live_objects.NOW + EIGHT_HOURS
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uri = "spiffe://cluster.local/ns/team-a/ray/demo/client"
    assert list(names) == [x509.UniformResourceIdentifier(uri)]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


def test_a_user_without_the_right_is_denied_and_learns_nothing_of_the_cluster() -> None:
    existing, missing = request("one", "bob"), request("two", "bob", csr=csr(other("nothing")))
    fake = FakeRequests(existing, missing)
    answered(fake, existing), answered(fake, missing)
    (_, first, told), (_, second, told_too) = fake.written
    assert (first, second) == ("denied", "denied")
    assert told.replace("demo", "nothing") == told_too
    assert "ask an administrator for the ClusterRole raywarden-ray-user" in told


def other(name: str) -> ClusterName:
    return ClusterName("team-a", name)


def test_a_cluster_that_is_gone_fails() -> None:
    asked = request(csr=csr(other("gone")))
    fake = FakeRequests(asked)
    answered(fake, asked)
    assert fake.written == [("one", "failed", "there is no Ray cluster team-a/gone")]


def test_an_approval_by_somebody_else_grants_nothing() -> None:
    asked = request(user="bob", approved=True)
    fake = FakeRequests(asked)
    answered(fake, asked)
    assert fake.of("one") == ["failed"], "an approved request cannot be denied"


def test_an_approved_request_is_signed_if_its_user_may_connect() -> None:
    asked = request(approved=True)
    fake = FakeRequests(asked)
    assert answered(fake, asked).certificate and fake.of("one") == ["issued"]


@pytest.mark.parametrize("user", ["eve'; rm -rf ~", "eve\n\x1b[31m", "e" * 10_000])
def test_the_name_of_a_user_cannot_break_the_command_or_the_terminal(user: str) -> None:
    refusal = not_allowed(user, DEMO)
    assert refusal.message.isprintable()
    assert len(refusal.message) < 1000
    if "'" in user:
        assert "--user='eve'\"'\"'; rm -rf ~'" in refusal.message
