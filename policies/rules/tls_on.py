"""Ray's connections are encrypted, and only members of the cluster can connect."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from policies.documents.harmless import Harmless
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, clipped
from policies.injection import contract, enroll_container
from policies.injection.contract import RAY_TLS_VARIABLES, TLS_VOLUME, TlsBy
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import repository_of
from policies.ray.membership import RAY_CLUSTER_LABEL
from policies.ray.pod import ENROLL_CONTAINER, Container, Pod, PodRole
from policies.ray.workload import Workload

# The API server stores or starts these as they are. Objects of other kinds become a RayCluster or
# pods, which are checked then.
_FINAL = frozenset({"RayCluster", "Pod"})
_RECREATE = "remove your changes there; RayWarden injects it again"


class TlsOn(Rule):
    """Refuses Ray pods and clusters without TLS, or with other TLS than RayWarden injects.

    The profile `baseline` checks the clusters that RayWarden manages, and `restricted` checks all
    others, too. KubeRay's own mTLS (`spec.tlsOptions.enabled`) is accepted, and so is a certificate
    of your own in a Secret (annotation `raywarden.io/tls-secret`), which `no-opt-out` accepts where
    the administrator allows it.
    Why: Ray reads every value of RAY_USE_TLS other than `1`, `true`, `True` and `TRUE` as off. It
    then uses plaintext without any warning.
    Fix: remove your own RAY_TLS variables and volumes. RayWarden sets them when the RayCluster is
    created.
    """

    id: ClassVar[str] = "tls-on"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    from_level: ClassVar[Profile | None] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        pods = [pod for pod in workload.pods if pod.role is not PodRole.SUBMITTER]
        responsible, before = contract.tls_by(workload), _tls_before(facts)
        if before and _loses_tls(before, responsible):
            remediation = (
                "send the update again in a moment, so that RayWarden can keep TLS; to run without "
                "TLS, delete the object and create it again"
            )
            yield self._baseline("this update turns TLS off", Pointer(), remediation)
            return
        if not pods or responsible is TlsBy.KUBERAY:
            return
        if responsible is TlsBy.AUTHOR:
            yield self._by_hand(pods[0])
            return
        yield from self._check_variables(workload)
        is_final = workload.kind in _FINAL
        if responsible is TlsBy.RAYWARDEN and is_final:
            yield from self._check_managed(workload, pods, facts)
        elif responsible is TlsBy.NONE and (is_final or workload.is_bare):
            yield self._plaintext(workload, facts)

    def _by_hand(self, pod: Pod) -> Violation:
        return self.violation(
            "TLS is set up by hand, so RayWarden cannot know who holds a certificate",
            pod.spec_pointer,
            "remove RAY_USE_TLS, the RAY_TLS variables and their mounts; to use a certificate of "
            "your own, name its Secret in the annotation raywarden.io/tls-secret",
        )

    def _plaintext(self, workload: Workload, facts: Facts) -> Violation:
        if workload.is_bare:
            return self.violation(
                "Ray's connections are plaintext: nothing sets up TLS for these pods",
                Pointer(),
                "let a RayCluster start Ray, or label the pods raywarden.io/cluster: NAME and "
                "raywarden.io/role: worker (or head, client)",
            )
        if _has_unknown_cluster(workload, facts):
            message = (
                "the RayCluster of this pod is not in RayWarden's cache yet, so its TLS cannot be "
                "verified"
            )
            return self._baseline(message, Pointer(), "no action needed; KubeRay retries")
        if _was_left_to_kuberay(workload, facts):
            message = (
                "KubeRay did not set up TLS for this pod, although its RayCluster has tlsOptions: "
                "KubeRay's feature gate is off"
            )
            remediation = "remove tlsOptions from the RayCluster and create it again"
            return self._baseline(message, Pointer(), remediation)
        if _missed_mutation(workload, facts):
            message = "RayWarden's mutating webhook did not set up TLS for this RayCluster"
            return self._baseline(message, Pointer(), "create it again in a moment")
        owner = "its RayCluster" if workload.kind == "Pod" else "it"
        return self.violation(
            f"Ray's connections are plaintext: RayWarden does not manage this {workload.kind}",
            Pointer(),
            f"if {owner} was created before RayWarden was installed, delete it and create it again",
        )

    def _check_variables(self, workload: Workload) -> Iterator[Violation]:
        if RAY_TLS_VARIABLES.keys().isdisjoint(workload.summary.variables):
            return
        for container in workload.ray_containers:
            if not contract.has_own_variables(container):
                yield from self._check_variables_of(container)

    def _check_variables_of(self, container: Container) -> Iterator[Violation]:
        """A TLS variable occurs once and has RayWarden's value as a literal.

        Anything else means that TLS is off, or that it is not RayWarden's TLS.
        """
        for name, value in RAY_TLS_VARIABLES.items():
            entries = container.variables.of(name)
            raw_entries = [entry for _, entry in entries]
            if not entries or raw_entries == [{"name": name, "value": value}]:
                continue
            title = container.title
            if len(entries) > 1:
                message = f"{title} sets {name} {len(entries)} times, and only the last one counts"
            else:
                shown = raw_entries[0].get("value")
                source = (
                    f'to "{clipped(shown, 40)}"' if isinstance(shown, str) else "from elsewhere"
                )
                message = f'{title} sets {name} {source}, not to the literal "{value}"'
            place = container.pointer / "env" / entries[-1][0]
            yield self._baseline(message, place, f"remove {name} from env; RayWarden sets it")

    def _check_managed(
        self, workload: Workload, pods: list[Pod], facts: Facts
    ) -> Iterator[Violation]:
        if workload.cluster and workload.cluster.kuberay_tls:
            yield self._baseline(
                "tlsOptions.enabled conflicts with RayWarden's TLS, and KubeRay rejects the "
                "combination",
                workload.cluster.pointer / "tlsOptions" / "enabled",
                "remove tlsOptions, or delete the RayCluster and create it again with tlsOptions",
            )
        # Most containers have equal mounts.
        harmless = Harmless()
        for pod in pods:
            yield from self._check_pod(pod, workload, facts, harmless)

    def _check_pod(
        self, pod: Pod, workload: Workload, facts: Facts, harmless: Harmless
    ) -> Iterator[Violation]:
        if workload.cluster and pod.ray_container is None:
            missing = "containers" if pod.raw else "template"
            yield self._baseline(
                f"the {pod.title} has no {missing}, so RayWarden cannot set up TLS for it",
                pod.spec_pointer / "containers" if pod.raw else pod.pointer,
                f"add {missing}, with Ray's container first",
            )
            return
        label, value = contract.MARKER_LABEL, contract.MANAGED
        if pod.labels.get(label) != value and workload.cluster:
            # Without the label on its template, RayWarden would not manage the pods.
            message = f"the template of the {pod.title} lacks the label {label}: {value}"
            place = pod.pointer / "metadata" / "labels"
            yield self._baseline(message, place, "keep the label that RayWarden set")
        secret = contract.own_secret(pod)
        wanted = contract.volumes(secret) if secret else contract.ENROLLED
        # RayWarden writes them last, where they take precedence.
        has_all = [volume for _, volume in pod.volumes[-len(wanted) :]] == wanted
        has_tls = has_all or TLS_VOLUME in [volume.get("name") for _, volume in pod.volumes]
        if not has_tls and contract.is_completed_later(pod, workload, facts):
            return
        for container in pod.ray_containers:
            yield from self._check_container(container, harmless)
        if not has_all:
            yield from self._check_volumes(pod, wanted)
        if not secret:
            yield from self._check_enrollment(pod, workload, facts)

    def _check_volumes(self, pod: Pod, wanted: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
        volumes = {as_str(volume.get("name")): (index, volume) for index, volume in pod.volumes}
        place = pod.spec_pointer / "volumes"
        for expected in wanted:
            name = expected["name"]
            if name not in volumes:
                message = f"the {pod.title} has no volume {name}"
                yield self._baseline(message, place, _RECREATE)
                continue
            index, volume = volumes[name]
            if volume != expected:
                message = f"volume {name} of the {pod.title} differs from what RayWarden injects"
                yield self._baseline(message, place / index, _RECREATE)

    def _check_container(self, container: Container, harmless: Harmless) -> Iterator[Violation]:
        if not container.variables.names >= RAY_TLS_VARIABLES.keys():
            missing = [name for name in RAY_TLS_VARIABLES if not container.variables.of(name)]
            message = f"{container.title} does not set {', '.join(missing)}"
            remediation = "create the object again; RayWarden sets these variables"
            yield self._baseline(message, container.pointer / "env", remediation)
        if container.raw.get("volumeMounts") in harmless:
            return
        mounts = [
            mount
            for _, mount in container.mounts
            if contract.is_tls_directory(mount.get("mountPath"))
        ]
        if mounts == [contract.TLS_MOUNT]:
            harmless.remember(container.raw.get("volumeMounts"))
        else:
            message = (
                f"{container.title} does not mount RayWarden's volume, and only this volume, at "
                f"{contract.TLS_DIRECTORY}"
            )
            yield self._baseline(message, container.pointer / "volumeMounts", _RECREATE)

    def _check_enrollment(self, pod: Pod, workload: Workload, facts: Facts) -> Iterator[Violation]:
        enroll = pod.first_init_container
        expected = enroll_container.expected_in(pod, workload, facts)
        if enroll is None or enroll.name != ENROLL_CONTAINER:
            message = f"the first init container of the {pod.title} is not {ENROLL_CONTAINER}"
            yield self._baseline(message, pod.spec_pointer / "initContainers", _RECREATE)
        elif enroll.raw != expected:
            yield from self._check_injected(enroll, expected, pod, facts, workload.kind == "Pod")

    def _check_injected(
        self, enroll: Container, expected: Mapping[str, Any], pod: Pod, facts: Facts, is_pod: bool
    ) -> Iterator[Violation]:
        """An init container of RayWarden's name that is not the expected one."""
        conforms = enroll_container.is_equivalent if is_pod else enroll_container.was_injected
        title = f"init container {ENROLL_CONTAINER} of the {pod.title}"
        if is_pod and _is_unchanged(enroll, pod, facts):
            # Another version of RayWarden may have completed this running pod. An update is checked
            # only for what it changes.
            return
        elif is_pod and not _may_have_image(enroll.image, expected["image"], pod, facts):
            yield self._baseline(
                f"{title} uses the image {enroll.image}, which is not RayWarden's",
                enroll.pointer / "image",
                f"use the image {expected['image']}; if a mirror renames it, the administrator "
                "sets RAYWARDEN_ENROLL_IMAGE",
            )
        elif not conforms(enroll.raw, expected):
            message = f"{title} differs from the one that RayWarden injects"
            yield self._baseline(message, enroll.pointer, _RECREATE)

    def _baseline(self, message: str, pointer: Pointer, remediation: str) -> Violation:
        return self.violation(message, pointer, remediation, profile=Profile.BASELINE)


