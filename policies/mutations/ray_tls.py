"""TLS for every connection between Ray processes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.injection import contract, enroll_container
from policies.model import Facts, Mutation
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import Workload

_VARIABLES = frozenset(variable["name"] for variable in contract.VARIABLES)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is added to one pod besides the variables and mounts of its containers."""

    volumes: tuple[Mapping[str, Any], ...]
    init_container: Mapping[str, Any] | None
    from_stored: bool

    @classmethod
    def fresh(cls, pod: Pod, secret: str, facts: Facts) -> "_Parts":
        enroll = None if secret else enroll_container.build(pod, facts)
        return cls(tuple(contract.volumes(secret)), enroll, from_stored=False)

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
    roles: ClassVar[frozenset[PodRole]] = Mutation.roles | {PodRole.CLEANUP}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Marks the cluster and completes each pod. Only marks a RayCluster in `marker` mode."""
        if workload.kind == "RayCluster":
            with draft.all_or_nothing():
                draft.set(Pointer(("metadata", "labels", contract.MARKER_LABEL)), contract.MANAGED)
        for pod in self.pods(workload):
            with draft.all_or_nothing():
                if pod.role is PodRole.CLEANUP:
                    _remove_enrollment(draft, pod)
                else:
                    _inject(draft, workload, pod, facts)
        yield from ()


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
    draft.set(pod.pointer / "metadata" / "labels" / contract.MARKER_LABEL, contract.MANAGED)
    if secret:
        draft.set(pod.pointer / "metadata" / "annotations" / contract.SECRET_ANNOTATION, secret)


def _put_parts(draft: Draft, pod: Pod, parts: _Parts, before: Pod | None) -> None:
    for container in _incomplete(pod, before):
        present = container.variables.names
        missing = [
            dict(variable) for variable in contract.VARIABLES if variable["name"] not in present
        ]
        draft.insert(container.pointer / "env", 0, missing)
        _mount(draft, container)
    names = {as_str(volume.get("name")) for _, volume in pod.volumes}
    volumes = [volume for volume in parts.volumes if volume["name"] not in names]
    draft.insert(pod.spec_pointer / "volumes", _length(pod.spec.get("volumes")), volumes)
    if parts.init_container:
        _put_first(draft, pod, parts)


def _incomplete(pod: Pod, before: Pod | None) -> Iterator[Container]:
    """The Ray containers, without those that were stored as such without any of the variables.

    A version of RayWarden that did not recognize them stored them so. They stay as they are,
    because another spec would make KubeRay restart a cluster.
    """
    stored = before.ray_containers if before else ()
    names = {
        container.name for container in stored if _VARIABLES.isdisjoint(container.variables.names)
    }
    return (container for container in pod.ray_containers if container.name not in names)


def _mount(draft: Draft, container: Container) -> None:
    """Mount the certificate, unless the path is taken: the API server rejects duplicate paths."""
    for _, mount in container.mounts:
        if mount.get("name") == contract.TLS_VOLUME:
            return
        if contract.is_tls_directory(mount.get("mountPath")):
            return
    mounts = container.pointer / "volumeMounts"
    draft.insert(mounts, _length(container.raw.get("volumeMounts")), [dict(contract.TLS_MOUNT)])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _put_first(draft: Draft, pod: Pod, parts: _Parts) -> None:
    """Make the init container the first one, and the only one of its name."""
    existing = [
        container
        for container in pod.containers
        if container.list_name == "initContainers" and container.name == ENROLL_CONTAINER
    ]
    init_containers = pod.spec_pointer / "initContainers"
    if [container.pointer for container in existing] == [init_containers / 0]:
        if not parts.accepts(existing[0].raw):
            draft.replace(init_containers / 0, parts.init_container)
        return
    # From the end of the list, so that the pointers of the others stay valid.
    for container in reversed(existing):
        draft.remove(container.pointer)
    draft.insert(init_containers, 0, [parts.init_container])


def _remove_enrollment(draft: Draft, pod: Pod) -> None:
    """Remove the init container from KubeRay's Redis clean-up pod.

    KubeRay builds that pod from the head template (`buildRedisCleanupJob`). The server issues it no
    certificate because it does not talk to Ray. Waiting for a certificate would block the deletion
    of the cluster forever, because the finalizer waits for the pod.
    """
    enroll = pod.container(ENROLL_CONTAINER)
    if enroll and enroll.list_name == "initContainers":
        draft.remove(enroll.pointer)
