"""Requests and limits in CEL: `resource-limits`."""

from policies.export.check import Check, Context, each, lines, per_container
from policies.export.text import cel, listed, literal, matches
from policies.export.view import CLUSTER
from policies.model import Profile
from policies.ray.accelerators import PREFIXES, SHARES
from policies.ray.pod import ENROLL_CONTAINER
from policies.rules.resource_limits import NO_DEVICES, VISIBLE_DEVICES, ResourceLimits

_CONTAINER = "string(c.title)"
_OWN = "c.raw.?resources"
# The API server decides by the type of an argument which function it calls, and `orValue` gives a
# quantity the type of its default. `dyn` has it decide by the value, which may be a number.
#
# As `is_zero`: nothing but signs, zeros and dots before the unit.
_ZERO = literal("^[-+]?(?:[0.]*)(?:[^0-9.]|$)")
_IS_ZERO = "string(dyn($size)).matches($zero)"
_HAS = '([$sizes[?"$name"]].exists(s, s.hasValue() && !string(dyn(s.value())).matches($zero)))'
# A request of 0 stays 0; only a missing one becomes the limit.
_LACKS_REQUEST = """
!($requests[?"$name"].hasValue() ? $has_request : $has_limit) && !$pod_request && !$pod_limit
"""
_ACCELERATOR = "^(?:.*gpu|(?:{}).*)$"


def resource_limits(rule: ResourceLimits, context: Context) -> list[Check]:
    missing = _missing(rule.cpu_limit)
    says = f'{_CONTAINER} + " has no " + m.join(", ")'
    incomplete = f'[{missing}].map(m, size(m) == 0 ? "" : {says})[0]'
    visible = each(
        _VISIBLE,
        "n",
        f'{_CONTAINER} + " sets " + n + ", which gives it GPUs that no limit counts"',
        variable=literal(VISIBLE_DEVICES),
        none=listed(sorted(NO_DEVICES)),
    )
    is_checked = 'c.list != "ephemeralContainers"'
    in_pods = per_container(
        incomplete,
        visible,
        where=f'{is_checked} && c.name != "{ENROLL_CONTAINER}"',
        pods="variables.podsOnly",
    )
    # The resources replace KubeRay's own, if the container runs.
    is_used = cel(_IS_USED, cluster=CLUSTER)
    in_options = per_container(
        incomplete, where=is_used, pods='variables.pods.filter(p, p.role == "options")'
    )
    return [Check(Profile.RESTRICTED, lines(in_pods, in_options, _of_gpus()))]


_VISIBLE = """
[$variable].filter(n, c.raw.?env.orValue([]).exists(e, e.?name.orValue("") == n))
.filter(n, [c.raw.env.filter(e, e.?name.orValue("") == n)].exists(l,
  has(l[size(l) - 1].valueFrom) || !(l[size(l) - 1].?value.orValue("") in $none)))
"""
_IS_USED = """
has(c.raw.resources)
&& (c.name != "autoscaler" || $cluster.?enableInTreeAutoscaling.orValue(false) == true)
"""


def _missing(cpu_limit: bool) -> str:
    """The list of what a container and its pod do not set together, as `_missing` of the rule."""
    own = {part: f"{_OWN}.?{part}.orValue({{}})" for part in ("requests", "limits")}
    of_pod = {part: f"p.podResources.?{part}.orValue({{}})" for part in ("requests", "limits")}
    requests, limits = [], []
    for name in ("cpu", "memory"):
        pieces = {
            "name": name,
            "requests": own["requests"],
            "has_request": _has(own["requests"], name),
            "has_limit": _has(own["limits"], name),
            "pod_request": _has(of_pod["requests"], name),
            "pod_limit": _has(of_pod["limits"], name),
        }
        requests.append(f'({cel(_LACKS_REQUEST, **pieces)} ? ["{name} requests"] : [])')
        if name != "cpu" or cpu_limit:
            lacks = f"!{pieces['has_limit']} && !{pieces['pod_limit']}"
            limits.append(f'({lacks} ? ["{name} limits"] : [])')
    names = f"{own['requests']}.filter(k, {_is_accelerator('k')} && {_is_set(own['requests'])})"
    unlimited = f"!({own['limits']}[?k].hasValue() && {_is_set(own['limits'])})"
    devices = f'{names}.filter(k, {unlimited}).map(k, string(k) + " limits")'
    return " + ".join([*requests, *limits, devices])


def _has(sizes: str, name: str) -> str:
    return cel(_HAS, sizes=sizes, name=name, zero=_ZERO)


def _is_set(sizes: str) -> str:
    return "!" + cel(_IS_ZERO, size=f"{sizes}[k]", zero=_ZERO)


def _is_accelerator(name: str) -> str:
    prefixes = "|".join(prefix.replace(".", "[.]") for prefix in PREFIXES)
    return matches(name, _ACCELERATOR.format(prefixes))


# `resources` takes precedence over `num-gpus`; the last of several wins.
_NUMBER = """
[g.?resources.orValue({}).filter(k, k.lowerAscii().endsWith("gpu"))].map(l,
  size(l) > 0 ? string(dyn(g.resources[l[size(l) - 1]]))
  : string(dyn(g.?rayStartParams[?"num-gpus"].orValue(dyn("0")))))[0]
"""
_HAS_DEVICES = """
size($first.?resources.?claims.orValue([])) > 0
|| $shares.exists(s, s in g.?template.?metadata.?annotations.orValue({}))
|| $first.?resources.?limits.orValue({}).exists(k, k.contains("/")
  && !string(dyn($first.?resources.?limits[?k].value())).matches($zero))
"""
_GROUPS = """
(size($cluster) == 0 ? [] : [{"title": dyn("head"), "g": $cluster.?headGroupSpec.orValue({})}]
  + variables.cluster.?workerGroupSpecs.orValue([]).map(w, {"g": w, "title":
    variables.templates.filter(t, t.role == "worker" && t.group == w.?groupName.orValue(""))[0]
      .title}))
.map(e, [e.g].map(g, size(g.?template.?spec.?containers.orValue([])) > 0
  && !$number.matches($zero) && !($has_devices)
  ? "the " + string(e.title)
    + " tells Ray of GPUs, but its container has no limit for GPUs" : "")[0]).join("\\n")
"""


def _of_gpus() -> str:
    """The groups that tell Ray of GPUs without a limit for them."""
    first = "g.?template.?spec.?containers[?0]"
    devices = cel(_HAS_DEVICES, first=first, shares=listed(SHARES), zero=_ZERO)
    return cel(_GROUPS, cluster=CLUSTER, number=cel(_NUMBER), zero=_ZERO, has_devices=devices)
