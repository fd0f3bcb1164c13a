"""How to reach the API server: with the pod's service account, or with a kubeconfig."""

import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

from webhook.ports import UnavailableError

# These imports take half a second. Only commands that call an API server should pay for them.
if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration


MAX_CONNECTIONS = 100


async def client(
    kubeconfig: Path | None, context: str = "", connections: int = MAX_CONNECTIONS
) -> "ApiClient":
    """A client for `kubeconfig`; for None, with the pod's service account or the user's kubeconfig.

    A `context` is one of a kubeconfig, so with one the service account is not used. `connections`
    is how many may be open at once; 0 sets no limit.

    Raises UnavailableError if no usable configuration exists.
    """
    # Each imports a client of its own: synchronous ones, dynamic ones, and what they need.
    for package in ("kubernetes", "kubernetes.aio", "kubernetes.aio.utils"):
        _skip_init(package)
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration

    configuration = Configuration()
    if kubeconfig is not None or context or not _in_cluster(configuration):
        await _load(kubeconfig, context, configuration)
    # Python 3.13 and later reject certificates without key identifiers by default. Many API servers
    # have such a certificate, and every other Kubernetes client (in Go) accepts it.
    configuration.disable_strict_ssl_verification = True
    configuration.connection_pool_maxsize = connections
    try:
        api_client = ApiClient(configuration)
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise UnavailableError(
            "the certificates or the key in the Kubernetes configuration cannot be used "
            f"({kind}): check them with kubectl"
        ) from None
    api_client.user_agent = "raywarden"
    return api_client


def _skip_init(package: str) -> None:
    """Let the modules of a package be imported without the package's own imports.

    Does nothing if it is imported already.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec:
        sys.modules[package] = module_from_spec(spec)


def _in_cluster(configuration: "Configuration") -> bool:
    from kubernetes.aio.config import ConfigException, load_incluster_config

    try:
        # The hook that this installs reads the token again every minute: the kubelet replaces the
        # file long before the token expires.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # it has no types
    except (ConfigException, OSError):
        return False
    # A proxy for outgoing traffic cannot reach the API server inside the cluster.
    configuration.client_session_kwargs = {"trust_env": False}
    return True


async def _load(kubeconfig: Path | None, context: str, configuration: "Configuration") -> None:
    from kubernetes.aio.config import load_kube_config

    if kubeconfig and not kubeconfig.is_file():
        raise UnavailableError(f"kubeconfig {kubeconfig}: no such file")
    try:
        await load_kube_config(  # type: ignore[no-untyped-call]  # it has no types
            str(kubeconfig) if kubeconfig else None,
            context=context or None,
            client_configuration=configuration,
            persist_config=False,
        )
    # The library's message may quote the credentials in the file, whatever its error: drop it.
    except Exception as error:
        kind = type(error).__name__
        if kubeconfig:
            raise UnavailableError(
                f"kubeconfig {kubeconfig} cannot be used ({kind}): check it with kubectl"
            ) from None
        raise UnavailableError(
            "no Kubernetes configuration: in a pod, mount the service account's token; elsewhere, "
            f"set KUBECONFIG to a file that kubectl can use ({kind})"
        ) from None
