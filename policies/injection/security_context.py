"""The security context of containers: what is written by default, and what holds in the end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, str_items
from policies.injection.contract import is_completed_later, user_of
from policies.model import Facts, Injection
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import Workload


def defaults(pod: Pod, container: Container, injection: Injection) -> dict[str, Any]:
    """What may be written into a container's security context where its author said nothing.

    `runAsNonRoot` only where the user is known to be a numeric other than 0: elsewhere it could break the pod.
    """
    found: dict[str, Any] = {}
    context = container.security_context
    added = as_dict(context.get("capabilities")).get("add")
    # The API server refuses these together with allowPrivilegeEscalation: false; our rules name the real reason.
    administers = isinstance(added, list) and ("SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added)
    if not administers and context.get("privileged") is not True:
        found["allowPrivilegeEscalation"] = False
        found["capabilities"] = {"drop": ["ALL"]}
    user_is_open = (
        pod.security_context.get("runAsNonRoot") is None and context.get("runAsNonRoot") is None
    )
    if user_is_open and user_of(container, pod, injection):
        found["runAsNonRoot"] = True
    return found


def takes_defaults(container: Container) -> bool:
    """Ephemeral containers cannot be changed on their way in, and our own says everything itself."""
    return container.listed != "ephemeralContainers" and container.name != ENROLL_CONTAINER


@dataclass(frozen=True, slots=True)
class Final:
    """A container's security context as it will be when it runs: its own, the pod's, and defaults still to come."""

    container: Container
    title: str
    own: Mapping[str, Any]
    pod: Pod

    @property
    def pointer(self) -> Pointer:
        return self.container.pointer / "securityContext"

    @property
    def user(self) -> Any:
        return self._value("runAsUser")

    @property
    def non_root(self) -> Any:
        return self._value("runAsNonRoot")

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return as_dict(self.own.get("capabilities"))

    @property
    def drops_all(self) -> bool:
        return any(name.upper() == "ALL" for _, name in str_items(self.capabilities.get("drop")))

    def place(self, name: str) -> Pointer:
        """Where a field stands: in the pod's context, if there alone, else in the container's."""
        return (
            self.pod.spec_pointer / "securityContext" if self._inherits(name) else self.pointer
        ) / name

    def holder(self, name: str) -> str:
        """How messages name whatever a field stands in."""
        return f"the {self.pod.title}" if self._inherits(name) else self.title

    def _inherits(self, name: str) -> bool:
        return self.own.get(name) is None and self.pod.security_context.get(name) is not None

    def _value(self, name: str) -> Any:
        own = self.own.get(name)
        return self.pod.security_context.get(name) if own is None else own


def final_contexts(workload: Workload, facts: Facts) -> Iterator[Final]:
    """One for every container there is or will be."""
    for pod in workload.pods:
        later = is_completed_later(pod, workload, facts)
        options = workload.cluster.options if workload.cluster and pod.role is PodRole.HEAD else ()
        for container in (*pod.containers, *options):
            title = (
                pod.title_of(container)
                if container.listed != "options"
                else str(container.pointer[-1])
            )
            # Options become a container when KubeRay makes the pod, and get their defaults then.
            added = (later or container.listed == "options") and takes_defaults(container)
            given = defaults(pod, _with_image(container, pod), facts.injection) if added else {}
            yield Final(container, title, _filled(container.security_context, given), pod)


def _with_image(options: Container, pod: Pod) -> Container:
    """Options without an image become a container of Ray's."""
    ray = pod.ray_container
    if options.image or ray is None:
        return options
    return Container({**options.raw, "image": ray.image}, options.pointer, options.listed)


def _filled(context: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`context` with the defaults it does not contradict, as `Draft.fill` writes them."""
    result = dict(context)
    for name, value in given.items():
        if isinstance(value, dict):
            result[name] = _filled(as_dict(result.get(name)), value)
        elif result.get(name) is None:
            result[name] = value
    return result
