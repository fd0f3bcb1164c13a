"""Measures enrollment: its speed relative to the bare cryptography, and its memory."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from tests.bench.fake_cluster import (
    CLUSTERS,
    PODS,
    SIGNER,
    FakeCluster,
    fake_cluster,
    tokens,
    worker,
)
from tests.bench.figures import Column, Table
from tests.support import live_objects
from tests.support.live_server import RunningServer, metric
from tests.support.pod_tokens import AUDIENCE, ISSUER, key_set
from webhook.enrollment.signing import Signing
from webhook.isolation.wanted import NoNetworkPolicies
from webhook.kube.token import Issuer, keys_in
from webhook.manifests.cluster import ManifestCluster
from webhook.settings import Settings

_MEASURED_AT = (20_000, 60_000, 100_000)
_WARM_UP, _REQUESTS, _ROUNDS = 400, 2000, 5
_WAYS = {
    "connections kept": load.over_kept_connections,
    "one connection each": load.over_new_connections,
}
_KEYS: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def main() -> None:
    """Measure the rates of enrollment, and the memory of the server before and after."""
    csrs = {name: _csr(make()) for name, make in _KEYS.items()}
    with fake_cluster() as cluster:
        _measure_bare(csrs)
        _measure_rates(cluster, csrs)
        _measure_memory(cluster, csrs["P-256"])


def _csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _measure_bare(csrs: dict[str, bytes]) -> None:
    table = Table("enrollments without HTTP", Column("per CPU s", more_is_better=True))
    for name, csr in csrs.items():
        table.add(f"bare cryptography {name}", [_cryptography_rate(csr) for _ in range(_ROUNDS)])
        table.add(f"token to chain {name}", uvloop.run(_without_http(csr)))


def _measure_rates(cluster: FakeCluster, csrs: dict[str, bytes]) -> None:
    """Measure rates; `per CPU s` is by the CPU time of the server alone, and so is `% of bare`."""
    table = Table(
        "enrollments, one process",
        Column("per s", more_is_better=True),
        Column("p50 ms", 2),
        Column("p99 ms", 2),
        Column("per CPU s", more_is_better=True),
        Column("% of bare", more_is_better=True),
    )
    for name, csr in csrs.items():
        requests = _requests(cluster, csr)
        for title, send in _WAYS.items():
            for at_once in (1, 50):
                way = partial(send, requests=requests, at_once=at_once)
                row = f"{title} {name}, {at_once} at once"
                table.add(row, *_rates(cluster, way, partial(_cryptography_rate, csr)))


def _rates(
    cluster: FakeCluster, send: Callable[..., load.Run], bare_rate: Callable[[], float]
) -> tuple[list[float], ...]:
    """The cells of a row: of each round its rates and its percentiles."""
    server = cluster.server
    process, enroll = server.process.pid, partial(send, server, server.enrollment_port)
    enroll(count=_WARM_UP)
    runs, per_core, shares = [], [], []
    for _ in range(_ROUNDS):
        before = load.cpu_seconds(process)
        runs.append(enroll(count=_REQUESTS))
        per_core.append(_REQUESTS / (load.cpu_seconds(process) - before))
        # Measured again each time: other programs slow the core down.
        shares.append(100 * per_core[-1] / bare_rate())
    return *load.rounds(runs), per_core, shares


def _cryptography_rate(csr: bytes) -> float:
    """How often a second one core can verify a CSR and sign a certificate, and nothing else.

    It calls `cryptography` alone. By CPU time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bare")])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    started = time.process_time()
    for serial in range(1, _REQUESTS + 1):
        _sign(x509.load_pem_x509_csr(csr), issuer, identifier, key, serial)
    return _REQUESTS / (time.process_time() - started)


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


async def _without_http(csr: bytes) -> list[float]:
    """How often a second one core can do an enrollment without HTTP, in some rounds."""
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
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(_REQUESTS):
            await signing.sign(token, csr, "")
        rates.append(_REQUESTS / (time.process_time() - started))
    return rates


def _requests(cluster: FakeCluster, csr: bytes) -> Iterator[bytes]:
    """Endless enrollment requests, one for each pod in turn."""
    body = json.dumps({"csr": csr.decode()}).encode()
    headers = [{"Authorization": f"Bearer {token}"} for token in cluster.tokens]
    return itertools.cycle([load.request("/v1/certificates", header, body) for header in headers])


def _measure_memory(cluster: FakeCluster, csr: bytes) -> None:
    """Measure how memory grows: each pod gets several certificates, and the cluster is the same."""
    server, signed = cluster.server, 0
    table = Table("resident memory of a server that signs", Column("MiB", 1))
    table.add(f"{PODS} pods and {CLUSTERS} RayClusters known", _resident(server))
    for until in _MEASURED_AT:
        # On a busy machine, older ones expire before the last is sent.
        requests = _requests(replace(cluster, tokens=tokens()), csr)
        load.over_kept_connections(server, server.enrollment_port, requests, 50, until - signed)
        signed = until
        table.add(f"{signed} certificates signed", _resident(server))
    table = Table("what it did for them", Column("number"))
    table.add("CAs in memory", metric(server, "raywarden_ca_cache_size"))
    table.add("requests to the API server", cluster.lookups_at_the_api())


def _resident(server: RunningServer) -> float:
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
