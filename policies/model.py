"""The words rules and mutations speak: violation, facts, rule, mutation."""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum, StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from policies.cluster.related_object import RelatedObject
from policies.cluster.state import NamespaceState
from policies.documents.draft import Draft
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class Profile(IntEnum):
    """How strict a namespace is, in the manner of Pod Security Admission; each level holds those before it."""

    PRIVILEGED = 0
    BASELINE = 1
    RESTRICTED = 2

    @classmethod
    def named(cls, name: str) -> "Profile":
        """The profile of this name; KeyError for any other text."""
        return _BY_NAME[name]

    def __str__(self) -> str:
        return self.name.lower()


_BY_NAME = {str(profile): profile for profile in Profile}


class Mode(StrEnum):
    """What happens to a violation, strictest first."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"


NAMESPACE_LABELS = {mode: f"raywarden.io/{mode}" for mode in Mode}


class Severity(StrEnum):
    """How bad it is, in the eyes of the rule's author; what is done about it is the operator's choice."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, where, and what to write instead.

    `what` names places by container and group, never by list position: on UPDATE two versions of an object are
    compared by it, and by `evidence`, the value itself where the words do not say it. `profile` is the level from
    which it counts; an `advisory` one never refuses, whatever the mode.
    """

    rule: str
    message: str
    pointer: Pointer
    remediation: str
    profile: Profile
    advisory: bool = False
    evidence: str = field(default="", repr=False)

    def __str__(self) -> str:
        place = f" (at {self.pointer})" if self.pointer else ""
        return f"{self.rule}: {self.message}{place}. Fix: {self.remediation}"


class Configured(BaseModel):
    """Frozen, and refuses fields it does not know; in files its names are camelCase."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class _Off:
    """Takes false for `off`: in YAML that is what the word means where nobody put it in quotes."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        quoted = handler(source)
        written = core_schema.union_schema([quoted, core_schema.literal_schema([False])])
        return core_schema.no_info_before_validator_function(
            lambda value: "off" if value is False else value,
            quoted,
            json_schema_input_schema=written,
        )


OFF = _Off()


class NonRootImage(Configured):
    """Images known to run as this numeric user, so that `runAsNonRoot` cannot break them."""

    image: str = Field(
        description="repository pattern, `*` matches anything", examples=["rayproject/*"]
    )
    uid: int = Field(gt=0, description="the numeric user of the image")


class Injection(Configured):
    """The `inject` part of the policy file: what defaults look like where there is a choice."""

    ray_cluster: Literal["full", "marker"] = Field(
        "full",
        description="`marker` writes only the marker and node-ip-address into RayClusters; pods get the rest",
    )
    node_ip_address: Annotated[Literal["pod-ip", "fqdn", "off"], OFF] = Field(
        "pod-ip",
        description="`fqdn` names the head by its service where Ray can start that way, else the pod IP",
    )
    auth: Annotated[Literal["off", "token"], OFF] = Field(
        "off",
        description="`token` asks KubeRay for token authentication where the Ray version has it (2.52)",
    )
    non_root_images: tuple[NonRootImage, ...] = Field(
        (NonRootImage(image="rayproject/*", uid=1000),),
        description="images known to run as a numeric user",
    )
    opt_out_namespaces: tuple[str, ...] = Field(
        (),
        description='patterns of namespaces where `raywarden.io/inject: "false"` on a RayCluster is honored',
    )
    cluster_domain: str = Field(
        "cluster.local",
        pattern=r"^[a-z0-9.-]+$",
        description="the cluster's DNS domain; a running server does not change it",
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """Where a pod's init container gets its certificate: our image, the enrollment URL and the CA to trust (PEM)."""

    image: str
    url: str
    ca: str
    namespace: str
    port: int
    version: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision may rest on beside the object itself, gathered before the first rule runs.

    `size` is that of the review in bytes, where it came as text. `request` is the AdmissionRequest without its objects,
    for expressions alone. On UPDATE `stored` is the object as it is now, and `before` the view of it where it is a
    workload.
    """

    operation: str
    namespace: str
    user: str
    today: date
    signer: Signer
    groups: Collection[str] = ()
    namespace_state: NamespaceState = field(default_factory=NamespaceState)
    injection: Injection = field(default_factory=Injection)
    contract_hash: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    before: Workload | None = None
    stored: Mapping[str, Any] | None = None

    def only_marks(self, workload: Workload) -> bool:
        """`workload` is a new RayCluster that is only to be marked: its pods are completed one by one."""
        return (
            workload.kind == "RayCluster"
            and self.before is None
            and self.injection.ray_cluster == "marker"
        )

    def counterpart(self, pod: Pod) -> Pod | None:
        """The same pod in the object as stored; None on CREATE and for a group that is new."""
        return self.before.counterpart(pod) if self.before else None


class Rule(Configured):
    """What is refused. Fields are its parameters; the docstring, with `Why:` and `Fix:`, is its documentation.

    A rule looks at workloads, at what stands beside them, or at both.
    """

    id: ClassVar[str]
    profile: ClassVar[Profile]
    severity: ClassVar[Severity]
    # The lowest level of its findings, where some count before its own profile.
    from_level: ClassVar[Profile | None] = None

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Every violation in `workload`; pure."""
        return iter(())

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        """Every violation in `neighbour`; pure."""
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
        """A violation of this rule, at its own profile unless another is named."""
        level = self.profile if profile is None else profile
        return Violation(self.id, message, pointer, remediation, level, advisory, evidence)

    def unknown(self, message: str, pointer: Pointer, remediation: str) -> Violation:
        """A word to the author where a fact is missing, so that nobody takes silence for a yes."""
        return self.violation(message, pointer, remediation, advisory=True)


class Mutation(Configured):
    """A default we write where the author said nothing. `roles` are the pods it is for."""

    id: ClassVar[str]
    roles: ClassVar[frozenset[PodRole]] = frozenset({PodRole.HEAD, PodRole.WORKER, PodRole.CLIENT})

    @abstractmethod
    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Write the default through `draft`; yields warnings for the author.

        `workload` is the view of the object as it was sent; what other mutations wrote is in `draft` alone. Written
        twice, nothing changes; on UPDATE only what `facts.before` already had is written again, so that the spec
        KubeRay hashes never changes by our doing.
        """

    def pods(self, workload: Workload) -> Iterator[Pod]:
        """The pods of `workload` that this mutation is for; one without a container to run Ray in is none."""
        return (pod for pod in workload.pods if pod.role in self.roles and pod.ray_container)


def sticky(defaults: Mapping[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The part of `defaults` that may be written into an object of which `before` is the stored version.

    All of them where nothing was stored; else those that stand there already: what was stored without a default stays
    without it.
    """
    if before is None:
        return defaults
    kept: dict[str, Any] = {}
    for name, value in defaults.items():
        if isinstance(value, dict):
            if part := sticky(value, as_dict(before.get(name))):
                kept[name] = part
        elif before.get(name) == value:
            kept[name] = value
    return kept
