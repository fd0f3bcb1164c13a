"""The environment of this process, apart from RayWarden's settings."""

import os
from collections.abc import Mapping
from ipaddress import ip_address


def process_environment() -> dict[str, str]:
    """A copy of the whole environment, for a program that RayWarden starts."""
    return dict(os.environ)


def api_server_service(environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """The address and port of the Service `kubernetes`, which Kubernetes gives to every pod."""
    address = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    try:
        return str(ip_address(address)), int(port)
    except ValueError:
        return None
