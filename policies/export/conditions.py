"""Which requests an exported rule judges at all: match conditions, with the exemptions."""

from collections.abc import Sequence
from datetime import timedelta

from policies.config import Exemption, Policy
from policies.export.text import cel, listed, literal, matches_any
from policies.export.view import KUBERAY_KINDS
from policies.ray.membership import JOB_CONTROLLERS
from policies.ray.workload import LABEL_PREFIXES

# Cheap, because it is evaluated for every pod of the cluster. `variables.role` is exact.
_MAY_BE_RAY = """
object.kind in $kinds || [object, oldObject].exists(o, o != null && [
  o.kind == "Pod" ? o : o.kind == "CronJob" ? o.spec.jobTemplate.spec.template : o.spec.template
].exists(t, size(t.?metadata.?labels.orValue({})) > 200
  || t.?metadata.?labels.orValue({}).exists(k, $prefixes.exists(p, k.startsWith(p)))
  || [t.?spec.?containers.orValue([]), t.?spec.?initContainers.orValue([])].exists(l,
    size(l) <= 100 && l.exists(c, [c.?command.orValue([]), c.?args.orValue([])].exists(w,
      size(w) <= 200 && w.exists(s, s.contains("start")))))))
"""
# As the webhooks: a change of finalizers or status takes nothing away from the protection.
_CHANGED = """
request.operation != "UPDATE" || object.?spec != oldObject.?spec
|| object.metadata.?labels != oldObject.metadata.?labels
|| object.metadata.?annotations != oldObject.metadata.?annotations
|| object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences
"""
# Nothing may keep KubeRay from emptying Redis when a RayCluster goes: `only_ends_something`.
_CLEANS_UP = """
!(object.kind in ["Job", "Pod"]
&& [object.kind == "Pod" ? object : object.spec.template].exists(t,
  t.?metadata.?labels[?"ray.io/node-type"].orValue("") == "redis-cleanup"
  && t.?metadata.?labels[?"ray.io/cluster"].orValue("") != ""
  && object.metadata.?ownerReferences.orValue([]).exists(o,
    o.?controller.orValue(false) == true && (object.kind == "Pod"
      ? o.kind == "Job" && o.apiVersion.startsWith("batch/")
        && request.userInfo.username in $controllers
      : o.kind == "RayCluster" && o.apiVersion.startsWith("ray.io/")
        && o.name == t.metadata.labels["ray.io/cluster"]
        && authorizer.group("ray.io").resource("rayclusters").subresource("status")
          .namespace(request.namespace).check("update").allowed()))))
"""
# The API server writes both times itself. CEL has no clock.
_ENDED = """
!([object.metadata.?creationTimestamp.orValue(null)]
  + object.metadata.?managedFields.orValue([]).map(f, f.?time.orValue(null)))
.exists(t, t != null && timestamp(t) >= timestamp($end))
"""


def conditions(rule: str, policy: Policy) -> list[dict[str, str]]:
    """The match conditions of the rule; all must be true."""
    kinds, prefixes = listed(KUBERAY_KINDS), listed(LABEL_PREFIXES)
    named = {
        "may-be-ray": cel(_MAY_BE_RAY, kinds=kinds, prefixes=prefixes),
        "relevant-fields-changed": cel(_CHANGED),
        "is-no-clean-up-of-redis": cel(_CLEANS_UP, controllers=listed(JOB_CONTROLLERS)),
    }
    for number, exemption in enumerate(policy.file.exemptions, 1):
        if not exemption.rules or rule in exemption.rules:
            named[f"exemption-{number}"] = f"!({_covers(exemption)})"
    return [{"name": name, "expression": expression} for name, expression in named.items()]


def _covers(exemption: Exemption) -> str:
    """The request is exempt."""
    parts = [
        _one_of(["request.namespace"], exemption.namespaces),
        _one_of([_metadata("name"), _metadata("generateName")], exemption.names),
        _one_of(["request.userInfo.username"], exemption.users),
    ]
    if exemption.until:
        end = f"{exemption.until + timedelta(days=1)}T00:00:00Z"
        parts.append(f"({cel(_ENDED, end=literal(end))})")
    return " && ".join(part for part in parts if part) or "true"


def _metadata(field: str) -> str:
    return f'object.metadata.?{field}.orValue("")'


def _one_of(texts: Sequence[str], patterns: Sequence[str]) -> str:
    """One of the texts matches a pattern; empty if there is no pattern."""
    if not patterns:
        return ""
    return f"({' || '.join(matches_any(text, patterns) for text in texts)})"
