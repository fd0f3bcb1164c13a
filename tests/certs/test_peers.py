"""OpenSSL and gRPC, the TLS stack of Ray, accept the certificates as client and as server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.support import live_objects
from tests.support.live_server import RunningServer, serving
from tests.support.openssl import needs_openssl

pytestmark = needs_openssl

HEAD, WORKER, STRANGER = "demo-head-abcde", "demo-worker-1", "web-0"
ADDRESSES = {HEAD: "127.0.0.1", WORKER: "127.0.0.2", STRANGER: "127.0.0.1"}
EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
NEW_ROOT = ["openssl", "req", "-x509", *EC_KEY, "-days", "30"]


@pytest.fixture(scope="module", params=["self-signed", "rooted"])
def pods(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with a subfolder for the `/etc/ray/tls` of each pod, written by `raywarden enroll`.

    With an organization's root, the folder also holds `root.crt`.
    """
    folder = tmp_path_factory.mktemp("pods")
    environment = {}
    if request.param == "rooted":
        key, certificate = folder / "root.key", folder / "root.crt"
        usage = ["-addext", "keyUsage=critical,keyCertSign", "-subj", "/O=Example Corp/CN=Root"]
        subprocess.run(
            [*NEW_ROOT, *usage, "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
        environment = {
            "RAYWARDEN_ROOT_CERT_FILE": str(certificate),
            "RAYWARDEN_ROOT_KEY_FILE": str(key),
        }
    # As many names as a certificate may hold, because gRPC fails with chains that are too long.
    many_services = [
        live_objects.service(f"{number:03}".rjust(63, "s"), **{"ray.io/cluster": "demo"})
        for number in range(100)
    ]
    with serving(environment, [*live_objects.objects(), *many_services]) as server:
        for pod in ADDRESSES:
            enroll(server, pod, folder / pod)
    yield folder


def enroll(server: RunningServer, pod: str, directory: Path) -> None:
    directory.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "RAYWARDEN_POD_IP": ADDRESSES[pod],
        "RAYWARDEN_SIGNER_URL": server.enrollment,
        "RAYWARDEN_SIGNER_CA": server.ca_file.read_text(),
    }
    files = [
        "--token-file",
        str(server.token_dir / "team-a" / pod / "token"),
        "--directory",
        str(directory),
    ]
    subprocess.run(
        [sys.executable, "-m", "webhook", "enroll", *files], env=environment, check=True, timeout=60
    )


def openssl(*arguments: object, stdin: str = "") -> tuple[int, str]:
    """Run `openssl`; returns its exit code and output."""
    process = subprocess.run(
        ["openssl", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("pod", [HEAD, WORKER])
def test_openssl_verifies_chain_address_and_usage(pods: Path, pod: str, purpose: str) -> None:
    base = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", pods / pod / "ca.crt"]
    untrusted = ["-untrusted", pods / pod / "tls.crt"]
    for address in (ADDRESSES[pod], "127.0.0.1", "::1"):
        assert openssl(*base, "-verify_ip", address, *untrusted, pods / pod / "tls.crt")[0] == 0
    code, output = openssl(*base, "-verify_ip", "10.0.0.1", *untrusted, pods / pod / "tls.crt")
    assert code != 0 and "IP address mismatch" in output


def test_clients_outside_the_cluster_verify_with_the_root_alone(pods: Path) -> None:
    root = pods / "root.crt"
    if root.exists():
        chain = pods / HEAD / "tls.crt"
        host = ["-verify_hostname", "demo-head-svc.team-a.svc.cluster.local"]
        code, output = openssl("verify", "-CAfile", root, "-untrusted", chain, *host, chain)
        assert code == 0, output
    bundle = (pods / HEAD / "ca.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") == 1, "the root is in the bundle"


@contextmanager
def s_server(folder: Path) -> Iterator[int]:
    """Run `openssl s_server` with the files of a pod; yields its port.

    The server requires a client certificate signed by the same CA.
    """
    files = [
        "-cert",
        folder / "tls.crt",
        "-cert_chain",
        folder / "tls.crt",
        "-key",
        folder / "tls.key",
    ]
    trust = ["-CAfile", folder / "ca.crt", "-Verify", "2", "-verify_return_error"]
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
    process = subprocess.Popen(
        [*command, *map(str, (*files, *trust))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    try:
        port = 0
        for line in process.stdout:
            if line.startswith(b"ACCEPT"):
                port = int(line.rpartition(b":")[2])
                break
        yield port
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("server", "client"), [(HEAD, WORKER), (WORKER, HEAD), (HEAD, HEAD)])
def test_openssl_accepts_client_certificates_of_the_cluster(
    pods: Path, server: str, client: str
) -> None:
    with s_server(pods / server) as port:
        assert s_client(pods / client, pods / client, ADDRESSES[server], port) == 0


@pytest.mark.parametrize("files", [None, STRANGER])
def test_openssl_rejects_clients_without_a_certificate_of_the_cluster(
    pods: Path, files: str | None
) -> None:
    with s_server(pods / HEAD) as port:
        assert s_client(pods / files if files else None, pods / HEAD, "127.0.0.1", port) != 0


def s_client(own: Path | None, trusting: Path, address: str, port: int) -> int:
    """Connect to `s_server` and exchange a line; returns the exit code."""
    identity: list[object] = []
    if own:
        chain = own / "tls.crt"
        identity = ["-cert", chain, "-cert_chain", chain, "-key", own / "tls.key"]
    # TLS 1.2, because a TLS 1.3 client finishes before the server verifies its certificate.
    trust = [
        "-CAfile",
        trusting / "ca.crt",
        "-verify_return_error",
        "-verify_ip",
        address,
        "-tls1_2",
    ]
    return openssl("s_client", "-connect", f"127.0.0.1:{port}", *identity, *trust, stdin="Q\n")[0]


@contextmanager
def grpc_server(folder: Path) -> Iterator[int]:
    """A gRPC server with the files of a pod and mutual TLS like Ray's; yields its port.

    Ray sets up TLS in `ray/_private/tls_utils.py`.
    """
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _context: request)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test", {"echo": handler})]
    )
    key, chain, bundle = files(folder)
    credentials = grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=bundle, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def files(folder: Path) -> tuple[bytes, bytes, bytes]:
    key, chain, bundle = ((folder / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt"))
    return key, chain, bundle


def echo(port: int, credentials: grpc.ChannelCredentials, seconds: float = 10) -> bytes:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        response: bytes = channel.unary_unary("/test/echo")(b"hello", timeout=seconds)
        return response


@pytest.mark.parametrize(("server", "client"), [(HEAD, WORKER), (WORKER, HEAD)])
def test_grpc_accepts_certificates_of_the_cluster(pods: Path, server: str, client: str) -> None:
    key, chain, bundle = files(pods / client)
    with grpc_server(pods / server) as port:
        assert echo(port, grpc.ssl_channel_credentials(bundle, key, chain)) == b"hello"


@pytest.mark.parametrize("certificate", ["no certificate", "another cluster's certificate"])
def test_grpc_rejects_clients_without_a_certificate_of_the_cluster(
    pods: Path, certificate: str
) -> None:
    bundle = files(pods / HEAD)[2]
    key, chain, _ = files(pods / STRANGER)
    own = (None, None) if certificate == "no certificate" else (key, chain)
    with grpc_server(pods / HEAD) as port, pytest.raises(grpc.RpcError) as refused:
        echo(port, grpc.ssl_channel_credentials(bundle, *own), seconds=3)
    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_grpc_clients_reject_servers_of_another_cluster(pods: Path) -> None:
    key, chain, bundle = files(pods / WORKER)
    with grpc_server(pods / STRANGER) as port, pytest.raises(grpc.RpcError):
        echo(port, grpc.ssl_channel_credentials(bundle, key, chain), seconds=3)
