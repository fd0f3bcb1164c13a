"""A quota that has room for the Ray objects of its namespace."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from policies.documents.untyped import as_dict, dict_items
from policies.ray.workload import Group, Kind, Workload

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,9})?)(m|[kMGTP]|[KMGTP]i)?")
_POWERS = {prefix: power for power, prefix in enumerate("kMGTP", 1)}
_GIBI = 1024**3
_REQUESTS = "requests."
_PREFIX = re.compile(r"^(requests|limits)\.")
KIND = "ResourceQuota"

# Amounts by the name of the resource, and of pods.
Needs = Mapping[str, Fraction]
_MOST = 10_000


def needs(documents: Iterable[Mapping[str, Any]]) -> Needs:
    """What the Ray objects among `documents` may ask for: as many pods as their groups can have."""
    needed: dict[str, Fraction] = defaultdict(Fraction)
    for document in documents:
        workload = Workload.of(Kind.of(document), document)
        cluster = workload.cluster if workload else None
        for group in cluster.groups if cluster else ():
            _add(needed, group)
    return needed


def with_room(quota: Mapping[str, Any], needed: Needs) -> dict[str, Any]:
    """The ResourceQuota, each limit raised to what is needed."""
    hard = {name: _raised(name, text, needed) for name, text in quota["spec"]["hard"].items()}
    return {**quota, "spec": {"hard": hard}}


def missing_limits(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """The limits of memory and of devices that `wanted` has and the quota `existing` has not.

    None if it has scopes, because then it may not count all pods.
    """
    spec = as_dict(existing.get("spec"))
    if spec.get("scopes") or spec.get("scopeSelector"):
        return {}
    limited = {_PREFIX.sub("", str(name)) for name in as_dict(spec.get("hard"))}
    return {
        name: value
        for name, value in wanted["spec"]["hard"].items()
        if (name == "memory" or name.startswith(_REQUESTS)) and _PREFIX.sub("", name) not in limited
    }


def _add(needed: dict[str, Fraction], group: Group) -> None:
    pods = 1
    if group.name != "headgroup":
        most = [_count(group.raw.get(name)) for name in ("maxReplicas", "minReplicas", "replicas")]
        pods = max(most) * max(1, _count(group.raw.get("numOfHosts")))
    needed["pods"] += pods
    for _, container in dict_items(group.pod.spec.get("containers")):
        resources = as_dict(container.get("resources"))
        asked = {**as_dict(resources.get("limits")), **as_dict(resources.get("requests"))}
        for name, quantity in asked.items():
            needed[str(name)] += pods * _amount(quantity)


def _raised(name: str, text: str, needed: Needs) -> str:
    amount = needed.get(name.removeprefix(_REQUESTS), Fraction(0))
    if amount <= _amount(text):
        return text
    if name == "memory":
        return f"{-(-amount // _GIBI)}Gi"
    return str(-(-amount // 1))


def _count(value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return min(max(value, 0), _MOST) if is_count else 0


def _amount(quantity: Any) -> Fraction:
    """A quantity of Kubernetes; 0 if it is none."""
    match = _QUANTITY.fullmatch(str(quantity)[:40])
    if match is None:
        return Fraction(0)
    number, suffix = Fraction(match[1]), match[2] or ""
    if suffix == "m":
        return number / 1000
    base = 1024 if suffix.endswith("i") else 1000
    power = _POWERS[suffix[0].replace("K", "k")] if suffix else 0
    return number * Fraction(base**power)
