"""TLS for every connection between Ray processes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, list_length
from policies.injection import contract, enroll_container
from policies.model import MEMBERS, Facts, Mutation
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import Workload

_LABELS = Pointer(("metadata", "labels"))
_VARIABLES = frozenset({contract.POD_IP, *contract.RAY_TLS_VARIABLES})


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is added to one pod besides the variables and mounts of its containers."""

    volumes: Sequence[Mapping[str, Any]]
    init_container: Mapping[str, Any] | None
    from_stored: bool

    @classmethod
    def fresh(cls, pod: Pod, secret: str, facts: Facts) -> "_Parts":
        enroll = None if secret else enroll_container.build(pod, facts)
        return cls(contract.volumes(secret), enroll, from_stored=False)

    @classmethod
    def stored(cls, before: Pod) -> "_Parts":
        """The parts of the stored object, so that no update changes the spec."""
        names = (contract.TLS_VOLUME, contract.TOKEN_VOLUME)
        enroll = before.container(ENROLL_CONTAINER)
        return cls(
            tuple(volume for _, volume in before.volumes if volume.get("name") in names),
            enroll.raw if enroll and enroll.list_name == "initContainers" else None,
            from_stored=True,
        )

    def accepts(self, container: Mapping[str, Any]) -> bool:
        """`container` needs no replacement.

        It is the stored one, or the current one with additions by others.
        """
        expected = self.init_container
        if container == expected:
            return True
        if expected is None or self.from_stored:
            return False
        return enroll_container.is_current(container, expected)


class RayTls(Mutation):
    """Turns Ray's TLS on: variables, volumes, mounts, and the init container that enrolls the pod.

    The init container comes first, because KubeRay's `wait-gcs-ready` already talks to the head
    over TLS. If the author uses one of RayWarden's names, their value stays, and the rules `tls-on`
    and `reserved-names` refuse it. RayWarden replaces only an init container with its own name.
    """

    id: ClassVar[str] = "ray-tls"
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster", "Pod"})
    roles: ClassVar[frozenset[PodRole]] = MEMBERS | {PodRole.CLEANUP}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Marks the cluster."""
        if workload.kind == "RayCluster":
            draft.set(_LABELS, contract.MARKER_LABEL, contract.MANAGED)
        return ()

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """Completes the pod. Only marks the templates of a RayCluster in `marker` mode."""
        if pod.role is PodRole.CLEANUP:
            _remove_enrollment(draft, pod)
        else:
            _inject(draft, workload, pod, facts)
        return ()


def _inject(draft: Draft, workload: Workload, pod: Pod, facts: Facts) -> None:
    before = facts.counterpart(pod)
    secret = contract.own_secret(pod) or _cluster_secret(workload, facts)
    if workload.kind == "RayCluster":
        _mark_template(draft, pod, contract.own_secret(before) if before else secret)
        if before is None and facts.injection.ray_cluster == "marker":
            return
    parts = _Parts.stored(before) if before else _Parts.fresh(pod, secret, facts)
    # A stored cluster without RayWarden's volumes was created in `marker` mode. Its pods get them.
    if parts.volumes:
        _put_parts(draft, pod, parts, before)


def _cluster_secret(workload: Workload, facts: Facts) -> str:
    """The Secret for new groups: that of the stored groups, if there are any.

    Groups with certificates of different CAs could not talk to each other.
    """
    if facts.before is None or not facts.before.pods:
        return contract.own_secret(workload)
    return contract.own_secret(facts.before.pods[0])


def _mark_template(draft: Draft, pod: Pod, secret: str) -> None:
    """Mark a template. KubeRay copies its labels and annotations to its pods."""
    metadata = pod.pointer / "metadata"
    draft.set(metadata / "labels", contract.MARKER_LABEL, contract.MANAGED)
    if secret:
        draft.set(metadata / "annotations", contract.SECRET_ANNOTATION, secret)


def _put_parts(draft: Draft, pod: Pod, parts: _Parts, before: Pod | None) -> None:
    for container in _incomplete(pod, before):
        missing = contract.missing_variables(container.variables.names)
        draft.insert(container.pointer, "env", 0, missing)
        _mount(draft, container)
    names = {as_str(volume.get("name")) for _, volume in pod.volumes}
    volumes = [volume for volume in parts.volumes if volume["name"] not in names]
    draft.insert(pod.spec_pointer, "volumes", list_length(pod.spec.get("volumes")), volumes)
    if parts.init_container:
        _put_first(draft, pod, parts)


def _incomplete(pod: Pod, before: Pod | None) -> Sequence[Container]:
    """The Ray containers, without those that were stored as such without any of the variables.

    A version of RayWarden that did not recognize them stored them so. They stay as they are,
    because another spec would make KubeRay restart a cluster.
    """
    if before is None:
        return pod.ray_containers
    stored = before.ray_containers
    names = {item.name for item in stored if _VARIABLES.isdisjoint(item.variables.names)}
    return [container for container in pod.ray_containers if container.name not in names]


def _mount(draft: Draft, container: Container) -> None:
    """Mount the certificate, unless the path is taken: the API server rejects duplicate paths."""
    for _, mount in container.mounts:
        if mount.get("name") == contract.TLS_VOLUME:
            return
        if contract.is_tls_directory(mount.get("mountPath")):
            return
    number = list_length(container.raw.get("volumeMounts"))
    draft.insert(container.pointer, "volumeMounts", number, [dict(contract.TLS_MOUNT)])


def _put_first(draft: Draft, pod: Pod, parts: _Parts) -> None:
    """Make the init container the first one, and the only one of its name."""
    existing = [
        container
        for container in pod.containers
        if container.list_name == "initContainers" and container.name == ENROLL_CONTAINER
    ]
    if len(existing) == 1 and existing[0].pointer[-1] == 0:
        if not parts.accepts(existing[0].raw):
            draft.replace(existing[0].pointer, parts.init_container)
        return
    # From the end of the list, so that the pointers of the others stay valid.
    for container in reversed(existing):
        draft.remove(container.pointer)
    draft.insert(pod.spec_pointer, "initContainers", 0, [parts.init_container])


def _remove_enrollment(draft: Draft, pod: Pod) -> None:
    """Remove the init container from KubeRay's Redis clean-up pod.

    KubeRay builds that pod from the head template (`buildRedisCleanupJob`). The server issues it no
    certificate because it does not talk to Ray. Waiting for a certificate would block the deletion
    of the cluster forever, because the finalizer waits for the pod.
    """
    enroll = pod.container(ENROLL_CONTAINER)
    if enroll and enroll.list_name == "initContainers":
        draft.remove(enroll.pointer)
