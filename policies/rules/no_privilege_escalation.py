"""Ray's processes cannot gain privileges."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.harmless import Harmless
from policies.documents.untyped import str_items
from policies.injection.security_context import EffectiveSecurityContext, effective_contexts
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

# Pod Security Standards, restricted.
ALLOWED_CAPABILITY = "NET_BIND_SERVICE"


class NoPrivilegeEscalation(Rule):
    """Refuses containers that may gain privileges or that keep capabilities.

    RayWarden sets `allowPrivilegeEscalation` and `capabilities` itself if the author did not.
    Why: Ray's images include passwordless sudo. With `allowPrivilegeEscalation: false`, sudo does
    not work.
    Fix: set `allowPrivilegeEscalation: false` and `capabilities: {drop: [ALL]}`.
    """

    id: ClassVar[str] = "no-privilege-escalation"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # Most containers of a workload have equal contexts.
        harmless = Harmless()
        for context in effective_contexts(workload, facts):
            own = context.own
            # Asked of each: `false` equals 0, which the API server does not accept.
            if own in harmless and own.get("allowPrivilegeEscalation") is False:
                continue
            findings = list(self._check_context(context))
            yield from findings
            if not findings:
                harmless.remember(own)

    def _check_context(self, context: EffectiveSecurityContext) -> Iterator[Violation]:
        if context.own.get("allowPrivilegeEscalation") is not False:
            place = context.pointer / "allowPrivilegeEscalation"
            message = f"{context.title} may gain privileges"
            yield self.violation(message, place, "set allowPrivilegeEscalation: false")
        if not context.drops_all:
            place = context.pointer / "capabilities"
            message = f"{context.title} does not drop all capabilities"
            yield self.violation(message, place, "set capabilities: {drop: [ALL]}")
        for index, name in str_items(context.capabilities.get("add")):
            if name.upper().removeprefix("CAP_") != ALLOWED_CAPABILITY:
                place = context.pointer / "capabilities" / "add" / index
                message = f"{context.title} adds the capability {name}, which is not allowed"
                yield self.violation(message, place, f"remove {name} from add")
