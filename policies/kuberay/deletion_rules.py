"""What KubeRay refuses in the `deletionStrategy` of a RayJob.

Source: `validateDeletionConfiguration`, `validateDeletionRules`, `validateLegacyDeletionPolicies`,
and the validation expressions of the CustomResourceDefinition.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import as_int
from policies.ray.operator import KubeRayOperator

_GATE = "RayJobDeletionPolicy"
_SHUTDOWN = "shutdownAfterJobFinishes"
# What is deleted first must not be deleted last.
_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
_OF_CLUSTER = ("DeleteCluster", "DeleteWorkers")
_LEGACY = ("onSuccess", "onFailure")

Refusals = Iterator[NotAccepted]


def deletion_refusals(
    spec: Mapping[str, Any], place: Pointer, autoscaling: bool, kuberay: KubeRayOperator
) -> Refusals:
    """Everything that is wrong with what is deleted after the job; `spec` is its spec."""
    shuts_down = spec.get(_SHUTDOWN) is True
    ttl = as_int(spec.get("ttlSecondsAfterFinished")) or 0
    if ttl > 0 and not shuts_down:
        message = f"KubeRay refuses ttlSecondsAfterFinished without {_SHUTDOWN}"
        yield NotAccepted(message, place / _SHUTDOWN, f"set {_SHUTDOWN}: true")
    where = place / "deletionStrategy"
    if not isinstance(spec.get("deletionStrategy"), dict):
        return
    if kuberay.is_off(_GATE):
        message = f"KubeRay refuses deletionStrategy without its feature gate {_GATE}"
        yield NotAccepted(message, where, "remove deletionStrategy")
        return
    strategy = as_dict(spec["deletionStrategy"])
    yield from _combination(strategy, where, shuts_down)
    selects = bool(as_dict(spec.get("clusterSelector")))
    for name in _LEGACY:
        if strategy.get(name) is None:
            continue
        policy = as_str(as_dict(strategy[name]).get("policy"))
        yield from _legacy(name, policy, where, selects, autoscaling)
        if shuts_down and policy == "DeleteNone":
            message = f"KubeRay refuses DeleteNone in {name} beside {_SHUTDOWN}"
            yield NotAccepted(message, where / name, f"remove {_SHUTDOWN}")
    rules = list(dict_items(strategy.get("deletionRules")))
    for index, rule in rules:
        yield from _rule(rule, where / "deletionRules" / index, selects, autoscaling)
    yield from _order(rules, where / "deletionRules")


def _combination(strategy: Mapping[str, Any], where: Pointer, shuts_down: bool) -> Refusals:
    """The two ways to write a strategy, of which KubeRay takes one."""
    legacy = [name for name in _LEGACY if strategy.get(name) is not None]
    if strategy.get("deletionRules"):
        if shuts_down:
            message = f"KubeRay refuses deletionRules beside {_SHUTDOWN}"
            yield NotAccepted(message, where / "deletionRules", f"remove {_SHUTDOWN}")
        if legacy:
            message = f"KubeRay refuses deletionRules beside {' and '.join(legacy)}"
            yield NotAccepted(message, where, f"remove {legacy[0]}, and write a rule in its place")
    elif len(legacy) < len(_LEGACY):
        message = (
            "KubeRay refuses deletionStrategy without deletionRules, or onSuccess and onFailure"
        )
        yield NotAccepted(message, where, "write deletionRules")


def _legacy(name: str, policy: str, where: Pointer, selects: bool, autoscaling: bool) -> Refusals:
    if not policy:
        message = f"KubeRay refuses {name} of deletionStrategy without policy"
        yield NotAccepted(message, where / name, "add policy")
    yield from _unfit(policy, f"in {name}", where / name / "policy", selects, autoscaling)


def _rule(rule: Mapping[str, Any], where: Pointer, selects: bool, autoscaling: bool) -> Refusals:
    condition = as_dict(rule.get("condition"))
    stated = [name for name in ("jobStatus", "jobDeploymentStatus") if condition.get(name)]
    if len(stated) != 1:
        message = (
            "KubeRay refuses a deletion rule without exactly one of jobStatus and "
            "jobDeploymentStatus"
        )
        yield NotAccepted(message, where / "condition", "write one of the two")
    policy = as_str(rule.get("policy"))
    yield from _unfit(policy, "in a deletion rule", where / "policy", selects, autoscaling)


def _unfit(policy: str, title: str, where: Pointer, selects: bool, autoscaling: bool) -> Refusals:
    """What a policy cannot delete."""
    if selects and policy in _OF_CLUSTER:
        message = f"KubeRay refuses {policy} {title} beside clusterSelector"
        yield NotAccepted(message, where, "set policy: DeleteSelf")
    elif autoscaling and policy == "DeleteWorkers":
        message = f"KubeRay refuses DeleteWorkers {title} of an autoscaling cluster"
        yield NotAccepted(message, where, "set policy: DeleteCluster")


def _order(rules: list[tuple[int, Mapping[str, Any]]], where: Pointer) -> Refusals:
    """Refusals that say the same twice, or delete the job before its cluster."""
    times: dict[tuple[str, str], dict[str, int]] = {}
    for index, rule in rules:
        condition, policy = as_dict(rule.get("condition")), as_str(rule.get("policy"))
        status = (
            as_str(condition.get("jobStatus")),
            as_str(condition.get("jobDeploymentStatus")),
        )
        same = times.setdefault(status, {})
        if policy in same:
            message = f"KubeRay refuses two deletion rules with {policy} and the same condition"
            yield NotAccepted(message, where / index, "remove one of the two rules")
            continue
        same[policy] = as_int(condition.get("ttlSeconds")) or 0
        for other in same:
            if _is_too_early(policy, other, same):
                first, last = sorted((policy, other), key=_ORDER.index)
                message = f"KubeRay refuses {last} before {first} for the same condition"
                remedy = f"write a ttlSeconds for {last} that is not below that for {first}"
                yield NotAccepted(message, where / index / "condition", remedy)


def _is_too_early(policy: str, other: str, times: Mapping[str, int]) -> bool:
    """True if one of the two, which must come last, comes first."""
    if policy == other or policy not in _ORDER or other not in _ORDER:
        return False
    first, last = sorted((policy, other), key=_ORDER.index)
    return times[last] < times[first]
