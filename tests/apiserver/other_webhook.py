"""A mutating webhook of another project, which a real API server calls beside RayWarden's."""

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from policies.documents.draft import Draft
from policies.documents.patch import operations_of
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.permissions import REGISTRATION
from tests.apiserver.pki import Pki
from tests.support.factory import Object

_CONFIGURATIONS = f"/apis/{REGISTRATION}/v1/mutatingwebhookconfigurations"
_PODS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}


@dataclass(frozen=True)
class OtherWebhook:
    """What the webhook changes, and how it is registered.

    The API server calls configurations in the order of their names. An exception in `change`
    counts as a webhook that failed.
    """

    name: str
    change: Callable[[Draft], None]
    reinvocation: str = "Never"

    @contextmanager
    def running(self, control_plane: ControlPlane) -> Iterator[None]:
        """Run the webhook, registered for every new pod.

        The API server learns of it with some delay.
        """
        folder = control_plane.folder / self.name
        folder.mkdir(exist_ok=True)
        pki, context = Pki(folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pki.certify("webhook"))
        with ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.change)) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            client = {
                "url": f"https://127.0.0.1:{server.server_port}/",
                "caBundle": b64encode(pki.ca.read_bytes()).decode(),
            }
            control_plane.make(_CONFIGURATIONS, self._configuration(client))
            try:
                yield
            finally:
                control_plane.delete(f"{_CONFIGURATIONS}/{self.name}")
                server.shutdown()

    def _configuration(self, client: Object) -> Object:
        webhook = {
            "name": f"{self.name}.example.com",
            "clientConfig": client,
            "rules": [_PODS],
            "failurePolicy": "Fail",
            "reinvocationPolicy": self.reinvocation,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        return {"metadata": {"name": self.name}, "webhooks": [webhook]}


def _handler(change: Callable[[Draft], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            draft = Draft(review["request"]["object"])
            change(draft)
            response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
            if draft.changes:
                patch = json.dumps(operations_of(draft.changes)).encode()
                response |= {"patchType": "JSONPatch", "patch": b64encode(patch).decode()}
            content = json.dumps({**review, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