def _loses_tls(before: TlsBy, after: TlsBy) -> bool:
    if before is TlsBy.RAYWARDEN:
        return after is not TlsBy.RAYWARDEN
    return after is TlsBy.NONE


def _missed_mutation(workload: Workload, facts: Facts) -> bool:
    """A new RayCluster without the marker that the mutating webhook puts on each of them."""
    if workload.kind != "RayCluster" or facts.operation != "CREATE":
        return False
    return not contract.is_opted_out(workload, facts)


def _has_unknown_cluster(workload: Workload, facts: Facts) -> bool:
    """A new pod of KubeRay whose RayCluster has not reached RayWarden's cache yet."""
    known = facts.namespace_state.ray_clusters
    if known is None or facts.stored is not None or RAY_CLUSTER_LABEL not in workload.labels:
        return False
    return as_str(workload.labels.get(RAY_CLUSTER_LABEL)) not in known


def _was_left_to_kuberay(workload: Workload, facts: Facts) -> bool:
    """A new pod of a cluster with `tlsOptions`, to which RayWarden therefore added nothing."""
    known = facts.namespace_state.ray_clusters
    if not known or not workload.is_kuberay_pod or facts.stored is not None:
        return False
    live = known.get(as_str(workload.labels.get(RAY_CLUSTER_LABEL)))
    return live is not None and live.kuberay_tls


def _may_have_image(image: str, expected: str, pod: Pod, facts: Facts) -> bool:
    """A new pod may have the image of another RayWarden version.

    During an upgrade, replicas of two versions may mutate and validate the same pod. An update of
    a stored pod may change the image only to the expected one.
    """
    if facts.counterpart(pod):
        return image == expected
    return repository_of(image) == repository_of(expected)


def _is_unchanged(enroll: Container, pod: Pod, facts: Facts) -> bool:
    before = facts.counterpart(pod)
    stored = before.container(ENROLL_CONTAINER) if before else None
    return stored is not None and stored.raw == enroll.raw


def _tls_before(facts: Facts) -> TlsBy | None:
    """What provided TLS in the stored object; None if there is no such object or nothing did."""
    responsible = contract.tls_by(facts.before) if facts.before else TlsBy.NONE
    return None if responsible is TlsBy.NONE else responsible
