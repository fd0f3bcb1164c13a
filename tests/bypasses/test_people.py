"""Rows 75 to 81: people who connect, and what others try with their requests, ports and files."""

import asyncio
import signal
import socket
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.client import ClusterName
from tests.bypasses.admission import passes
from tests.support import factory, live_objects
from tests.support.kube_conversation import free_port, talk
from tests.support.paths import REPOSITORY
from tests.webhook.client_certificates.fake_requests import DEMO, KEY, FakeRequests, csr, request
from tests.webhook.client_certificates.test_signer import running
from tests.webhook.client_certificates.test_signing import EIGHT_HOURS, answered
from tests.webhook.connect.test_forward import RAY, forwarding
from tests.webhook.connect.test_ray_head import head_with
from tests.webhook.connect.test_workspace import FILES, PORTS
from webhook.connect.problems import ConnectError
from webhook.connect.ray_token import RayToken, ray_token
from webhook.connect.workspace import workspace
from webhook.kube.api import KubeApi
from webhook.ports import ClientRequest

NAMES = {
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "UID": NameOID.USER_ID,
}


def outcome(asked: ClientRequest) -> list[str]:
    """What the signer writes about a request of which only alice may get a certificate."""
    fake = FakeRequests(asked)
    assert (answered(fake, asked).certificate is not None) is ("issued" in fake.of("one"))
    return fake.of("one")


def with_subject(*pairs: tuple[str, str]) -> bytes:
    attributes = [x509.NameAttribute(NAMES[name], value) for name, value in pairs]
    return signed(x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)))


def with_extension(extension: x509.ExtensionType) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(DEMO.subject)
    return signed(builder.add_extension(extension, critical=False))


def signed(builder: x509.CertificateSigningRequestBuilder, key: Any = KEY) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "name", [DEMO, ClusterName("team-b", "demo"), ClusterName("team-a", "demo", opted_in=True)]
)
@pytest.mark.parametrize("user", ["bob", "Alice", "alice ", "system:serviceaccount:a:alice"])
def test_75_a_cluster_that_the_user_may_not_use(user: str, name: ClusterName) -> None:
    assert outcome(request(user=user, csr=csr(name))) == ["denied"]


@pytest.mark.parametrize(
    "pairs",
    [
        (("CN", "alice"),),
        (("O", "system:masters"), ("CN", "alice")),
        (("O", "ray"), ("OU", "team-a"), ("CN", "demo"), ("UID", "alice")),
        (("O", "ray"), ("O", "system:masters"), ("OU", "team-a"), ("CN", "demo")),
        (("O", "ray"), ("OU", "team-a"), ("OU", "team-b"), ("CN", "demo")),
        (("O", "ray"), ("OU", "team-b/ray/demo"), ("CN", "demo")),
        (("O", "ray"), ("OU", "team-a"), ("CN", "demo/../other")),
    ],
)
def test_75_users_groups_and_clusters_in_the_subject(pairs: Any) -> None:
    assert outcome(request(csr=with_subject(*pairs))) == ["failed"]


@pytest.mark.parametrize(
    "extension",
    [
        x509.SubjectAlternativeName([x509.DNSName("demo-head-svc.team-a.svc.cluster.local")]),
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://x/ns/b/ray/c")]),
        x509.BasicConstraints(ca=True, path_length=None),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    ],
)
def test_76_names_a_ca_and_usages_in_the_request(extension: x509.ExtensionType) -> None:
    assert outcome(request(csr=with_extension(extension))) == ["failed"]


@pytest.mark.parametrize(
    "usages",
    [("server auth",), ("client auth", "cert sign"), ("any",), ("digital signature", "any")],
)
def test_76_other_usages(usages: tuple[str, ...]) -> None:
    assert outcome(request(usages=usages)) == ["failed"]


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())]
)
def test_76_weak_keys(key: Any) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(DEMO.subject)
    assert outcome(request(csr=signed(builder, key))) == ["failed"]


@pytest.mark.parametrize("seconds", [10 * 365 * 86400, 2**31 - 1, 0, -1, None])
def test_76_years(seconds: int | None) -> None:
    asked = request(lifetime=seconds)
    certificate = answered(FakeRequests(asked), asked).certificate
    assert certificate and certificate.not_after <= live_objects.NOW + EIGHT_HOURS


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "bob"},
        {"user": "bob", "csr": csr(ClusterName("team-b", "demo"))},
        {"user": "bob", "lifetime": 600},
        {"usages": ("digital signature", "server auth")},
        {"csr": with_subject(("O", "system:masters"), ("CN", "alice"))},
    ],
)
def test_77_an_approval_by_somebody_else(fields: Any) -> None:
    assert outcome(request(approved=True, **fields)) == ["failed"]


@pytest.mark.parametrize(
    ("per_minute", "most"), [(3, 3), (10, 10), (1000, 20)], ids=["three", "ten", "waiting"]
)
def test_78_one_user_cannot_keep_the_others_waiting(per_minute: int, most: int) -> None:
    flood = [request(f"bob-{number}", "bob") for number in range(1500)]
    fake = FakeRequests(*flood, request("hers"))
    seen = running(fake, lambda seen: ("issued", "hers") in seen.reports, per_minute)
    assert sum(what == "denied" for what, _ in seen.reports) <= most


