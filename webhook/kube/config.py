"""Where the API server is and who we are to it: our pod's service account, or a kubeconfig."""

from pathlib import Path
from typing import TYPE_CHECKING

from webhook.ports import UnavailableError

# Half a second of imports, which only those who speak to an API server should wait for.
if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration


async def client(kubeconfig: Path | None) -> "ApiClient":
    """With a kubeconfig; without one as the service account of our pod, or else with the user's own kubeconfig.

    Raises UnavailableError where there is no configuration that can be read.
    """
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration

    configuration = Configuration()
    if kubeconfig is not None or not _in_cluster(configuration):
        await _load(kubeconfig, configuration)
    # From Python 3.13 on, certificates without key identifiers would be refused: many API servers have such, and Go,
    # which all of Kubernetes verifies with, does not mind.
    configuration.disable_strict_ssl_verification = True
    try:
        made = ApiClient(configuration)
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise UnavailableError(
            f"certificates or key of the Kubernetes configuration cannot be used ({kind}): check them with kubectl"
        ) from None
    made.user_agent = "raywarden"
    return made


def _in_cluster(configuration: "Configuration") -> bool:
    from kubernetes.aio.config import ConfigException, load_incluster_config

    try:
        # Its hook reads the token anew every minute: the kubelet changes the file long before the token expires.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # it has no types
    except (ConfigException, OSError):
        return False
    # A proxy out of the cluster does not know the way back in.
    configuration.client_session_kwargs = {"trust_env": False}
    return True


async def _load(kubeconfig: Path | None, configuration: "Configuration") -> None:
    from kubernetes.aio.config import load_kube_config

    if kubeconfig and not kubeconfig.is_file():
        raise UnavailableError(f"kubeconfig {kubeconfig}: no such file")
    try:
        await load_kube_config(  # type: ignore[no-untyped-call]  # it has no types
            str(kubeconfig) if kubeconfig else None,
            client_configuration=configuration,
            persist_config=False,
        )
    # Whatever is wrong with the file, the library's message may quote the credentials in it.
    except Exception as error:
        kind = type(error).__name__
        if kubeconfig:
            raise UnavailableError(
                f"kubeconfig {kubeconfig} cannot be used ({kind}): check it with kubectl"
            ) from None
        raise UnavailableError(
            "no Kubernetes configuration: in a pod, mount the service account's token; elsewhere, set KUBECONFIG "
            f"to a file that kubectl can use ({kind})"
        ) from None
