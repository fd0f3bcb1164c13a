"""Ray's processes get no more rights than they start with."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.untyped import str_items
from policies.injection.security_context import final_contexts
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

# Pod Security Standards, restricted.
_MAY_BE_ADDED = "NET_BIND_SERVICE"


class NoPrivilegeEscalation(Rule):
    """Refuses containers that may gain rights: allowPrivilegeEscalation not false, capabilities not dropped.

    RayWarden writes both itself where the author said nothing.
    Why: Ray's images have a passwordless sudo; with `allowPrivilegeEscalation: false` it is dead.
    Fix: `allowPrivilegeEscalation: false` and `capabilities: {drop: [ALL]}`.
    """

    id: ClassVar[str] = "no-privilege-escalation"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for context in final_contexts(workload, facts):
            if context.own.get("allowPrivilegeEscalation") is not False:
                pointer = context.pointer / "allowPrivilegeEscalation"
                message = f"{context.title} may gain privileges"
                yield self.violation(message, pointer, "write allowPrivilegeEscalation: false")
            if not context.drops_all:
                pointer = context.pointer / "capabilities"
                message = f"{context.title} does not drop all capabilities"
                yield self.violation(message, pointer, "write capabilities: {drop: [ALL]}")
            for index, name in str_items(context.capabilities.get("add")):
                if name.upper().removeprefix("CAP_") != _MAY_BE_ADDED:
                    pointer = context.pointer / "capabilities" / "add" / index
                    message = f"{context.title} adds the capability {name}, where none is allowed"
                    yield self.violation(message, pointer, f"delete {name} from add")
