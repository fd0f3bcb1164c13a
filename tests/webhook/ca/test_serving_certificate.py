"""The certificate of RayWarden's own ports, issued or mounted, and its renewal in place."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.authority import Authority, serving_authority
from certs.identity import Domains
from certs.profile import SERVER
from tests.support import live_objects
from tests.support.handshakes import handshake, leaf_of
from webhook.ca.serving_certificate import DerivedCertificate, MountedCertificate
from webhook.ca.trust import Trust
from webhook.ports import UnavailableError

ROTATED = live_objects.SEED.with_generation(live_objects.NEXT_GENERATION)


def test_a_certificate_is_renewed_without_interrupting_open_connections() -> None:
    trust = Trust(None, Domains(), 1)
    trust.adopt(live_objects.SEED)
    certificate = DerivedCertificate(trust, ("localhost", "127.0.0.1"))
    certificate.keep(live_objects.NOW)
    context, ends = certificate.context, certificate.ends
    talk, first = handshake(context, certificate.ca)
    certificate.keep(live_objects.NOW + timedelta(days=3))
    assert certificate.ends == ends, "renewal is not due yet"
    certificate.keep(live_objects.NOW + timedelta(days=4))
    assert ends and certificate.ends and certificate.ends > ends
    assert certificate.context is context
    assert talk(b"still here") == b"still here"
    assert handshake(context, certificate.ca)[1] != first


def test_the_certificate_verifies_and_contains_the_serving_names() -> None:
    trust = Trust(None, Domains(), 1)
    trust.adopt(ROTATED)
    certificate = DerivedCertificate(trust, ("raywarden.raywarden-system.svc", "10.0.0.1"))
    certificate.keep(live_objects.NOW)
    leaf = x509.load_der_x509_certificate(leaf_of(certificate))
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(certificate.ca)[0])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["raywarden.raywarden-system.svc", "10.0.0.1"]


class Files:
    """The files of a mounted serving certificate."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.ca = (
            folder / name for name in ("tls.crt", "tls.key", "ca.crt")
        )

    def write(self, authority: Authority, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost")]
        validity = (now - timedelta(hours=1), now + timedelta(days=9))
        leaf = authority.issue(key.public_key(), names, SERVER, validity, 7)
        self.certificate.write_bytes(leaf.public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.ca.write_bytes(authority.pem)

    def mounted(self) -> MountedCertificate:
        return MountedCertificate(self.certificate, self.key, self.ca)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.write(serving_authority(live_objects.GENERATION), live_objects.NOW)
    return files


def test_a_mounted_certificate_is_reloaded_when_it_changes(files: Files) -> None:
    mounted = files.mounted()
    mounted.keep(live_objects.NOW)
    first, ends = leaf_of(mounted), mounted.ends
    mounted.keep(live_objects.NOW)
    assert mounted.ends == ends and leaf_of(mounted) == first
    files.write(
        serving_authority(live_objects.NEXT_GENERATION), live_objects.NOW + timedelta(days=5)
    )
    mounted.keep(live_objects.NOW)
    assert ends and mounted.ends and mounted.ends > ends
    assert leaf_of(mounted) != first
    assert mounted.ca == serving_authority(live_objects.NEXT_GENERATION).pem


def test_a_half_written_certificate_leaves_the_last_one_in_use(files: Files) -> None:
    mounted = files.mounted()
    mounted.keep(live_objects.NOW)
    first, key = leaf_of(mounted), files.key.read_bytes()
    files.write(serving_authority(live_objects.GENERATION), live_objects.NOW)
    files.key.write_bytes(key)
    with pytest.raises(UnavailableError, match="cannot be used together"):
        mounted.keep(live_objects.NOW)
    assert leaf_of(mounted) == first


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("ca", b"kind: Secret\n", "one of them does not contain a PEM certificate"),
        ("certificate", b"", "one of them does not contain a PEM certificate"),
        ("key", b"", "cannot be used together"),
        ("key", None, "cannot be used together: .*No such file"),
    ],
)
def test_unusable_files_are_refused(
    files: Files, name: str, content: bytes | None, why: str
) -> None:
    file: Path = getattr(files, name)
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UnavailableError, match=why):
        files.mounted().keep(live_objects.NOW)
