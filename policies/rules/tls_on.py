"""Ray's own connections are encrypted, and only members of the cluster get in."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, clipped
from policies.injection import contract, enroll_container
from policies.injection.contract import RAY_TLS_VARIABLES, TLS_VOLUME, TlsBy
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import repository_of
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import RAY_CLUSTER_LABEL, Workload

# What the API server stores or starts as it stands; other kinds become a RayCluster or pods, which are looked at then.
_FINAL = frozenset({"RayCluster", "Pod"})
_RECREATE = "delete what you wrote there and let RayWarden inject it anew"


class TlsOn(Rule):
    """Refuses a Ray pod or cluster whose final state is not TLS, to the letter of the injection contract.

    Clusters under RayWarden's care are held to it from `baseline` on, all others from `restricted` on; KubeRay's own
    mTLS (`spec.tlsOptions.enabled`) passes, and so does a certificate of one's own in a Secret
    (annotation `raywarden.io/tls-secret`).
    Why: Ray reads anything but `1`, `true`, `True`, `TRUE` in RAY_USE_TLS as off, says nothing, and talks plaintext.
    Fix: delete the RAY_TLS variables and volumes you wrote; RayWarden sets them when the RayCluster is created.
    """

    id: ClassVar[str] = "tls-on"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    from_level: ClassVar[Profile | None] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        pods = [pod for pod in workload.pods if pod.role is not PodRole.SUBMITTER]
        responsible, before = contract.tls_by(workload), _stored(facts)
        if (before is TlsBy.RAYWARDEN and responsible is not before) or (
            before and responsible is TlsBy.NOBODY
        ):
            remediation = "send it again in a moment, so that RayWarden can keep it; to do without, delete and create anew"
            yield self._baseline("this update takes TLS away", Pointer(), remediation)
            return
        if not pods or responsible is TlsBy.KUBERAY:
            return
        if responsible is TlsBy.AUTHOR:
            yield self._by_hand(pods[0])
            return
        for container, title in workload.ray_containers:
            yield from self._contradictions(container, title)
        if responsible is TlsBy.RAYWARDEN and workload.kind in _FINAL:
            yield from self._check_managed(workload, pods, facts)
        elif responsible is TlsBy.NOBODY and (workload.kind in _FINAL or workload.is_bare):
            yield self._plaintext(workload, facts)

    def _by_hand(self, pod: Pod) -> Violation:
        message = "TLS is set up by hand, so who holds a certificate is unknown"
        remediation = "delete RAY_USE_TLS and the RAY_TLS variables, and what is mounted for them; the Secret of a "
        remediation += "certificate of your own goes into the annotation raywarden.io/tls-secret"
        return self.violation(message, pod.spec_pointer, remediation)

    def _plaintext(self, workload: Workload, facts: Facts) -> Violation:
        if workload.is_bare:
            remediation = (
                "let a RayCluster start Ray, or label the pods raywarden.io/cluster: NAME and "
            )
            remediation += "raywarden.io/role: worker (or head, client)"
            return self.violation(
                "Ray's connections are plaintext: nobody sees to its TLS", Pointer(), remediation
            )
        if _is_of_nobody_known(workload, facts):
            message = "the RayCluster of this pod is not known yet, so whether it has TLS neither"
            return self._baseline(message, Pointer(), "nothing: KubeRay makes it again in a moment")
        if _was_left_to_kuberay(workload, facts):
            message = "KubeRay was to see to this pod's TLS, and did not: its feature gate for tlsOptions is off"
            return self._baseline(
                message, Pointer(), "delete tlsOptions and create the RayCluster anew"
            )
        if (
            workload.kind == "RayCluster"
            and facts.operation == "CREATE"
            and not contract.is_opted_out(workload, facts)
        ):
            # Every new cluster is marked on its way in; without the mark our mutating webhook was not asked.
            message, remediation = (
                "RayWarden could not set up TLS on the way in",
                "create it again in a moment",
            )
            return self._baseline(message, Pointer(), remediation)
        message = (
            f"Ray's connections are plaintext: this {workload.kind} is not in RayWarden's care"
        )
        owner = "its RayCluster" if workload.kind == "Pod" else "it"
        remediation = f"if {owner} was created before RayWarden came, delete it and create it again"
        return self.violation(message, Pointer(), remediation)

    def _contradictions(self, container: Container, title: str) -> Iterator[Violation]:
        """A variable that is there has our value, as a literal, once: anything else is TLS off, or not our TLS."""
        for name, value in RAY_TLS_VARIABLES.items():
            entries = container.variables.get(name, [])
            if not entries or (
                len(entries) == 1 and entries[0][1] == {"name": name, "value": value}
            ):
                continue
            pointer = container.pointer / "env" / entries[-1][0]
            shown = entries[0][1].get("value")
            found = f'to "{clipped(shown, 40)}"' if isinstance(shown, str) else "from elsewhere"
            message = f'{title} sets {name} {found}, not to the literal "{value}"'
            if len(entries) > 1:
                message = f"{title} sets {name} {len(entries)} times, and the last one counts"
            yield self._baseline(message, pointer, f"delete {name} from env; RayWarden sets it")

    def _check_managed(
        self, workload: Workload, pods: list[Pod], facts: Facts
    ) -> Iterator[Violation]:
        if workload.cluster and workload.cluster.kuberay_tls:
            pointer = workload.cluster.pointer / "tlsOptions" / "enabled"
            message = "tlsOptions.enabled stands beside RayWarden's TLS, and KubeRay refuses the two together"
            yield self._baseline(
                message, pointer, "delete tlsOptions, or create the RayCluster anew with it"
            )
        for pod in pods:
            yield from self._check_pod(pod, workload, facts)

    def _check_pod(self, pod: Pod, workload: Workload, facts: Facts) -> Iterator[Violation]:
        volumes = {as_str(volume.get("name")): (index, volume) for index, volume in pod.volumes}
        if pod.labels.get(contract.MARKER_LABEL) != contract.MANAGED and workload.cluster:
            # Its pods would come without the label, and so without our care.
            message = f"the template of the {pod.title} does not carry {contract.MARKER_LABEL}: {contract.MANAGED}"
            yield self._baseline(
                message,
                pod.pointer / "metadata" / "labels",
                "leave the label as RayWarden wrote it",
            )
        if TLS_VOLUME not in volumes and contract.is_completed_later(pod, workload, facts):
            return
        for container in pod.ray_containers:
            yield from self._check_container(container, pod)
        secret = contract.own_secret(pod)
        for expected in contract.volumes(secret):
            index, found = volumes.get(expected["name"], (-1, None))
            if found is None:
                message = f"the {pod.title} has no volume {expected['name']}"
                yield self._baseline(message, pod.spec_pointer / "volumes", _RECREATE)
            elif found != expected:
                message = (
                    f"volume {expected['name']} of the {pod.title} is not what RayWarden injects"
                )
                yield self._baseline(message, pod.spec_pointer / "volumes" / index, _RECREATE)
        if not secret:
            yield from self._check_enrollment(pod, workload, facts)

    def _check_container(self, container: Container, pod: Pod) -> Iterator[Violation]:
        missing = [name for name in RAY_TLS_VARIABLES if name not in container.variables]
        title = pod.title_of(container)
        if missing:
            message = f"{title} does not set {', '.join(missing)}"
            yield self._baseline(
                message, container.pointer / "env", "create the object anew; RayWarden sets them"
            )
        mounts = [
            mount
            for _, mount in container.mounts
            if contract.is_tls_directory(mount.get("mountPath"))
        ]
        if mounts != [contract.TLS_MOUNT]:
            message = f"{title} does not have RayWarden's volume, and nothing else, at {contract.TLS_DIRECTORY}"
            yield self._baseline(message, container.pointer / "volumeMounts", _RECREATE)

    def _check_enrollment(self, pod: Pod, workload: Workload, facts: Facts) -> Iterator[Violation]:
        ours = enroll_container.build(pod, facts)
        final = workload.kind == "Pod"
        same = enroll_container.conforms if final else enroll_container.was_ours
        inits = [container for container in pod.containers if container.listed == "initContainers"]
        if not inits or inits[0].name != ENROLL_CONTAINER:
            message = f"the first init container of the {pod.title} is not {ENROLL_CONTAINER}"
            yield self._baseline(message, pod.spec_pointer / "initContainers", _RECREATE)
        elif final and _unchanged(inits[0], pod, facts):
            # A running pod stored by another version of us; only what an update changes is looked at again.
            return
        elif final and not _may_have_image(inits[0].image, ours["image"], pod, facts):
            message = f"init container {ENROLL_CONTAINER} of the {pod.title} has the image {inits[0].image}"
            remediation = f"it is {ours['image']}; for a mirror's name the administrator sets RAYWARDEN_ENROLL_IMAGE"
            yield self._baseline(message, inits[0].pointer / "image", remediation)
        elif not same(inits[0].raw, ours):
            message = f"init container {ENROLL_CONTAINER} of the {pod.title} is not the one RayWarden injects"
            yield self._baseline(message, inits[0].pointer, _RECREATE)

    def _baseline(self, message: str, pointer: Pointer, remediation: str) -> Violation:
        return self.violation(message, pointer, remediation, profile=Profile.BASELINE)


def _is_of_nobody_known(workload: Workload, facts: Facts) -> bool:
    """A new pod of KubeRay's that came before what we hear of its cluster."""
    known = facts.namespace_state.ray_clusters
    return (
        known is not None
        and facts.stored is None
        and RAY_CLUSTER_LABEL in workload.labels
        and as_str(workload.labels.get(RAY_CLUSTER_LABEL)) not in known
    )


def _was_left_to_kuberay(workload: Workload, facts: Facts) -> bool:
    """A new pod of a cluster with `tlsOptions`, for which we have therefore done nothing."""
    known = facts.namespace_state.ray_clusters
    live = (
        known.get(as_str(workload.labels.get(RAY_CLUSTER_LABEL)))
        if known and workload.is_kuberay_pod
        else None
    )
    return live is not None and live.kuberay_tls and facts.stored is None


def _may_have_image(image: str, ours: str, pod: Pod, facts: Facts) -> bool:
    """Replicas of two versions of us may look at one new pod; a stored one changes its image to ours alone."""
    return image == ours if facts.counterpart(pod) else repository_of(image) == repository_of(ours)


def _unchanged(enroll: Container, pod: Pod, facts: Facts) -> bool:
    before = facts.counterpart(pod)
    stored = before.container(ENROLL_CONTAINER) if before else None
    return stored is not None and stored.raw == enroll.raw


def _stored(facts: Facts) -> TlsBy | None:
    """Who sees to TLS in the stored object; None where nothing is stored, or nobody does."""
    responsible = contract.tls_by(facts.before) if facts.before else TlsBy.NOBODY
    return None if responsible is TlsBy.NOBODY else responsible
