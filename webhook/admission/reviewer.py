"""One request, one response: the same for the HTTPS server, the command line and the tests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from policies import evaluate
from policies.config import Policy
from policies.documents.untyped import as_dict
from policies.evaluate import Failure, Mutated, Verdict
from policies.injection.contract import contract_hash
from policies.model import Facts, Signer, Violation
from policies.ray.workload import Workload
from webhook.admission.wire import AdmissionRequest, AdmissionResponse
from webhook.ports import NamespaceStates

# Beyond these an answer helps nobody, and an attacker could make it as large as he likes.
_MAX_SHOWN = 50
_MAX_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, for the log and the metrics; no part of the object is in it."""

    response: AdmissionResponse
    denied: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    mutations: tuple[str, ...] = ()
    exempted: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()


class Reviewer:
    """Gathers the facts for a request, lets `policies` decide, and puts the decision into an AdmissionResponse."""

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
        self._hash_of = lru_cache(maxsize=4)(contract_hash)

    def mutate(self, request: AdmissionRequest) -> Decision:
        """The defaults to write. Always allowed: what is wrong is for `validate` to refuse."""
        if request.object is None or request.sub_resource:
            return Decision(AdmissionResponse(request.uid, allowed=True))
        mutated = self.mutated(request)
        audit = {"mutations": ",".join(mutated.mutations)} if mutated.mutations else {}
        response = AdmissionResponse(
            request.uid,
            True,
            operations=mutated.operations,
            warnings=_shown(mutated.warnings),
            audit=audit,
        )
        return Decision(response, mutations=mutated.mutations, failed=mutated.failed)

    def validate(self, request: AdmissionRequest) -> Decision:
        """The verdict over the object as it would be stored."""
        # `status` is never trusted by any rule; deleting is never refused.
        if request.object is None or request.operation == "DELETE" or _says_only_how_it_is(request):
            return Decision(AdmissionResponse(request.uid, allowed=True))
        verdict = self.verdict(request)
        response = AdmissionResponse(
            request.uid,
            allowed=not verdict.denied,
            message="\n".join(_shown(verdict.denied)),
            warnings=_shown(verdict.warned),
            audit=_audit(verdict),
        )
        return Decision(
            response,
            denied=_rules(verdict.denied),
            warned=_rules(verdict.warned),
            exempted=_rules(violation for violation, _ in verdict.exempted),
            failed=verdict.failed,
        )

    def mutated(self, request: AdmissionRequest) -> Mutated:
        return evaluate.mutate(
            request.gvk, request.object or {}, self._facts(request, self._policy())
        )

    def verdict(self, request: AdmissionRequest) -> Verdict:
        # Once a request: between two of them the policy may be another.
        policy = self._policy()
        return evaluate.validate(
            request.gvk, request.object or {}, policy, self._facts(request, policy)
        )

    def _facts(self, request: AdmissionRequest, policy: Policy) -> Facts:
        before = request.old_object if request.operation == "UPDATE" else None
        signer = self._signer()
        return Facts(
            operation=request.operation,
            # The request's namespace is the true one; the one in the object is whatever its author wrote.
            namespace=request.namespace,
            user=request.user_info.username,
            groups=request.user_info.groups,
            namespace_state=self._namespace_states.state_of(request.namespace),
            today=self._today(),
            signer=signer,
            injection=policy.inject,
            contract_hash=self._hash_of(signer, policy.inject),
            before=Workload.of(request.gvk, before) if before is not None else None,
            stored=before,
            size=request.size,
            request=request.plain if policy.expressions else {},
        )


def _says_only_how_it_is(request: AdmissionRequest) -> bool:
    """A request to `status` that changes no more: on Pods, Services, Ingresses and Namespaces, labels and annotations
    can be written there, too (`podStatusStrategy.PrepareForUpdate` of Kubernetes and its like).
    """
    new, old = (
        as_dict(as_dict(one).get("metadata")) for one in (request.object, request.old_object)
    )
    return request.sub_resource == "status" and all(
        as_dict(new.get(name)) == as_dict(old.get(name)) for name in ("labels", "annotations")
    )


def _rules(violations: Iterable[Violation]) -> tuple[str, ...]:
    """The rules violated, each once."""
    return tuple(dict.fromkeys(violation.rule for violation in violations))


def _shown(problems: tuple[Violation, ...] | tuple[str, ...]) -> list[str]:
    """Problems as text for a terminal: no control characters, each of bounded length, the rest counted."""
    lines = [_line(str(problem)[:_MAX_CHARACTERS]) for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        lines.append(f"... and {len(problems) - _MAX_SHOWN} more")
    return lines


def _line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _audit(verdict: Verdict) -> dict[str, str]:
    annotations = {
        "violations": ",".join(dict.fromkeys(violation.rule for violation in verdict.audited)),
        "exempted": "; ".join(
            dict.fromkeys(f"{violation.rule}: {reason}" for violation, reason in verdict.exempted)
        ),
    }
    return {name: value for name, value in annotations.items() if value}
