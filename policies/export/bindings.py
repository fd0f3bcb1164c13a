"""The bindings of an exported rule: in which namespaces it denies, warns or goes into the log."""

from collections.abc import Iterator
from typing import Any

from policies.config import Policy
from policies.model import NAMESPACE_LABELS, Mode, Profile

_ACTIONS = {Mode.ENFORCE: "Deny", Mode.WARN: "Warn", Mode.AUDIT: "Audit"}
Selector = list[dict[str, Any]]


def bindings(name: str, rule: str, level: Profile, policy: Policy) -> Iterator[dict[str, Any]]:
    """The bindings of the policy called `name`; none if the rule is off.

    Where the rule denies, it does not warn as well.
    """
    selectors = _selectors(rule, level, policy)
    denied = selectors.get(Mode.ENFORCE)
    if denied == []:
        selectors.pop(Mode.WARN, None)
    elif denied and Mode.WARN in selectors:
        stricter = [str(profile) for profile in Profile if profile >= level]
        selectors[Mode.WARN] += [_expression(Mode.ENFORCE, "NotIn", stricter)]
    for mode, selector in selectors.items():
        yield {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {
                "name": f"{name}-{mode}",
                "labels": {"app.kubernetes.io/name": "raywarden"},
            },
            "spec": {
                "policyName": name,
                "validationActions": [_ACTIONS[mode]],
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
