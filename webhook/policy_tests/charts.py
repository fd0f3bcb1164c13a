"""Reviews manifests and objects for tests in Python, with the arguments of one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from policies.config import Policy
from policies.problems import PolicyError
from policies.ray.operator import KubeRayOperator
from webhook.manifests.read import (
    Manifest,
    SkippedFile,
    UnreadableManifest,
    is_object,
    objects,
    read,
)
from webhook.offline import offline_reviewer
from webhook.policy.file import load_policy
from webhook.policy_tests.comparison import CaseOutcome
from webhook.policy_tests.request import NewReviewer, Sender, create, update
from webhook.policy_tests.results import Effect, effect_of
from webhook.policy_tests.sources import UnreadableSourceError
from webhook.review.finding import ReviewFinding
from webhook.settings import SetupError, from_environment

Document = Mapping[str, Any]
# A path, the text of manifests, one object, or objects.
Manifests = str | bytes | Path | Document | Iterable[Document]
# A path, or the content of a policy file; None is the built-in policy.
PolicySource = str | Path | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Admission:
    """What admission decides about an object; `object` is the object as it would be stored."""

    allowed: bool
    object: dict[str, Any]
    mutations: tuple[str, ...]
    violations: tuple[ReviewFinding, ...]

    @property
    def denied(self) -> tuple[str, ...]:
        """The rules that deny the object, each once."""
        return _rules(self.violations, Effect.DENIES)

    @property
    def warned(self) -> tuple[str, ...]:
        """The rules that warn, each once."""
        return _rules(self.violations, Effect.WARNS)


class Review:
    """The fixture `raywarden_review`."""

    def __call__(
        self,
        manifests: Manifests,
        *,
        policy: PolicySource = None,
        namespace: str = "default",
        user: str = "",
        groups: Sequence[str] = (),
        cluster: Manifests = (),
        complete: bool = False,
        kuberay: str = "",
        today: date | None = None,
    ) -> list[ReviewFinding]:
        """The denials and warnings for manifests, and for what KubeRay creates from them.

        `namespace` is the namespace of manifests that name none. `cluster` are further objects
        that exist; with `complete`, there are no others. Raises ValueError if something cannot be
        read.
        """
        sender = _sender(policy, namespace, user, groups, cluster, complete, kuberay, today)
        try:
            reviewed = create(_new_reviewer(), sender, _read(manifests))
        except UnreadableSourceError as error:
            raise ValueError(str(error)) from None
        return [finding for finding in CaseOutcome(reviewed).findings if finding.counts]


class Admit:
    """The fixture `raywarden_admit`."""

    def __call__(
        self,
        object: Document,
        *,
        policy: PolicySource = None,
        namespace: str = "default",
        user: str = "",
        groups: Sequence[str] = (),
        operation: str = "",
        old: Document | None = None,
        cluster: Manifests = (),
        complete: bool = False,
        kuberay: str = "",
        today: date | None = None,
    ) -> Admission:
        """The decision about one object, without what KubeRay would create from it.

        The operation is UPDATE if there is an `old` object, as it is stored; else CREATE. Raises
        ValueError.
        """
        if operation not in ("", "CREATE" if old is None else "UPDATE"):
            raise ValueError("the operation is CREATE, or UPDATE with the old object")
        sender = _sender(policy, namespace, user, groups, cluster, complete, kuberay, today)
        manifests = _read(object)
        try:
            if old is None:
                reviewed = create(_new_reviewer(), sender, manifests, derive=False)
            else:
                stored = [dict(old)]
                reviewed = update(_new_reviewer(), sender, manifests, stored, mutated=False)
        except UnreadableSourceError as error:
            raise ValueError(str(error)) from None
        if not reviewed:
            return Admission(True, dict(object), (), ())
        outcome = CaseOutcome(reviewed)
        decided = reviewed[0].outcome
        return Admission(decided.allowed, decided.document, decided.mutations, outcome.findings)


def _new_reviewer() -> NewReviewer:
    return partial(offline_reviewer, from_environment())


def _sender(
    policy: PolicySource,
    namespace: str,
    user: str,
    groups: Sequence[str],
    cluster: Manifests,
    complete: bool,
    kuberay: str,
    today: date | None,
) -> Sender:
    operator = KubeRayOperator.of_release(kuberay)
    if kuberay and operator is None:
        raise ValueError(f"kuberay={kuberay!r} is not a version: write 1.6 or 1.6.0")
    return Sender(
        policy=_policy(policy),
        user=user,
        groups=groups,
        namespace=namespace,
        cluster=[manifest.document for manifest in _read(cluster)],
        complete=complete,
        kuberay=operator or KubeRayOperator(),
        today=today,
    )


def _policy(source: PolicySource) -> Policy:
    try:
        if isinstance(source, Mapping):
            return Policy.parse(dict(source))
        return load_policy(Path(source) if source is not None else None)
    except (PolicyError, SetupError) as error:
        raise ValueError(str(error)) from None


def _read(manifests: Manifests) -> list[Manifest]:
    """The objects; raises ValueError."""
    results: Iterable[Any]
    if isinstance(manifests, bytes):
        results = objects("manifests", manifests)
    elif isinstance(manifests, str) and "\n" in manifests:
        results = objects("manifests", manifests.encode())
    elif isinstance(manifests, str | Path):
        results = read(str(manifests))
    else:
        documents = [manifests] if isinstance(manifests, Mapping) else list(manifests)
        results = list(map(_in_python, documents))
    found = []
    for result in results:
        if isinstance(result, UnreadableManifest):
            raise ValueError(f"{result.source}: {result.why}")
        if not isinstance(result, SkippedFile):
            found.append(result)
    return found


def _in_python(document: Document) -> Manifest:
    if not is_object(document):
        raise ValueError("not a Kubernetes object: set apiVersion and kind")
    return Manifest("object", 1, dict(document))


def _rules(findings: Sequence[ReviewFinding], effect: Effect) -> tuple[str, ...]:
    rules = (finding.rule for finding in findings if effect_of(finding) is effect)
    return tuple(dict.fromkeys(rules))
