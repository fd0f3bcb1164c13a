"""What a person reads when `raywarden connect` cannot go on: one line, with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from webhook.kube.request import ForbiddenError, UnauthorizedError
from webhook.ports import UnavailableError
from webhook.settings import SetupError

ROLE, REQUESTS_ROLE = "raywarden-ray-user", "raywarden-ray-user-requests"
_LOG_IN = "you are not logged in: log in as for kubectl, until `kubectl auth whoami` works"


class ConnectError(SetupError):
    """The connection failed; the message says what to do."""


@contextmanager
def explained(namespace: str, *, role: str = ROLE) -> Iterator[None]:
    """Raise errors of the API client as ConnectError; `role` is the one that allows the calls."""
    try:
        yield
    except UnauthorizedError:
        raise ConnectError(_LOG_IN) from None
    except ForbiddenError as error:
        raise ConnectError(f"you may not {error.permission}: {_grant(namespace, role)}") from None
    except UnavailableError as error:
        raise ConnectError(str(error)) from None


def _grant(namespace: str, role: str) -> str:
    if role == REQUESTS_ROLE:
        binding = f"kubectl create clusterrolebinding NAME --clusterrole={role} --user=YOU"
        return f"ask an administrator for the ClusterRole {role} ({binding})"
    binding = (
        f"kubectl create rolebinding NAME --namespace={namespace} --clusterrole={role} --user=YOU"
    )
    return (
        f"ask an administrator for the ClusterRole {role} in the namespace {namespace} ({binding})"
    )
