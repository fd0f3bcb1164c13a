"""One request in, one response out: the same for the HTTPS server, the command line and tests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from policies import evaluate
from policies.config import Policy
from policies.configured import Injection
from policies.documents.metadata import annotations_of, labels_of
from policies.documents.untyped import one_line
from policies.evaluate import Verdict
from policies.injection.contract import contract_hash
from policies.kuberay.as_written import AsWritten
from policies.model import Facts, Failure, Signer, Violation
from policies.mutate import Mutated, mutate
from policies.ray.workload import Workload
from webhook import __version__
from webhook.admission.wire import AdmissionRequest, AdmissionResponse
from webhook.ports import NamespaceStates
from webhook.settings import Settings

# The author of an object chooses how many violations it has and how long their messages are.
# People do not read beyond these limits, and without them an attacker could make the response,
# and the API server's audit log, as large as they like.
_MAX_VIOLATIONS_SHOWN = 50
_MAX_VIOLATION_CHARACTERS = 1000
# If all warnings of a request have more characters, the API server cuts each of them to 256 and
# drops the rest (`truncateAtTotalRunes`, apiserver `pkg/endpoints/filters/warning.go`).
_MAX_WARNING_CHARACTERS = 4096
_MORE = "... and {} more; raywarden review shows all of them"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, for the log and the metrics.

    It holds ids of rules and mutations, and no part of the object outside `response`.
    """

    response: AdmissionResponse
    denied: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    mutations: tuple[str, ...] = ()
    exempted: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


