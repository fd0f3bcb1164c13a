"""Turns the failure of a request into a fact: the answer is unavailable, and this is why."""

from collections.abc import Awaitable
from typing import TypeVar

from webhook.check.facts import Unavailable
from webhook.check.findings import can_i
from webhook.kube.request import ForbiddenError
from webhook.ports import ConflictError, UnavailableError

T = TypeVar("T")


async def answer_of(request: Awaitable[T]) -> T | Unavailable:
    """The answer to a request, or the reason why there is none."""
    try:
        return await request
    except ForbiddenError as error:
        return forbidden(error)
    except (UnavailableError, ConflictError) as error:
        remediation = "try again; kubectl get --raw /readyz?verbose shows the API server's state"
        return Unavailable(str(error), remediation)


def forbidden(error: ForbiddenError) -> Unavailable:
    """The fact that the caller may not send a request."""
    remediation = (
        f"ask an administrator for this permission (verify with {can_i(error.permission)}), "
        "or run the command as an administrator"
    )
    return Unavailable(f"you may not {error.permission}", remediation)
