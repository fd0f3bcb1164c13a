"""What other TLS stacks think of our certificates: OpenSSL and gRPC (which is Ray's), in both directions."""

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
from tests.support.live_server import Live, serving
from tests.support.openssl import needs_openssl

pytestmark = needs_openssl

HEAD, WORKER, STRANGER = "demo-head-abcde", "demo-worker-1", "web-0"
ADDRESSES = {HEAD: "127.0.0.1", WORKER: "127.0.0.2", STRANGER: "127.0.0.1"}
ROOT = [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "30",
]


@pytest.fixture(scope="module", params=["self-signed", "rooted"])
def pods(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with the `/etc/ray/tls` of each pod, written by `raywarden enroll`; `root.crt` where there is a root."""
    folder = tmp_path_factory.mktemp("pods")
    environment = {}
    if request.param == "rooted":
        key, certificate = folder / "root.key", folder / "root.crt"
        usage = ["-addext", "keyUsage=critical,keyCertSign", "-subj", "/O=Example Corp/CN=Root"]
        subprocess.run(
            [*ROOT, *usage, "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
        environment = {
            "RAYWARDEN_ROOT_CERT_FILE": str(certificate),
            "RAYWARDEN_ROOT_KEY_FILE": str(key),
        }
    # As many names as a certificate may hold: gRPC gives up on chains that are too long.
    crowd = [
        live_objects.service(f"{number:03}".rjust(63, "s"), **{"ray.io/cluster": "demo"})
        for number in range(100)
    ]
    with serving(environment, [*live_objects.objects(), *crowd]) as live:
        for pod in ADDRESSES:
            enroll(live, pod, folder / pod)
    yield folder


def enroll(live: Live, pod: str, directory: Path) -> None:
    directory.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "RAYWARDEN_POD_IP": ADDRESSES[pod],
        "RAYWARDEN_SIGNER_URL": live.enrollment,
        "RAYWARDEN_SIGNER_CA": live.ca_file.read_text(),
    }
    files = [
        "--token-file",
        str(live.token_dir / "team-a" / pod / "token"),
        "--directory",
        str(directory),
    ]
    subprocess.run(
        [sys.executable, "-m", "webhook", "enroll", *files], env=environment, check=True, timeout=60
    )


def openssl(*arguments: object, fed: str = "") -> tuple[int, str]:
    ended = subprocess.run(
        ["openssl", *map(str, arguments)],
        input=fed,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("pod", [HEAD, WORKER])
def test_openssl_verifies_chain_address_and_usage(pods: Path, pod: str, purpose: str) -> None:
    base = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", pods / pod / "ca.crt"]
    untrusted = ["-untrusted", pods / pod / "tls.crt"]
    for address in (ADDRESSES[pod], "127.0.0.1", "::1"):
        assert openssl(*base, "-verify_ip", address, *untrusted, pods / pod / "tls.crt")[0] == 0
    code, said = openssl(*base, "-verify_ip", "10.0.0.1", *untrusted, pods / pod / "tls.crt")
    assert code != 0 and "IP address mismatch" in said


def test_the_outside_verifies_by_the_root_alone(pods: Path) -> None:
    if (pods / "root.crt").exists():
        chain = pods / HEAD / "tls.crt"
        host = ["-verify_hostname", "demo-head-svc.team-a.svc.cluster.local"]
        assert (
            openssl("verify", "-CAfile", pods / "root.crt", "-untrusted", chain, *host, chain)[0]
            == 0
        )
    assert (pods / HEAD / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 1, (
        "the root is not in the bundle"
    )


@contextmanager
def s_server(folder: Path) -> Iterator[int]:
    """`openssl s_server` with a pod's files, which wants a client certificate of the same CA; gives its port."""
    files = [
        "-cert",
        folder / "tls.crt",
        "-cert_chain",
        folder / "tls.crt",
        "-key",
        folder / "tls.key",
    ]
    trust = ["-CAfile", folder / "ca.crt", "-Verify", "2", "-verify_return_error"]
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", *map(str, (*files, *trust)), "-naccept", "1"],
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
def test_openssl_talks_both_ways_with_client_certificates(
    pods: Path, server: str, client: str
) -> None:
    with s_server(pods / server) as port:
        assert s_client(pods / client, pods / client, ADDRESSES[server], port) == 0


@pytest.mark.parametrize("files", [None, STRANGER])
def test_openssl_turns_away_who_has_no_certificate_of_the_cluster(
    pods: Path, files: str | None
) -> None:
    with s_server(pods / HEAD) as port:
        assert s_client(pods / files if files else None, pods / HEAD, "127.0.0.1", port) != 0


def s_client(own: Path | None, trusting: Path, address: str, port: int) -> int:
    """Say something to `s_server`, and be answered; gives the exit code."""
    mine = (
        ["-cert", own / "tls.crt", "-cert_chain", own / "tls.crt", "-key", own / "tls.key"]
        if own
        else []
    )
    # TLS 1.2: with 1.3 a client has finished before the server has looked at its certificate.
    trust = [
        "-CAfile",
        trusting / "ca.crt",
        "-verify_return_error",
        "-verify_ip",
        address,
        "-tls1_2",
    ]
    return openssl("s_client", "-connect", f"127.0.0.1:{port}", *mine, *trust, fed="Q\n")[0]


@contextmanager
def grpc_server(folder: Path) -> Iterator[int]:
    """A gRPC service with a pod's files, mutual as Ray's (`ray/_private/tls_utils.py`); gives its port."""
    echo = grpc.unary_unary_rpc_method_handler(lambda request, _context: request)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"echo": echo})])
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


def echoed(port: int, credentials: grpc.ChannelCredentials, seconds: float = 10) -> bytes:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        answer: bytes = channel.unary_unary("/test/echo")(b"hello", timeout=seconds)
        return answer


@pytest.mark.parametrize(("server", "client"), [(HEAD, WORKER), (WORKER, HEAD)])
def test_grpc_talks_both_ways(pods: Path, server: str, client: str) -> None:
    key, chain, bundle = files(pods / client)
    with grpc_server(pods / server) as port:
        assert echoed(port, grpc.ssl_channel_credentials(bundle, key, chain)) == b"hello"


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_grpc_turns_away_who_has_no_certificate_of_the_cluster(pods: Path, who: str) -> None:
    bundle = files(pods / HEAD)[2]
    key, chain, _ = files(pods / STRANGER)
    own = (None, None) if who == "nobody" else (key, chain)
    with grpc_server(pods / HEAD) as port, pytest.raises(grpc.RpcError) as refused:
        echoed(port, grpc.ssl_channel_credentials(bundle, *own), seconds=3)
    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_grpc_servers_of_another_cluster_are_not_believed(pods: Path) -> None:
    key, chain, bundle = files(pods / WORKER)
    with grpc_server(pods / STRANGER) as port, pytest.raises(grpc.RpcError):
        echoed(port, grpc.ssl_channel_credentials(bundle, key, chain), seconds=3)
