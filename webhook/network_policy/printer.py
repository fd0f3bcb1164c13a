"""Prints the policies of targets to stdout, and what the user must know to stderr."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ISOLATION_ANNOTATION, IsolationMode
from policies.network.written import policies_for
from webhook import __version__
from webhook.network_policy.choices import Choices
from webhook.network_policy.document import document
from webhook.network_policy.targets import NoTarget, PolicyTarget

_PRINTED, _NOTHING_PRINTED, _UNREADABLE = 0, 1, 2
_IS_MANAGED = (
    "RayWarden writes policies for this RayCluster. NetworkPolicies add up, so these can only "
    "open more"
)


@dataclass(slots=True)
class Printer:
    """What was printed so far, and what could not be read; `command` is what the user ran."""

    choices: Choices
    command: str
    printed: int = 0
    problems: int = 0
    _noted: set[str] = field(default_factory=set)

    @property
    def exit_code(self) -> int:
        if self.problems:
            return _UNREADABLE
        return _PRINTED if self.printed else _NOTHING_PRINTED

    def problem(self, text: str) -> None:
        """Say that something could not be read."""
        self.problems += 1
        print(f"raywarden: {text}", file=sys.stderr)

    def add(
        self,
        target: PolicyTarget | NoTarget,
        infrastructure: Infrastructure,
        notes: Sequence[str] = (),
    ) -> None:
        """Print the policies of a target; `notes` are about the infrastructure."""
        if isinstance(target, NoTarget):
            self._note(f"skipped {target.title}: {target.why}")
            return
        isolation = self.choices.isolation_of(target)
        if not target.has_operator:
            infrastructure, notes = replace(infrastructure, operators=()), ()
        for text in notes:
            self._note(text)
        for text in target.notes:
            self._note(f"{target}: {text}")
        notes = [*target.notes, *notes]
        if ISOLATION_ANNOTATION in target.annotations:
            self._note(f"{target}: {_IS_MANAGED}")
            notes.append(_IS_MANAGED)
        if self.choices.egress and isolation.mode is not IsolationMode.DENY_ALL:
            self._note(f"{target}: --egress has no effect in the mode {isolation.mode}")
        made_for = f"{target}, mode {isolation.mode}, printed by RayWarden {__version__}:"
        header = [made_for, self.command, *(f"Note: {text}." for text in notes)]
        names = target.policy_names
        traffic, members = target.traffic, target.members
        for policy in policies_for(traffic, isolation, infrastructure, names, members):
            print(document(policy, header), end="")
            self.printed += 1

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            print(f"note: {text}", file=sys.stderr)
