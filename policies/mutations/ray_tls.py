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


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is put into one pod beside the variables and mounts of its containers."""

    volumes: tuple[Mapping[str, Any], ...]
    init_container: Mapping[str, Any] | None
    from_stored: bool

    @classmethod
    def fresh(cls, pod: Pod, secret: str, facts: Facts) -> "_Parts":
        enroll = None if secret else enroll_container.build(pod, facts)
        return cls(tuple(contract.volumes(secret)), enroll, from_stored=False)

    @classmethod
    def stored(cls, before: Pod) -> "_Parts":
        """As they stand in the stored object, so that no update of ours or the author's changes the spec."""
        names = (contract.TLS_VOLUME, contract.TOKEN_VOLUME)
        enroll = before.container(ENROLL_CONTAINER)
        return cls(
            tuple(volume for _, volume in before.volumes if volume.get("name") in names),
            enroll.raw if enroll and enroll.listed == "initContainers" else None,
            from_stored=True,
        )

    def holds(self, container: Mapping[str, Any]) -> bool:
        """`container` needs no replacement: it is what was stored, or else ours of today with others' additions."""
        ours = self.init_container
        return container == ours or (
            ours is not None
            and not self.from_stored
            and enroll_container.is_current(container, ours)
        )


class RayTls(Mutation):
    """Turns Ray's TLS on: variables, volumes, mounts, and the init container that enrolls the pod for a certificate.

    The init container stands first, because KubeRay's `wait-gcs-ready` already speaks to the head over TLS. What the
    author wrote under one of our names stays, for the rules `tls-on` and `reserved-names` to refuse; only an init
    container of our name is replaced.
    """

    id: ClassVar[str] = "ray-tls"
    roles: ClassVar[frozenset[PodRole]] = Mutation.roles | {PodRole.CLEANUP}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Marks the cluster and completes each pod; a RayCluster in `marker` mode is only marked."""
        if workload.kind == "RayCluster":
            with draft.all_or_nothing():
                draft.set(Pointer(("metadata", "labels", contract.MARKER_LABEL)), contract.MANAGED)
        for pod in self.pods(workload):
            with draft.all_or_nothing():
                if pod.role is PodRole.CLEANUP:
                    _let_clean_up(draft, pod)
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
    # A stored cluster without our volumes was created in `marker` mode: its pods are completed one by one.
    if parts.volumes:
        _put_parts(draft, pod, parts)


def _cluster_secret(workload: Workload, facts: Facts) -> str:
    """A new group of a stored cluster does as its other groups do: half a cluster with another CA is a broken one."""
    if facts.before is None or not facts.before.pods:
        return contract.own_secret(workload)
    return contract.own_secret(facts.before.pods[0])


def _mark_template(draft: Draft, pod: Pod, secret: str) -> None:
    """KubeRay copies labels and annotations of a template to its pods, so that their turn needs no look-up."""
    draft.set(pod.pointer / "metadata" / "labels" / contract.MARKER_LABEL, contract.MANAGED)
    if secret:
        draft.set(pod.pointer / "metadata" / "annotations" / contract.SECRET_ANNOTATION, secret)


def _put_parts(draft: Draft, pod: Pod, parts: _Parts) -> None:
    for container in pod.ray_containers:
        standing = container.variable_names
        missing = [
            dict(variable) for variable in contract.VARIABLES if variable["name"] not in standing
        ]
        draft.insert(container.pointer / "env", 0, missing)
        _mount(draft, container)
    names = {as_str(volume.get("name")) for _, volume in pod.volumes}
    volumes = [volume for volume in parts.volumes if volume["name"] not in names]
    draft.insert(pod.spec_pointer / "volumes", _length(pod.spec.get("volumes")), volumes)
    if parts.init_container:
        _put_first(draft, pod, parts)


def _mount(draft: Draft, container: Container) -> None:
    """Mount the certificate, unless something else stands in its place: the API server refuses a path used twice."""
    taken = (
        mount.get("name") == contract.TLS_VOLUME
        or contract.is_tls_directory(mount.get("mountPath"))
        for _, mount in container.mounts
    )
    if not any(taken):
        mounts = container.pointer / "volumeMounts"
        draft.insert(mounts, _length(container.raw.get("volumeMounts")), [dict(contract.TLS_MOUNT)])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _put_first(draft: Draft, pod: Pod, parts: _Parts) -> None:
    listed = [container for container in pod.containers if container.listed == "initContainers"]
    ours = [container for container in listed if container.name == ENROLL_CONTAINER]
    init_containers = pod.spec_pointer / "initContainers"
    if [container.pointer for container in ours] == [init_containers / 0]:
        if not parts.holds(ours[0].raw):
            draft.replace(init_containers / 0, parts.init_container)
        return
    for container in reversed(ours):
        draft.remove(container.pointer)
    draft.insert(init_containers, 0, [parts.init_container])


def _let_clean_up(draft: Draft, pod: Pod) -> None:
    """KubeRay builds its Redis clean-up pod from the head template. No certificate is due to a pod that speaks to no
    Ray, and waiting for one would keep the deleted cluster's finalizer for ever (KubeRay `buildRedisCleanupJob`).
    """
    enroll = pod.container(ENROLL_CONTAINER)
    if enroll and enroll.listed == "initContainers":
        draft.remove(enroll.pointer)
