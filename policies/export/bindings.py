"""The bindings of an exported rule: in which namespaces it denies, warns or goes into the log."""

from collections.abc import Iterator
from typing import Any

from policies.config import Policy
from policies.model import NAMESPACE_LABELS, Mode, Profile

# The second one selects what an export wrote, and not the policy of `deploy/base`.
LABELS = {"app.kubernetes.io/name": "raywarden", "raywarden.io/exported": "true"}
_ACTIONS = {Mode.ENFORCE: "Deny", Mode.WARN: "Warn", Mode.AUDIT: "Audit"}
Selector = list[dict[str, Any]]


def bindings(name: str, rule: str, level: Profile, policy: Policy) -> Iterator[dict[str, Any]]:
    """The bindings of the policy called `name`; none if the rule is off.

    Where the rule denies, it does not warn as well.
    """
    selectors = _selectors(rule, level, policy)
    actions = {mode: [_ACTIONS[mode]] for mode in selectors}
    denied, warned = selectors.get(Mode.ENFORCE), selectors.get(Mode.WARN)
    # The API server evaluates a policy once for each binding.
    if selectors.get(Mode.AUDIT) == [] and [] in (denied, warned):
        del selectors[Mode.AUDIT]
        for mode in selectors:
            actions[mode].append(_ACTIONS[Mode.AUDIT])
    if denied == []:
        selectors.pop(Mode.WARN, None)
    elif denied and warned is not None:
        stricter = [str(profile) for profile in Profile if profile >= level]
        selectors[Mode.WARN] = [*warned, _expression(Mode.ENFORCE, "NotIn", stricter)]
    for mode, selector in selectors.items():
        yield {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": f"{name}-{mode}", "labels": dict(LABELS)},
            "spec": {
                "policyName": name,
                "validationActions": actions[mode],
                **({"matchResources": _match(selector)} if selector else {}),
            },
        }


def _selectors(rule: str, level: Profile, policy: Policy) -> dict[Mode, Selector]:
    """What a namespace must have for each mode; nothing means all namespaces."""
    settings = policy.file.rules.get(rule)
    if settings and settings.mode:
        return {mode: [] for mode in Mode if mode == settings.mode}
    weaker = [str(profile) for profile in Profile if profile < level]
    selectors: dict[Mode, Selector] = {}
    for mode in Mode:
        # A label that names no profile counts as the strictest, as in `Policy.modes`.
        stricter = [_expression(mode, "NotIn", weaker)] if weaker else []
        if level > policy.floor(mode):
            selectors[mode] = [_expression(mode, "Exists"), *stricter]
        else:
            selectors[mode] = stricter if policy.file.namespaces_may_loosen else []
    return selectors


def _expression(mode: Mode, operator: str, values: list[str] | None = None) -> dict[str, Any]:
    expression: dict[str, Any] = {"key": NAMESPACE_LABELS[mode], "operator": operator}
    return {**expression, "values": values} if values else expression


def _match(selector: Selector) -> dict[str, Any]:
    return {"namespaceSelector": {"matchExpressions": selector}}
