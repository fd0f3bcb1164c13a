"""Servers on loopback that stand for the ports of Ray pods, with and without TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from ipaddress import ip_address

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.cache import Authorities
from certs.identity import Cluster, Role
from certs.profile import CertificateProfile, usages
from certs.seed import Seed


class Files:
    """The files in `/etc/ray/tls` of a pod (PEM)."""

    def __init__(
        self, seed: Seed, cluster: Cluster, now: datetime, address: str = "127.0.0.1"
    ) -> None:
        trust, key = Authorities(seed).of(cluster), ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ip_address(address))]
        validity = CertificateProfile().validity(now)
        leaf = trust.authority.issue(
            key.public_key(), names, usages(Role.HEAD), validity, serial=x509.random_serial_number()
        )
        self.key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.certificate, self.bundle = leaf.public_bytes(Encoding.PEM), trust.bundle


@contextmanager
def grpc_server(files: Files | None, *, mutual: bool = True) -> Iterator[int]:
    """Run a gRPC server, in plaintext if `files` is None; yields its port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    if files:
        pair = [(files.key, files.certificate)]
        trusted = files.bundle if mutual else None
        credentials = grpc.ssl_server_credentials(
            pair, root_certificates=trusted, require_client_auth=mutual
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@asynccontextmanager
async def tcp_server(
    answer: bytes | None, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a server that answers with `answer`, or never if it is None; yields its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1024):
                if answer is not None:
                    writer.write(answer)
                    return
        finally:
            writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def http(status: int) -> bytes:
    """An HTTP response without a body."""
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode()