class Reviewer:
    """Gathers the facts for a request, lets `policies` decide, and builds the AdmissionResponse."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        signer: Callable[[], Signer],
        namespace_states: NamespaceStates,
        today: Callable[[], date],
    ) -> None:
        self._policy = policy
        self._signer = signer
        self._namespace_states = namespace_states
        self._today = today
        # What was last hashed, and its hash: both change rarely. Compared by identity, because
        # comparing or hashing a policy takes longer than the rest of gathering facts.
        self._hashed: tuple[Signer, Injection, str] | None = None

    def mutate(self, request: AdmissionRequest) -> Decision:
        """The JSON Patch with RayWarden's defaults.

        The request is always allowed: refusing objects is left to `validate`, which sees them
        after all mutating webhooks.
        """
        if request.object is None or request.sub_resource:
            return Decision(AdmissionResponse(request.uid, allowed=True))
        mutated = self.mutated(request)
        audit = {"mutations": ",".join(mutated.mutations)} if mutated.mutations else {}
        response = AdmissionResponse(
            request.uid,
            allowed=True,
            operations=mutated.compact_patch,
            warnings=_warnings(mutated.warnings),
            audit=audit,
        )
        return Decision(response, mutations=mutated.mutations, failed=mutated.failed)

    def validate(self, request: AdmissionRequest) -> Decision:
        """The verdict on the object as it would be stored."""
        # Deleting is never refused. A plain status update needs no review, because no rule trusts
        # `status`.
        if request.object is None or request.operation == "DELETE" or _changes_only_status(request):
            return Decision(AdmissionResponse(request.uid, allowed=True))
        verdict = self.verdict(request)
        response = AdmissionResponse(
            request.uid,
            allowed=not verdict.denied,
            message="\n".join(_shown(verdict.denied)),
            warnings=_warnings(verdict.warned),
            audit=_audit(verdict),
        )
        return Decision(
            response,
            denied=_rule_ids(verdict.denied),
            warned=_rule_ids(verdict.warned),
            exempted=_rule_ids(violation for violation, _ in verdict.exempted),
            failed=verdict.failed,
        )

    def mutated(self, request: AdmissionRequest) -> Mutated:
        """What the mutations do to the object, before it is encoded."""
        facts = self._facts(request, self._policy())
        return mutate(request.gvk, request.object or {}, facts)

    def verdict(self, request: AdmissionRequest, as_written: AsWritten | None = None) -> Verdict:
        """What the rules say about the object, before it is encoded.

        `as_written` is the manifest that it comes from, in a review before admission.
        """
        # Read the policy once per request: it may be replaced at any time.
        policy = self._policy()
        facts = self._facts(request, policy, as_written)
        return evaluate.validate(request.gvk, request.object or {}, policy, facts)

    def _facts(
        self, request: AdmissionRequest, policy: Policy, as_written: AsWritten | None = None
    ) -> Facts:
        stored = request.old_object if request.operation == "UPDATE" else None
        before = None if stored is None else Workload.of(request.gvk, stored)
        signer = self._signer()
        return Facts(
            operation=request.operation,
            # The API server sets the request's namespace; the author writes the one in the object.
            namespace=request.namespace,
            user=request.user_info.username,
            groups=request.user_info.groups,
            namespace_state=self._namespace_states.state_of(request.namespace),
            today=self._today(),
            signer=signer,
            injection=policy.inject,
            network_isolation=policy.network_isolation,
            contract_hash=self._hash_of(signer, policy.inject),
            before=before,
            stored=stored,
            operators=policy.operators,
            as_written=as_written,
            size=request.size,
            # Only the policy's own CEL expressions read the request, so it is built only for them.
            request=request.without_objects if policy.expressions else {},
        )

    def _hash_of(self, signer: Signer, injection: Injection) -> str:
        known = self._hashed
        if known is not None and known[0] is signer and known[1] is injection:
            return known[2]
        digits = contract_hash(signer, injection)
        self._hashed = (signer, injection, digits)
        return digits


def _changes_only_status(request: AdmissionRequest) -> bool:
    """Whether this is a request to the `status` subresource that leaves labels and annotations.

    A status request may write them, too, on Pods, Services, Ingresses and Namespaces
    (`podStatusStrategy.PrepareForUpdate` in Kubernetes, and similar), and rules do read them.
    """
    if request.sub_resource != "status":
        return False
    new, old = request.object or {}, request.old_object or {}
    return labels_of(new) == labels_of(old) and annotations_of(new) == annotations_of(old)


def _rule_ids(violations: Iterable[Violation]) -> tuple[str, ...]:
    """The ids of the violated rules, each id once."""
    return tuple(dict.fromkeys(violation.rule for violation in violations))


def _shown(violations: tuple[Violation, ...]) -> list[str]:
    """Violations as lines for a terminal: bounded length, bounded number."""
    lines = list(map(_line, violations[:_MAX_VIOLATIONS_SHOWN]))
    if len(violations) > _MAX_VIOLATIONS_SHOWN:
        lines.append(_MORE.format(len(violations) - _MAX_VIOLATIONS_SHOWN))
    return lines


def _warnings(problems: tuple[Violation, ...] | tuple[str, ...]) -> list[str]:
    """As many problems as the API server passes on, each in full."""
    lines: list[str] = []
    left = _MAX_WARNING_CHARACTERS - len(_MORE)
    for problem in problems:
        line = _line(problem)
        left -= len(line)
        if left < 0:
            lines.append(_MORE.format(len(problems) - len(lines)))
            break
        lines.append(line)
    return lines


def _line(problem: Violation | str) -> str:
    """The problem without control characters, cut if it is long."""
    return one_line(str(problem)[:_MAX_VIOLATION_CHARACTERS])


def _audit(verdict: Verdict) -> dict[str, str]:
    """The audit annotations; an annotation with nothing to say is left out."""
    annotations = {}
    if violations := _rule_ids(verdict.audited):
        annotations["violations"] = ",".join(violations)
    exemptions = [f"{violation.rule}: {reason}" for violation, reason in verdict.exempted]
    if exemptions:
        annotations["exempted"] = "; ".join(dict.fromkeys(exemptions))
    return annotations


def signer_of(settings: Settings, ca: bytes) -> Signer:
    """How pods reach the enrollment server, which has the CA `ca` (PEM)."""
    return Signer(
        image=settings.enroll_image,
        url=settings.signer_url,
        ca=ca.decode(),
        namespace=settings.namespace,
        port=urlsplit(settings.signer_url).port or 443,
        version=__version__,
    )
