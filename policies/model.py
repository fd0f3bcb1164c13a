"""The types that rules and mutations share: violation, facts, rule, mutation."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, NamedTuple

from policies.cluster.related_object import RelatedObject
from policies.cluster.state import NamespaceState
from policies.configured import Configured, Injection, NetworkIsolation
from policies.documents.draft import Draft
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict
from policies.kuberay.as_written import AsWritten
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class Profile(IntEnum):
    """How strict a namespace is, as in Pod Security Admission. A level includes those below it."""

    PRIVILEGED = 0
    BASELINE = 1
    RESTRICTED = 2

    @classmethod
    def named(cls, name: str) -> "Profile":
        """The profile called `name`; raises KeyError for any other text."""
        return _BY_NAME[name]

    def __str__(self) -> str:
        return self.name.lower()


_BY_NAME = {str(profile): profile for profile in Profile}


class Mode(StrEnum):
    """What RayWarden does about a violation, strictest first."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"


NAMESPACE_LABELS = {mode: f"raywarden.io/{mode}" for mode in Mode}


class Severity(StrEnum):
    """How severe a violation is, as the rule's author sees it. The operator chooses the effect."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Violation(NamedTuple):
    """One thing that is wrong, where it is, and how to fix it.

    `message` names places by container and group, never by list position, because on UPDATE the
    violations of the two versions of an object are compared by message. They are also compared by
    `evidence`: the value itself, where the message does not contain it. `profile` is the lowest
    level at which the violation counts. An `advisory` violation never denies, whatever the mode.
    With `as_written` the pointer is a place in the manifest, before all mutations.
    """

    rule: str
    message: str
    pointer: Pointer
    remediation: str
    profile: Profile
    advisory: bool = False
    evidence: str = ""
    as_written: bool = False

    def __repr__(self) -> str:
        # Without the evidence, which is text of the object and can be a secret.
        shown = self._asdict()
        del shown["evidence"]
        return f"Violation({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __str__(self) -> str:
        place = f" (at {self.pointer})" if self.pointer else ""
        return f"{self.rule}: {self.message}{place}. Fix: {self.remediation}"


@dataclass(frozen=True, slots=True)
class Signer:
    """How a pod's init container gets its certificate.

    `image` is RayWarden's image, `url` the enrollment URL and `ca` the CA to trust (PEM).
    `namespace` and `port` say where the server runs, for network policies.
    """

    image: str
    url: str
    ca: str
    namespace: str
    port: int
    version: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything besides the object that a decision may use, gathered before the first rule runs.

    `size` is the size of the review in bytes, or None if it did not come as text. `request` is the
    AdmissionRequest without its objects; only expressions read it. On UPDATE `stored` is the stored
    object, and `before` is its view if it is a workload.
    """

    operation: str
    namespace: str
    user: str
    today: date
    signer: Signer
    groups: Collection[str] = ()
    namespace_state: NamespaceState = field(default_factory=NamespaceState)
    injection: Injection = field(default_factory=Injection)
    network_isolation: NetworkIsolation = field(default_factory=NetworkIsolation)
    contract_hash: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    before: Workload | None = None
    stored: Mapping[str, Any] | None = None
    # A manifest before the API server saw it; None at admission, and for what is derived from it.
    as_written: AsWritten | None = None
    # User names of KubeRay operators that the policy file lists.
    operators: Collection[str] = ()

    @property
    def is_from_operator(self) -> bool:
        """A KubeRay operator made the request: RBAC or the policy file says so."""
        return self.user in self.operators or self.namespace_state.runs_kuberay(self.user)

    @property
    def own_images(self) -> tuple[str, ...]:
        """The images of RayWarden's containers, which the administrator chose."""
        return (self.signer.image, self.injection.dashboard_proxy_image)

    def only_marks(self, workload: Workload) -> bool:
        """`workload` is a new RayCluster that only gets the marker; its pods get the rest."""
        return (
            workload.kind == "RayCluster"
            and self.before is None
            and self.injection.ray_cluster == "marker"
        )

    def counterpart(self, pod: Pod) -> Pod | None:
        """The same pod in the stored object; None on CREATE and for a new group."""
        return self.before.counterpart(pod) if self.before else None


# The pods of a cluster, without its submitters and KubeRay's clean-up pod.
MEMBERS = frozenset({PodRole.HEAD, PodRole.WORKER, PodRole.CLIENT})


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule or mutation that raised, with the error's type and line.

    It never holds a value from the object, because failures are logged.
    """

    member: str
    at: str

    @classmethod
    def of(cls, member: str, error: Exception) -> "Failure":
        """The failure of the rule or mutation with the id `member`."""
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = (
            f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown line"
        )
        return cls(member, f"{type(error).__name__} at {place}")


class Rule(Configured):
    """One requirement. The fields are its parameters.

    The docstring, with `Why:` and `Fix:`, is its documentation. A rule checks workloads, related
    objects, or both.
    """

    id: ClassVar[str]
    profile: ClassVar[Profile]
    severity: ClassVar[Severity]
    # The lowest level of its findings, if some count at a lower level than `profile`.
    from_level: ClassVar[Profile | None] = None
    # It warns, and never refuses.
    only_warns: ClassVar[bool] = False

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Every violation in `workload`. Pure."""
        return iter(())

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        """Every violation in `related_object`. Pure."""
        return iter(())

    def violation(
        self,
        message: str,
        pointer: Pointer,
        remediation: str,
        *,
        profile: Profile | None = None,
        advisory: bool = False,
        evidence: str = "",
    ) -> Violation:
        """A violation of this rule, at the rule's profile unless `profile` is given."""
        level = self.profile if profile is None else profile
        warns = advisory or self.only_warns
        return Violation(self.id, message, pointer, remediation, level, warns, evidence)

    def unknown(self, message: str, pointer: Pointer, remediation: str) -> Violation:
        """A warning that a fact is missing, so that the author does not take silence for a pass."""
        return self.violation(message, pointer, remediation, advisory=True)


class Mutation(Configured):
    """A default that RayWarden writes where the author chose nothing.

    It changes objects of its `kinds`: the object itself, the pods that have one of its `roles` and
    a Ray container, or both. With `needs_tls` it applies only to objects that get TLS from
    RayWarden. It raises UnreadableValueError where a value has the wrong type; then what it wrote
    into this object or this pod is undone, and the author is warned.
    """

    id: ClassVar[str]
    needs_tls: ClassVar[bool] = True
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster"})
    roles: ClassVar[frozenset[PodRole]] = frozenset()

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Write the default through `draft`, and return warnings for the author.

        `workload` is the view of the object as it was sent; what other mutations wrote is only in
        `draft`. A second run must change nothing. On UPDATE a mutation only restores what
        `facts.before` already had, so that RayWarden never changes the spec that KubeRay hashes.
        """
        return ()

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """The same for a pod of the workload."""
        return ()

    def mutate_related_object(
        self, draft: Draft, related_object: RelatedObject, facts: Facts
    ) -> Iterable[str]:
        """The same for a related object. Only Jobs that are created come here."""
        return ()


def sticky(defaults: Mapping[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The part of `defaults` that may be written into an object whose stored version is `before`.

    All of them if nothing was stored. Otherwise only those the stored version has: an object that
    was stored without a default stays without it.
    """
    if before is None:
        return defaults
    kept: dict[str, Any] = {}
    for name, value in defaults.items():
        if isinstance(value, dict):
            part = sticky(value, as_dict(before.get(name)))
            if part:
                kept[name] = part
        elif before.get(name) == value:
            kept[name] = value
    return kept
