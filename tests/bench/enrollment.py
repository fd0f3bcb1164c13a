"""Measures enrollment: its speed relative to the bare cryptography, and its memory."""

import itertools
import json
import os
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
from certs.identity import Domains, TokenIdentity
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.bench import load
from tests.bench.fake_cluster import CLUSTERS, PODS, SIGNER, FakeCluster, fake_cluster, worker
from tests.support import live_objects
from tests.support.live_server import RunningServer, metric
from tests.support.pod_tokens import AUDIENCE, ISSUER, key_set
from webhook.enrollment.signing import Signing
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.kube.token import Issuer, keys_in
from webhook.manifests.cluster import ManifestCluster
from webhook.settings import Settings

_MEASURED_AT = (20_000, 60_000, 100_000)
_REQUESTS = 4000
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
    with fake_cluster() as cluster:
        _print_rates(cluster, csrs)
        _print_memory(cluster, csrs["P-256"])


def _csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _print_rates(cluster: FakeCluster, csrs: dict[str, bytes]) -> None:
    """Print rates; `per core` is by the CPU time of the server alone, and so is `of bare`."""
    columns = f"{'at once':>8}{'per s':>8}{'p50 ms':>8}{'p99 ms':>8}{'per core':>10}{'of bare':>9}"
    print(f"\n{'enrollments, one process':<28}{columns}")
    for name, csr in csrs.items():
        bare_rate = _cryptography_rate(csr)
        print(f"{'bare cryptography ' + name:<28}{'':>32}{bare_rate:>10.0f}")
        alone = uvloop.run(_without_http(csr))
        share = alone / bare_rate
        print(f"{'token to chain ' + name:<28}{'':>32}{alone:>10.0f}{share:>9.0%}")
        requests = _requests(cluster, csr)
        for title, send in _WAYS.items():
            for at_once in (1, 50):
                # Measured again each time: other programs slow the core down.
                bare_rate = _cryptography_rate(csr)
                way = partial(send, requests=requests)
                _print_rate(f"{title} {name}", cluster, way, at_once, bare_rate)


def _print_rate(
    title: str, cluster: FakeCluster, send: Callable[..., load.Run], at_once: int, bare_rate: float
) -> None:
    server = cluster.server
    enroll = partial(send, server, server.enrollment_port, at_once=at_once)
    enroll(count=400)  # warm up
    before = _cpu_seconds(server)
    runs = [enroll(count=_REQUESTS) for _ in range(3)]
    per_core = 3 * _REQUESTS / (_cpu_seconds(server) - before)
    share = per_core / bare_rate
    print(f"{title:<28}{at_once:>8}{load.figures(runs)}{per_core:>10.0f}{share:>9.0%}")


def _cryptography_rate(csr: bytes) -> float:
    """How often a second one core can verify a CSR and sign a certificate, and nothing else.

    It calls `cryptography` alone. By CPU time, the best of five rounds.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare")])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())

    def once() -> float:
        started = time.process_time()
        for serial in range(1, 1001):
            _sign(x509.load_pem_x509_csr(csr), issuer, identifier, key, serial)
        return 1000 / (time.process_time() - started)

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


class _VerifiedCluster(ManifestCluster):
    """Pods whose tokens are verified with a key, as a server does."""

    issuer = Issuer(ISSUER, keys_in(key_set(SIGNER)))

    async def caller(self, token: str) -> TokenIdentity | None:
        return self.issuer.caller(token, AUDIENCE, live_objects.NOW)


async def _without_http(csr: bytes) -> float:
    """How often a second one core can do an enrollment without HTTP. The best of five rounds."""
    documents = [live_objects.namespace(), live_objects.ray_cluster(), worker(0)]
    cluster = _VerifiedCluster(documents, lambda: "unused")
    token = SIGNER.token(documents[-1], live_objects.NOW.timestamp())
    authorities = Authorities(live_objects.SEED)
    settings = Settings(enrollments_per_minute=1_000_000)
    now, serial = (lambda: live_objects.NOW), (lambda: 7)
    signing = Signing(
        cluster,
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
        started = time.process_time()
        for _ in range(1000):
            await signing.sign(token, csr, "")
        rates.append(1000 / (time.process_time() - started))
    return max(rates)


def _requests(cluster: FakeCluster, csr: bytes) -> Iterator[bytes]:
    """Endless enrollment requests, one for each pod in turn."""
    body = json.dumps({"csr": csr.decode()}).encode()
    headers = [{"Authorization": f"Bearer {token}"} for token in cluster.tokens]
    return itertools.cycle([load.request("/v1/certificates", header, body) for header in headers])


def _print_memory(cluster: FakeCluster, csr: bytes) -> None:
    """Print how memory grows: each pod gets several certificates, so the cluster stays the same."""
    server, requests, signed = cluster.server, _requests(cluster, csr), 0
    print(f"\n{'resident memory of the server':<44}{'MiB':>8}")
    print(f"{f'{PODS} pods in memory':<44}{_resident(server):>8.1f}")
    for until in _MEASURED_AT:
        load.over_kept_connections(server, server.enrollment_port, requests, 50, until - signed)
        signed = until
        print(f"{f'{signed} certificates, {CLUSTERS} clusters':<44}{_resident(server):>8.1f}")
    print(f"{'CAs in memory':<44}{metric(server, 'raywarden_ca_cache_size'):>8.0f}")
    print(f"{'requests to the API server for them':<44}{cluster.lookups_at_the_api():>8.0f}")


def _resident(server: RunningServer) -> float:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def _cpu_seconds(server: RunningServer) -> float:
    """The CPU time of the server since it started, in user mode and in the kernel."""
    with open(f"/proc/{server.process.pid}/stat") as status:
        fields = status.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
