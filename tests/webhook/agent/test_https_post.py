"""What the init container's program makes of an answer that is not the usual one."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from certs.identity import Domains
from tests.support import live_objects
from webhook.agent.https_post import NotHttpError, Response, post
from webhook.agent.signer_client import tls_context
from webhook.ca.serving_certificate import DerivedCertificate
from webhook.ca.trust import Trust


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, ssl.SSLContext, list[bytes]]]:
    """A server for one connection; yields its port, a client context, and what it received."""
    trust, received = Trust(None, Domains(), 1), list[bytes]()
    trust.adopt(live_objects.SEED)
    certificate = DerivedCertificate(trust, ("localhost",))
    certificate.keep(datetime.now(UTC))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with certificate.context.wrap_socket(plain, server_side=True) as connection:
                received.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], tls_context(trust.serving_ca.decode()), received
        thread.join()


def ask(answer: bytes) -> Response:
    with answering(answer) as (port, context, received):
        response = post(("localhost", port), "/v1", {"A": "b"}, b"body", context, 5)
    head = f"POST /v1 HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Length: 4\r\nA: b\r\n\r\n"
    assert received == [head.encode() + b"body"]
    return response


def test_it_sends_one_request_and_reads_up_to_the_length() -> None:
    answer = b"HTTP/1.1 200 OK\r\nRetry-After:  3\r\ncontent-LENGTH: 4\r\n\r\nbodymore"
    assert ask(answer) == (200, {"retry-after": "3", "content-length": "4"}, b"body")


def test_without_a_length_it_reads_to_the_end() -> None:
    assert ask(b"HTTP/1.0 503 \r\n\r\nall of it") == (503, {}, b"all of it")


def test_a_long_body_is_cut() -> None:
    assert len(ask(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_100_000).body) == 1024 * 1024


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 ٣٣٣ OK\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nA: b",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
def test_another_protocol_is_refused(answer: bytes) -> None:
    with pytest.raises(NotHttpError):
        ask(answer)
