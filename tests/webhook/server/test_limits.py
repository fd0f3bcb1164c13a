"""Limits of requests and connections in size, time and number, over a real socket."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import orjson
import pytest

from tests.support import factory
from tests.support.live_server import RunningServer, metric, raw, read_all, serving

POST = b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving({"RAYWARDEN_BODY_TIMEOUT_SECONDS": "1", "RAYWARDEN_WAIT_SECONDS": "1"}) as running:
        yield running


def test_a_body_declared_too_large_is_refused_before_it_is_sent(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(POST + b"Content-Length: 9000000\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the limit is 8388608 bytes" in answer


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except OSError:
            pass  # the server closed the connection, as it should
        else:
            assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert metric(server, 'raywarden_rejected_requests_total{status="413"}') >= 1


def test_a_body_that_never_arrives_gets_408(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(POST + b"Content-Length: 10\r\n\r\n{")
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"POST /mutate HTTP/1.1\r\nHost: loc"])
def test_a_header_that_never_arrives_closes_the_connection(
    server: RunningServer, sent: bytes
) -> None:
    with raw(server) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_a_second_header_that_never_arrives_closes_the_connection(server: RunningServer) -> None:
    with raw(server) as connection:
        body = orjson.dumps(factory.review(factory.ray_cluster()))
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /other HTTP/1.1\r\nHost: loc")
        assert b"HTTP/1.1" not in read_all(connection)


def test_an_endless_header_is_cut_off(server: RunningServer) -> None:
    # Which of the many sends fails depends on the kernel's buffers.
    with raw(server) as connection, pytest.raises(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(3000):
            connection.sendall(f"X-{number}: {'a' * 1000}\r\n".encode())


def test_a_client_that_reads_no_answers_is_disconnected(server: RunningServer) -> None:
    body = orjson.dumps(factory.examples()["01-good-raycluster"])
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    plain = socket.socket()
    plain.settimeout(35)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", server.admission_port))
    started = time.monotonic()
    with (
        server.trust.wrap_socket(plain, server_hostname="localhost") as connection,
        suppress(OSError),
    ):
        while time.monotonic() - started < 30:
            connection.sendall(request)
            time.sleep(0.004)  # not to be refused for sending two requests at once
    assert time.monotonic() - started < 30


def test_idle_connections_make_room_for_new_ones() -> None:
    with serving({"RAYWARDEN_MAX_CONNECTIONS": "20"}) as server, ExitStack() as held:
        body = orjson.dumps(factory.review(factory.ray_cluster()))
        for _ in range(60):
            held.enter_context(raw(server))
        with raw(server) as connection:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_too_many_headers_are_refused(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 101)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "first", [b"CONNECT x:80", b"GET http://a", b"GET http://[", b"GET /" + b"x" * 70_000]
)
def test_a_malformed_request_line_causes_no_error_in_the_server(
    server: RunningServer, first: bytes
) -> None:
    with raw(server) as connection, suppress(OSError):
        connection.sendall(first + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not read_all(connection).startswith(b"HTTP/1.1 5")
    log = server.log_file.read_text()
    assert "Traceback" not in log and "AttributeError" not in log


def test_trailers_are_refused_and_take_no_memory(server: RunningServer) -> None:
    before = resident(server)
    with raw(server) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        assert send_until_cut_off(connection, b"x: y\r\n" * 10_000) < 10
    assert resident(server) - before < 50_000


def test_pipelined_requests_are_refused_and_take_no_memory(server: RunningServer) -> None:
    before = resident(server)
    with raw(server) as connection:
        requests = b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
        assert send_until_cut_off(connection, requests) < 10
    assert resident(server) - before < 50_000


def test_a_request_before_the_last_answer_gets_400(server: RunningServer) -> None:
    with raw(server) as connection:
        connection.sendall(b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"{", b"\r\n"], ids=["a byte of the body", "an empty line"])
def test_stray_bytes_after_an_answer_do_not_hold_the_connection(
    server: RunningServer, sent: bytes
) -> None:
    head = b"POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    whole = b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with raw(server) as connection:
        connection.sendall(head if sent == b"{" else whole)
        answer = connection.recv(65536) + connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 404 ") and answer.endswith(b"}")
        started = time.monotonic()
        for _ in range(20):
            with suppress(OSError):
                connection.sendall(sent)
            time.sleep(0.05)
        assert read_all(connection) == b""
        assert time.monotonic() - started < 5


def test_a_tls_handshake_that_never_starts_closes_the_connection(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.enrollment_port), timeout=20) as connection:
        started = time.monotonic()
        with suppress(ConnectionError):
            assert connection.recv(1) == b""
        assert time.monotonic() - started < 10


def send_until_cut_off(connection: ssl.SSLSocket, block: bytes) -> float:
    """Send a block repeatedly; returns for how many seconds that worked, 20 at most."""
    started = time.monotonic()
    with suppress(OSError):
        while time.monotonic() - started < 20:
            connection.sendall(block)
    return time.monotonic() - started


def resident(server: RunningServer) -> int:
    """The server's resident memory in KiB."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
