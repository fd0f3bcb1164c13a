"""Measures enrollment: its speed relative to the bare cryptography, and its memory."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from ipaddress import ip_address

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import key_usage
from certs.cache import Authorities
from certs.identity import Domains
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.bench import load
from tests.support import live_objects
from tests.support.factory import Object
from tests.support.live_server import RunningServer, metric, serving
from webhook.enrollment.signing import Signing
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.manifests.cluster import ManifestCluster
from webhook.settings import Settings

_PODS = 10_000
_REQUESTS = 4000
_UNLIMITED = {"RAYWARDEN_ENROLLMENTS_PER_MINUTE": "1000000"}
_WAYS = {
    "connections kept": load.over_kept_connections,
    "one connection each": load.over_new_connections,
}
_KEYS: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def main() -> None:
    """Print the rates of enrollment, and the memory of the server before and after."""
    csrs = {name: _csr(make()) for name, make in _KEYS.items()}
    with serving(_UNLIMITED, _one_cluster()) as server:
        _print_rates(server, csrs)
    with serving(_UNLIMITED, _many_clusters()) as server:
        _print_memory(server, csrs["P-256"])


def _csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _print_rates(server: RunningServer, csrs: dict[str, bytes]) -> None:
    columns = f"{'at once':>8}{'per s':>8}{'p50 ms':>8}{'p99 ms':>8}{'of bare':>9}"
    print(f"\n{'enrollments, one process':<28}{columns}")
    for name, csr in csrs.items():
        bare_rate = _cryptography_rate(csr)
        print(f"{'bare cryptography ' + name:<28}{'':>8}{bare_rate:>8.0f}")
        alone = uvloop.run(_without_http(csr))
        print(
            f"{'token to chain ' + name:<28}{'':>8}{alone:>8.0f}{'':>16}{alone / bare_rate:>9.0%}"
        )
        requests = _requests(server, csr, "demo")
        for title, send in _WAYS.items():
            for at_once in (1, 50):
                enroll = partial(send, server, server.enrollment_port, requests, at_once)
                enroll(400)  # warm up
                runs = [enroll(_REQUESTS) for _ in range(3)]
                share = statistics.median(run.rate for run in runs) / bare_rate
                print(f"{title + ' ' + name:<28}{at_once:>8}{load.figures(runs)}{share:>9.0%}")


def _cryptography_rate(csr: bytes) -> float:
    """How often a second one core can verify a CSR and sign a certificate, and nothing else.

    It calls `cryptography` alone. The best of five rounds.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare")])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())

    def once() -> float:
        started = time.perf_counter()
        for serial in range(1, 1001):
            _sign(x509.load_pem_x509_csr(csr), issuer, identifier, key, serial)
        return 1000 / (time.perf_counter() - started)

    return max(once() for _ in range(5))


def _sign(
    request: x509.CertificateSigningRequest,
    issuer: x509.Name,
    identifier: x509.AuthorityKeyIdentifier,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
) -> bytes:
    """A certificate like that of a worker, for a CSR with a valid signature."""
    assert request.is_signature_valid
    names = [x509.IPAddress(ip_address(address)) for address in ("10.0.0.1", "127.0.0.1", "::1")]
    uri = "spiffe://cluster.local/ns/team-a/ray/demo/worker"
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(request.public_key())
        .serial_number(serial)
        .not_valid_before(live_objects.NOW)
        .not_valid_after(live_objects.NOW + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [*names, x509.DNSName("localhost"), x509.UniformResourceIdentifier(uri)]
            ),
            True,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


async def _without_http(csr: bytes) -> float:
    """How often a second one core can do an enrollment without HTTP. The best of five rounds."""
    documents = ManifestCluster(_one_cluster(1), lambda: "token")
    authorities, settings = (
        Authorities(live_objects.SEED),
        Settings(enrollments_per_minute=1_000_000),
    )
    now, serial = (lambda: live_objects.NOW), (lambda: 7)
    signing = Signing(
        documents,
        NoNetworkPolicies(),
        NetworkIsolation,
        lambda: authorities,
        Domains(),
        CertificateProfile(),
        settings,
        now,
        time.perf_counter,
        serial,
    )
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(1000):
            await signing.sign("token", csr, "")
        rates.append(1000 / (time.perf_counter() - started))
    return max(rates)


def _requests(server: RunningServer, csr: bytes, prefix: str) -> Iterator[bytes]:
    """Endless enrollment requests, one for each pod whose name starts with `prefix`, in turn."""
    body = json.dumps({"csr": csr.decode()}).encode()
    tokens = [
        file.read_text() for file in sorted((server.token_dir / "team-a").glob(f"{prefix}-*/token"))
    ]
    headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
    return itertools.cycle([load.request("/v1/certificates", header, body) for header in headers])


def _print_memory(server: RunningServer, csr: bytes) -> None:
    print(f"\n{'resident memory of the server':<44}{'MiB':>8}")
    print(f"{'before':<44}{_resident(server):>8.1f}")
    for title, prefix in (
        (f"{_PODS} certificates, one cluster", "demo"),
        (f"{_PODS} certificates, {_PODS} clusters", "each"),
    ):
        for times in ("", ", once more"):
            load.over_kept_connections(
                server, server.enrollment_port, _requests(server, csr, prefix), 50, _PODS
            )
            print(f"{title + times:<44}{_resident(server):>8.1f}")
    print(f"{'CAs in memory':<44}{metric(server, 'raywarden_ca_cache_size'):>8.0f}")


def _resident(server: RunningServer) -> float:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def _one_cluster(pods: int = 1000) -> list[Object]:
    return [
        live_objects.namespace(),
        live_objects.ray_cluster(),
        *(_pod(number, "demo", live_objects.CLUSTER_UID) for number in range(pods)),
    ]


def _many_clusters() -> list[Object]:
    objects = _one_cluster(_PODS)
    for number in range(_PODS):
        name = f"each-{number:05}"
        objects += [
            live_objects.ray_cluster(name, f"uid-of-{name}"),
            _pod(number, name, f"uid-of-{name}"),
        ]
    return objects


def _pod(number: int, name: str, uid: str) -> Object:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return live_objects.pod(f"{name}-{number:05}", "worker", address, f"{name}-{number}", name, uid)
