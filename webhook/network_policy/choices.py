"""What the user of `raywarden network-policy` chose, and what it means for a cluster."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from policies.configured import NetworkIsolation
from policies.network.allowance import Allowance, AllowanceError
from policies.network.isolation import (
    ISOLATION_ANNOTATION,
    MANAGED,
    ClusterIsolation,
    IsolationMode,
)
from webhook.network_policy.targets import PolicyTarget
from webhook.settings import SetupError

# Where KubeRay's documentation installs the operator.
USUAL_OPERATOR = "kuberay-system"
ASSUMED_OPERATOR = (
    f"KubeRay's operator is assumed to run in {USUAL_OPERATOR}; --operator-namespace names another "
    "namespace"
)


class ModeChoice(StrEnum):
    """The modes for which there are policies to print."""

    MEMBERS = "members"
    DENY_INGRESS = "deny-ingress"
    DENY_ALL = "deny-all"


@dataclass(frozen=True, slots=True)
class Choices:
    """The options about who is let in and out.

    `configured` is that part of a policy file; None without one. `mode` is None if it was not
    chosen.
    """

    mode: ModeChoice | None = None
    allow_from: Sequence[str] = ()
    monitoring: Sequence[str] = ()
    egress: Sequence[str] = ()
    operators: Sequence[str] = ()
    policy_file: str = ""
    configured: NetworkIsolation | None = field(default=None, repr=False)

    def isolation_of(self, target: PolicyTarget) -> ClusterIsolation:
        """What holds for a cluster; raises SetupError."""
        # Without a policy file, the author of the manifest is the one who decides.
        everywhere = ClusterIsolation(IsolationMode.DENY_INGRESS, authors_may_allow=True)
        if self.configured:
            everywhere = self.configured.of_namespace(target.namespace)
        if self.mode:
            everywhere = replace(everywhere, mode=IsolationMode.named(self.mode))
        if everywhere.mode is IsolationMode.OFF:
            raise SetupError(
                f"{target}: the mode in {self.policy_file} is off: choose one with --mode"
            )
        isolation = everywhere.of_cluster({ISOLATION_ANNOTATION: MANAGED, **target.annotations})
        return replace(
            isolation,
            allow_from=(*isolation.allow_from, *_parsed("--allow-from", self.allow_from)),
            monitoring=(*isolation.monitoring, *_parsed("--monitoring", self.monitoring)),
            egress=(*isolation.egress, *_parsed("--egress", self.egress)),
        )

    def command(self, sources: Sequence[str], namespace: str) -> str:
        """The command that the user ran."""
        words = ["raywarden", "network-policy", *sources]
        if namespace:
            words += ["--namespace", namespace]
        if self.mode:
            words += ["--mode", str(self.mode)]
        if self.policy_file:
            words += ["--policy", self.policy_file]
        lists = {
            "--allow-from": self.allow_from,
            "--monitoring": self.monitoring,
            "--egress": self.egress,
            "--operator-namespace": self.operators,
        }
        for option, values in lists.items():
            for value in values:
                words += [option, value]
        return shlex.join(words)


def _parsed(option: str, texts: Sequence[str]) -> tuple[Allowance, ...]:
    parse = Allowance.egress if option == "--egress" else Allowance.ingress
    try:
        return tuple(map(parse, texts))
    except AllowanceError as error:
        raise SetupError(f"{option}: {error}") from None
