"""One thing that KubeRay or the API server does not accept."""

from dataclasses import dataclass

from policies.documents.pointer import Pointer
from policies.documents.untyped import printable


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """What is not accepted, where it is, and how to change it.

    `message` says who refuses the object, or who drops or ignores the field.
    """

    message: str
    pointer: Pointer
    remediation: str


def title_of(place: Pointer) -> str:
    """A place by its names, without list positions: `spec.workerGroupSpecs.template`."""
    names = [str(token) for token in place if not isinstance(token, int)]
    return printable(".".join(names), 200) or "the object"