def test_78_old_requests_are_left_alone() -> None:
    old = live_objects.NOW - timedelta(minutes=11)
    flood = [request(f"old-{number}", f"user-{number}", created=old) for number in range(2000)]
    fake = FakeRequests(*flood, request("hers"))
    seen = running(fake, lambda seen: ("issued", "hers") in seen.reports)
    assert seen.reports == [("issued", "hers")]


def test_78_many_identities_remain() -> None:
    flood = [request(f"request-{number}", f"user-{number}") for number in range(1000)]
    fake = FakeRequests(*flood, request("hers"))
    running(fake, lambda seen: len(seen.reports) >= 1000)
    assert fake.of("hers") == [], "it is offered again with the next list"


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "own"])
def test_79_forwarded_ports_are_on_loopback_alone(address: str, tmp_path: Path) -> None:
    if address == "own":
        address = socket.gethostbyname(socket.gethostname())
        address = "127.0.0.3" if address == "127.0.0.1" else address

    async def main() -> None:
        async with forwarding(tmp_path) as forwarded, forwarded.forward.listening(RAY) as port:
            with pytest.raises(OSError, match=r"refused|Connect call failed|Cannot assign"):
                await asyncio.open_connection(address, port)

    talk(main())


@pytest.mark.parametrize(
    "sent", [b"GET /api/jobs/ HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00", b"PRI * HTTP/2.0"]
)
def test_79_a_stranger_gets_no_token_and_no_certificate(sent: bytes, tmp_path: Path) -> None:
    """The head sees only what a stranger sends through a forwarded port.

    It then asks for a certificate and a token (`RAY_USE_TLS`, `authOptions`).
    """
    received = asyncio.Queue[bytes]()

    async def head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.read())
        writer.close()

    async def main() -> None:
        async with forwarding(tmp_path, head) as forwarded, forwarded.forward.listening(RAY) as to:
            _, writer = await asyncio.open_connection("127.0.0.1", to)
            writer.write(sent)
            writer.write_eof()
            assert await asyncio.wait_for(received.get(), 30) == sent
            writer.close()

    talk(main())


def test_79_a_dashboard_without_a_token_remains() -> None:
    assert passes(factory.ray_cluster(authOptions={"mode": "disabled"}))


@pytest.mark.parametrize("end", [KeyError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_80_the_files_do_not_stay(end: type[BaseException]) -> None:
    with pytest.raises(end), workspace(FILES, RayToken(True, "s3cret")) as place:
        raise end
    assert not place.directory.exists()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
def test_80_only_their_owner_reads_the_files(mask: int) -> None:
    program = f"""
import os, stat
os.umask({mask})
from tests.webhook.connect.test_workspace import FILES, PORTS
from webhook.connect.workspace import RayToken, workspace
with workspace(FILES, RayToken(True, "s3cret")) as place:
    print(*(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in place.directory.iterdir()))
    print(stat.S_IMODE(place.directory.stat().st_mode) & 0o077)
"""
    output = run(program)
    assert output.stdout.split() == ["0"] * 5, output.stderr


def test_80_variables_hold_no_secret() -> None:
    with workspace(FILES, RayToken(True, "s3cret")) as place:
        shown = [*place.variables(PORTS).values(), *place.exports(PORTS), repr(place)]
        assert not any(secret in text for text in shown for secret in ("s3cret", "the key"))


def test_80_files_after_a_kill_remain() -> None:
    program = """
import os, signal
from tests.webhook.connect.test_workspace import FILES
from webhook.connect.workspace import RayToken, workspace
with workspace(FILES, RayToken(False)) as place:
    print(place.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    output = run(program)
    directory = Path(output.stdout.strip())
    assert output.returncode == -signal.SIGKILL and directory.name.startswith("raywarden-")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    rmtree(directory)


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def token_for(tmp_path: Path, own: str = "", **variables: Any) -> RayToken:
    """The token that a head with these variables gets from a person with a Kubernetes token."""
    kubeconfig = tmp_path / "kubeconfig"
    cluster = f'{{server: "http://127.0.0.1:{free_port()}"}}'
    kubeconfig.write_text(
        f"{{clusters: [{{name: c, cluster: {cluster}}}], "
        "users: [{name: u, user: {token: kubernetes-token}}], "
        "contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
    )

    async def main() -> RayToken:
        async with await KubeApi.connect(kubeconfig) as api:
            return await ray_token(api, head_with(RAY_AUTH_MODE="token", **variables), own)

    return asyncio.run(main())


@pytest.mark.parametrize("value", ["true", "True", "1"])
@pytest.mark.parametrize("more", [{}, {"RAY_AUTH_TOKEN": "theirs"}, {"RAY_AUTH_TOKEN_PATH": "/x"}])
def test_81_no_kubernetes_token_for_a_head_that_asks(
    value: str, more: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConnectError, match="accepts Kubernetes tokens: set RAY_AUTH_TOKEN"):
        token_for(tmp_path, RAY_ENABLE_K8S_TOKEN_AUTH=value, **more)


def test_81_a_token_that_a_person_chose_remains(tmp_path: Path) -> None:
    assert token_for(tmp_path, "chosen", RAY_ENABLE_K8S_TOKEN_AUTH="true").value == "chosen"
