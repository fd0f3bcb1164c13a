"""The init container's program, with a folder for the pod's volumes, and signers for tests."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certs.identity import Domains
from tests.support import live_objects
from webhook.ca.serving_certificate import DerivedCertificate
from webhook.ca.trust import Trust

ADDRESS = "127.0.0.1"


class PodVolumes:
    """A folder that stands for the volumes of a pod: token, `/etc/ray/tls`, termination log."""

    def __init__(self, folder: Path, token: str) -> None:
        self.token = folder / "token"
        self.tls = folder / "tls"
        self.log = folder / "termination-log"
        self.token.write_text(token)
        self.tls.mkdir()
        self.log.touch()

    def command(self, *arguments: str) -> list[str]:
        files = [
            "--token-file",
            str(self.token),
            "--directory",
            str(self.tls),
            "--termination-log",
            str(self.log),
        ]
        return [sys.executable, "-m", "webhook", "enroll", *files, *arguments]

    def enroll(
        self, url: str, ca: str, *arguments: str, address: str = ADDRESS, **environment: str
    ) -> tuple[int, str]:
        """Run the program; returns its exit code and output."""
        settings = {
            "RAYWARDEN_SIGNER_URL": url,
            "RAYWARDEN_SIGNER_CA": ca,
            "RAYWARDEN_POD_IP": address,
        }
        process = subprocess.run(
            self.command(*arguments),
            env={"PATH": os.environ["PATH"], **settings, **environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return process.returncode, process.stdout + process.stderr


Answer = Callable[[int], tuple[int, dict[str, str], bytes]]


@contextmanager
def signer(answer: Answer) -> Iterator[tuple[str, str, list[str]]]:
    """Run an HTTPS server that answers the n-th request with `answer(n)`.

    Yields its URL, its CA (PEM) and the list of Authorization headers it received.
    """
    trust, tokens = Trust(None, Domains(), 1), []
    trust.adopt(live_objects.SEED)
    certificate = DerivedCertificate(trust, ("localhost",))
    certificate.keep(datetime.now(UTC))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            tokens.append(self.headers["Authorization"])
            status, headers, body = answer(len(tokens))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = certificate.context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{server.server_port}", trust.serving_ca.decode(), tokens
        server.shutdown()
        thread.join()


def always(body: bytes) -> Answer:
    return lambda n: (200, {}, body)


def problem(detail: str) -> bytes:
    return json.dumps({"detail": detail}).encode()
