"""The security context of containers: the defaults RayWarden writes, and the effective values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from policies.configured import Injection
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, str_items
from policies.injection.contract import (
    TlsBy,
    is_completed_later,
    is_opted_out,
    tls_by,
    user_of,
)
from policies.model import Facts
from policies.ray.pod import COLLECTOR_CONTAINER, ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import ClusterSpec, Workload

_AUTOSCALER = "autoscaler"


def defaults(pod: Pod, container: Container, injection: Injection) -> dict[str, Any]:
    """What RayWarden may write into a container's security context where the author chose nothing.

    `runAsNonRoot` is included only if the user is known to be numeric and not 0. Otherwise it could
    break the pod.
    """
    result: dict[str, Any] = {}
    context = container.security_context
    added = as_dict(context.get("capabilities")).get("add")
    # The API server rejects these together with allowPrivilegeEscalation: false, with a message the
    # author would not understand. RayWarden's own rules name the real problem.
    adds_sys_admin = isinstance(added, list) and ("SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added)
    if not adds_sys_admin and context.get("privileged") is not True:
        result["allowPrivilegeEscalation"] = False
        result["capabilities"] = {"drop": ["ALL"]}
    author_chose = (
        pod.security_context.get("runAsNonRoot") is not None
        or context.get("runAsNonRoot") is not None
    )
    if not author_chose and user_of(container, pod, injection):
        result["runAsNonRoot"] = True
    return result


def takes_defaults(container: Container) -> bool:
    """RayWarden writes defaults into this container.

    An admission webhook cannot change ephemeral containers, and RayWarden's init container already
    has every field.
    """
    return container.list_name != "ephemeralContainers" and container.name != ENROLL_CONTAINER


class EffectiveSecurityContext(NamedTuple):
    """A container's effective security context: its own, its pod's, and defaults to be written."""

    container: Container
    own: Mapping[str, Any]
    pod: Pod

    @property
    def title(self) -> str:
        return self.container.title

    @property
    def pointer(self) -> Pointer:
        """Where the author can write it: the collector's options have no security context."""
        is_option = self.container.list_name == "options"
        if is_option and self.container.name == COLLECTOR_CONTAINER:
            return self.pod.spec_pointer / "securityContext"
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
        """Where a field is set: in the container's context, or only in the pod's."""
        if self._inherits(name):
            return self.pod.spec_pointer / "securityContext" / name
        return self.pointer / name

    def holder(self, name: str) -> str:
        """How messages call the container or pod that sets a field."""
        return f"the {self.pod.title}" if self._inherits(name) else self.title

    def _inherits(self, name: str) -> bool:
        return self.own.get(name) is None and self.pod.security_context.get(name) is not None

    def _value(self, name: str) -> Any:
        own = self.own.get(name)
        return self.pod.security_context.get(name) if own is None else own


def effective_contexts(workload: Workload, facts: Facts) -> Sequence[EffectiveSecurityContext]:
    """The effective security context of every container there is or will be."""
    known: Sequence[EffectiveSecurityContext] | None = workload.memo.get("effective_contexts")
    if known is None:
        known = workload.memo["effective_contexts"] = list(_effective_contexts(workload, facts))
    return known


def _effective_contexts(workload: Workload, facts: Facts) -> Iterator[EffectiveSecurityContext]:
    for pod in workload.pods:
        later = is_completed_later(pod, workload, facts)
        cluster = workload.cluster if pod.role is PodRole.HEAD else None
        options = _options(cluster) if cluster else ()
        # KubeRay turns options into a container when it creates the pod. RayWarden writes the
        # defaults into that pod, unless it leaves the whole cluster alone.
        filled = not (options and _is_left_alone(workload, facts))
        for container in (*pod.containers, *options):
            is_option = container.list_name == "options" and filled
            own = container.security_context
            if (later or is_option) and takes_defaults(container):
                own = _filled(own, defaults(pod, _with_image(container, pod), facts.injection))
            yield EffectiveSecurityContext(container, own, pod)


def _options(cluster: ClusterSpec) -> Sequence[Container]:
    """The options, and empty ones for an autoscaler that KubeRay creates without any."""
    options = cluster.options
    if cluster.autoscaling and all(option.name != _AUTOSCALER for option in options):
        place = cluster.pointer / "autoscalerOptions"
        return (*options, Container({"name": _AUTOSCALER}, place, "options"))
    return options


def _is_left_alone(workload: Workload, facts: Facts) -> bool:
    """RayWarden writes nothing into the pods of this cluster."""
    return tls_by(workload) in (TlsBy.KUBERAY, TlsBy.AUTHOR) or is_opted_out(workload, facts)


def _with_image(options: Container, pod: Pod) -> Container:
    """Options as the container they become. Without an image it has that of the Ray container."""
    ray = pod.ray_container
    if options.image or ray is None:
        return options
    return Container({**options.raw, "image": ray.image}, options.pointer, options.list_name)


def _filled(context: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`context` with the default `values` it does not contradict, as `Draft.fill` writes them."""
    result = dict(context)
    for name, value in values.items():
        if isinstance(value, dict):
            result[name] = _filled(as_dict(result.get(name)), value)
        elif result.get(name) is None:
            result[name] = value
    return result
