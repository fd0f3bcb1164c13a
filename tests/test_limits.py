"""The limits of a request in size and time, over a real socket."""

from collections.abc import Iterator

import pytest

from tests.live import Live, metric, raw, read_all, serving

POST = b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with serving({"RAYWARDEN_BODY_TIMEOUT_SECONDS": "1", "RAYWARDEN_HEADER_TIMEOUT_SECONDS": "1"}) as running:
        yield running


def test_a_body_over_the_limit_is_refused_before_it_is_sent(live: Live) -> None:
    with raw(live) as connection:
        connection.sendall(POST + b"Content-Length: 9000000\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the limit is 8388608 bytes" in answer


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(live: Live) -> None:
    with raw(live) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except OSError:
            pass  # the server hung up on us, which is the point
        else:
            assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert metric(live, 'raywarden_rejected_requests_total{status="413"}') >= 1


def test_a_body_that_does_not_come_is_not_waited_for(live: Live) -> None:
    with raw(live) as connection:
        connection.sendall(POST + b"Content-Length: 10\r\n\r\n{")
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"POST /mutate HTTP/1.1\r\nHost: loc"])
def test_a_header_that_does_not_come_is_not_waited_for(live: Live, sent: bytes) -> None:
    with raw(live) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_a_second_header_that_does_not_come_is_not_waited_for(live: Live) -> None:
    with raw(live) as connection:
        connection.sendall(b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"GET /other HTTP/1.1\r\nHost: loc")
        assert b"HTTP" not in read_all(connection)


def test_a_header_without_end_is_cut_off(live: Live) -> None:
    with raw(live) as connection, pytest.raises(OSError):  # which of the many sends fails is the kernel's choice
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(3000):
            connection.sendall(f"X-{number}: {'a' * 1000}\r\n".encode())
