"""The metrics of a server as assembled in a cluster; it is not started and sends no request."""

import asyncio
import tempfile
from pathlib import Path

from tests.support.kube_conversation import write_kubeconfig
from webhook import wiring
from webhook.metrics.registry import Metrics
from webhook.settings import Settings


def wired_metrics() -> Metrics:
    """The metrics of a new server, whose ports are closed again."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = write_kubeconfig(
            Path(folder) / "kubeconfig", {"server": "http://127.0.0.1:1"}, {}
        )
        settings = Settings(
            kubeconfig=kubeconfig, admission_port=0, enrollment_port=0, operations_port=0
        )
        server = asyncio.run(wiring.server(settings))
    for listener in (server.admission, server.enrollment, server.operations):
        listener.close()
    return server.metrics
