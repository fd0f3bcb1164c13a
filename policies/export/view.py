"""The pods of an object as variables of an admission policy: `policies.ray.workload` in CEL.

`variables.pods` is a list with an entry for each pod or template, the head first, and then for each
of KubeRay's options from which it creates a container:

- `title`, `role`, `group`: as in messages and in `Pod`; the role of options is `options`
- `template`, `spec`: the raw values; empty for options
- `podTitle`, `podResources`: those of the pod that the containers will be in
- `context`, `image`: the security context of the pod, and the image of its Ray container
- `later`: RayWarden writes its defaults into the pods that are created from this template
- `containers`: all of its containers, each with `title`, `name`, `list`, `raw`, `context`, `image`

The same variables with the suffix `Before` are those of the stored object, so that an update is
judged only by what it adds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from policies.export.text import (
    cel,
    listed,
    literal,
    matches,
    of_stored_object,
    one_line,
    repository,
)
from policies.injection.contract import (
    MANAGED,
    MARKER_LABEL,
    RAY_READS_AS_ON,
    RAY_TLS_VARIABLES,
    TLS_VOLUME,
)
from policies.ray.membership import CLAIM_LABELS
from policies.ray.pod import CONTAINER_LISTS
from policies.ray.ray_start import RAY_START

KUBERAY_KINDS = ("RayCluster", "RayJob", "RayService", "RayCronJob")
CLUSTER, PODS = "variables.cluster", "variables.pods"
# CEL in the API server needs quadratic time for long lists; no real command is longer.
_LONGEST_COMMAND = "200"
_CLAIMS = " || ".join(f"{literal(name)} in variables.labels" for name in CLAIM_LABELS)

_CLUSTER = """
object == null ? {} :
object.kind == "RayCluster" ? object.?spec.orValue({}) :
object.kind == "RayJob" ? object.?spec.?rayClusterSpec.orValue({}) :
object.kind == "RayService" ? object.?spec.?rayClusterConfig.orValue({}) :
object.kind == "RayCronJob" ? object.?spec.?jobTemplate.?rayClusterSpec.orValue({}) : {}
"""
# The template of the pod that submits the job of a RayJob, in a list of at most one.
_SUBMITTERS = """
object == null ? [] :
object.kind == "RayJob" && object.?spec.?submitterPodTemplate.hasValue()
  ? [object.spec.submitterPodTemplate] :
object.kind == "RayCronJob" && object.?spec.?jobTemplate.?submitterPodTemplate.hasValue()
  ? [object.spec.jobTemplate.submitterPodTemplate] : []
"""
# The pod or template of a kind that is not KubeRay's.
_BARE = """
object == null || object.kind in $kinds ? {} :
object.kind == "Pod" ? object :
object.kind == "CronJob" ? object.?spec.?jobTemplate.?spec.?template.orValue({}) :
object.?spec.?template.orValue({})
"""
_LABELS = "variables.bare.?metadata.?labels.orValue({})"
# A container visibly runs `ray start`; variables in its words are not substituted.
_STARTS_RAY = """
[variables.bare.?spec.?containers.orValue([]), variables.bare.?spec.?initContainers.orValue([])]
.exists(list, list.exists(c, size(c.?command.orValue([]) + c.?args.orValue([])) <= $longest
  && (c.?command.orValue([]) + c.?args.orValue([])).exists(word, word.contains("start"))
  && $says_ray_start))
"""
# The object is KubeRay's Job that empties Redis, or the pod of that Job: its owners say so.
_IS_CLEAN_UP = """
variables.labels[?"ray.io/node-type"].orValue("") == "redis-cleanup"
&& variables.labels[?"ray.io/cluster"].orValue("") != ""
&& object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) == true && (
  object.kind == "Job" && o.kind == "RayCluster" && o.apiVersion.startsWith("ray.io/")
    && o.name == variables.labels["ray.io/cluster"]
  || object.kind == "Pod" && o.kind == "Job" && o.apiVersion.startsWith("batch/")))
"""
# The role of a pod that is not in an object of KubeRay; empty if the pod is not Ray's.
_OWN_ROLE = """
size(variables.bare) == 0 ? "" :
$claims ? (
  variables.labels[?"ray.io/node-type"].orValue("") == "head" ? "head" :
  $is_clean_up ? "redis-cleanup" : "worker") :
"raywarden.io/cluster" in variables.labels ? (
  variables.labels[?"raywarden.io/role"].orValue("") in ["head", "client"]
    ? string(variables.labels["raywarden.io/role"]) : "worker") :
$starts_ray ? "worker" :
object.kind == "Pod" && variables.labels[?"ray.io/originated-from-crd"].orValue("") == "RayJob"
  ? "submitter" : ""
"""
# A stored pod that was Ray's stays so, even if the labels that say it are removed.
_KEPT = """
variables.ownRole == "" && oldObject != null && object.kind == "Pod"
  ? variables.${part}Before : $own
"""
_OWN_GROUP = """
string($claims ? variables.labels[?"ray.io/group"].orValue("")
  : variables.labels[?"raywarden.io/role"].orValue(""))
"""
_TEMPLATES = """
object == null ? [] : object.kind in $kinds
  ? (size(variables.cluster) == 0 ? [] : [{"title": dyn("head"), "role": dyn("head"),
      "group": dyn("headgroup"),
      "template": dyn(variables.cluster.?headGroupSpec.?template.orValue({}))}]
    + variables.cluster.?workerGroupSpecs.orValue([]).map(g, {"role": dyn("worker"),
      "title": dyn(g.?groupName.orValue("") == "" ? "worker" : "worker group " + $group_of_cluster),
      "group": dyn(g.?groupName.orValue("")), "template": dyn(g.?template.orValue({}))}))
    + variables.submitters.map(t, {"title": dyn("submitter"), "role": dyn("submitter"),
      "group": dyn(""), "template": dyn(t)})
  : variables.role == "" ? [] : [{"role": dyn(variables.role), "group": dyn(variables.group),
      "title": dyn(variables.role == "worker" && variables.group != ""
        ? "worker group " + $group_of_pod : variables.role),
      "template": dyn(variables.bare)}]
"""
_SET_UP_BY_HAND = """
$once && p.template.?spec.?containers[?0].?env.orValue([]).exists(e,
  e.name == "RAY_USE_TLS" && e.?value.orValue("") in $on)
&& !p.template.?spec.?containers[?0].?volumeMounts.orValue([]).exists(m, m.name == $volume)
"""
# Who provides TLS, as `policies.injection.contract.tls_by` tells.
_TLS_BY = """
object == null ? "" :
object.metadata.?labels.orValue({})[?$label].orValue("") == $managed && object.kind in $kinds
  || "raywarden.io/cluster" in variables.labels && !($claims) ? "raywarden" :
variables.cluster.?tlsOptions.?enabled.orValue(false) == true ? "kuberay" :
variables.templates.exists(p, p.role != "submitter")
  && variables.templates.all(p, p.role == "submitter" || $set_up_by_hand) ? "author" : ""
"""
# RayWarden adds what the template `p` lacks when its pods are created: `is_completed_later`.
_LATER = """
object.kind == "Pod" ? false : object.kind == "RayCluster" ?
  variables.tlsBy in ["", "raywarden"] && ($marker || variables.stored.exists(b,
    b.role == p.role && b.group == p.group
    && !b.template.?spec.?volumes.orValue([]).exists(v, v.name == $volume))) :
p.role == "submitter" || variables.tlsBy == "raywarden"
  || size(variables.cluster) > 0 && variables.tlsBy == ""
"""
_CONTAINERS = """
p.template.?spec.?$list.orValue([]).map(c, {
  "title": dyn("container " + (c.?name.orValue("") == "" ? "(unnamed)" : $name)
    + " of the " + string(p.title)),
  "name": dyn(c.?name.orValue("")), "list": dyn("$list"), "raw": c,
  "context": c.?securityContext.orValue({}), "image": c.?image.orValue("")$more})
"""
_PODS_ONLY = """
variables.templates.map(p, {"title": p.title, "role": p.role, "template": p.template,
  "spec": p.template.?spec.orValue({}),
  "context": p.template.?spec.?securityContext.orValue({}),
  "image": p.template.?spec.?containers[?0].?image.orValue(""),
  "podTitle": p.title, "podResources": p.template.?spec.?resources.orValue({}),
  "later": dyn($later), "containers": dyn($containers)})
"""
# The options belong to the head.
_OPTIONS = """
variables.cluster.$place.hasValue() && size(variables.cluster.$place.value()) > 0
? [{"title": dyn("$title"), "role": dyn("options"), "template": dyn({}), "spec": dyn({}),
    "context": variables.podsOnly[0].context, "image": variables.podsOnly[0].image,
    "podTitle": dyn("head"), "podResources": variables.podsOnly[0].podResources, "later": dyn(true),
    "containers": dyn([{"title": dyn("$title"), "name": dyn("$name"), "list": dyn("options"),
      "raw": variables.cluster.$place.value(),
      "context": variables.cluster.$place.?securityContext.orValue({}),
      "image": variables.cluster.$place.?image.orValue("")$more}])}] : []
"""
_OPTION_PLACES = (
    ("autoscaler", "?autoscalerOptions", "autoscalerOptions"),
    ("ray-history-collector", "?historyServerOptions.?collectorOptions", "collectorOptions"),
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of an admission policy, which later ones may use."""

    name: str
    expression: str


def view(marker: bool, repositories: bool) -> Iterator[Variable]:
    """The variables of the stored object, then those of the object, in the order of their use.

    `marker`: RayWarden writes only the marker into new RayClusters. With `repositories`, each
    container also has the `repository` of its image; options without an image get Ray's.
    """
    own = dict(_own(marker, repositories))
    for name, expression in own.items():
        yield Variable(f"{name}Before", of_stored_object(expression))
    # The stored object itself is judged as if it had been stored before.
    yield from (Variable(name, expression) for name, expression in (own | _CURRENT).items())


_CURRENT = {
    "role": cel(_KEPT, part="role", own="variables.ownRole"),
    "group": cel(_KEPT, part="group", own="variables.ownGroup"),
    "stored": "variables.templatesBefore",
}


def _own(marker: bool, repositories: bool) -> Iterator[tuple[str, str]]:
    kinds = listed(KUBERAY_KINDS)
    words = '(c.?command.orValue([]) + c.?args.orValue([])).join(" ")'
    starts_ray = cel(
        _STARTS_RAY, longest=_LONGEST_COMMAND, says_ray_start=matches(words, RAY_START.pattern)
    )
    yield "cluster", cel(_CLUSTER)
    yield "submitters", cel(_SUBMITTERS)
    yield "bare", cel(_BARE, kinds=kinds)
    yield "labels", _LABELS
    clean_up = f"({cel(_IS_CLEAN_UP)})"
    own_role = cel(_OWN_ROLE, claims=_CLAIMS, is_clean_up=clean_up, starts_ray=starts_ray)
    yield "ownRole", own_role
    yield "role", "variables.ownRole"
    yield "ownGroup", cel(_OWN_GROUP, claims=_CLAIMS)
    yield "group", "variables.ownGroup"
    yield (
        "templates",
        cel(
            _TEMPLATES,
            kinds=kinds,
            group_of_cluster=one_line("g.groupName"),
            group_of_pod=one_line("variables.group"),
        ),
    )
    yield "stored", "variables.templates"
    yield "tlsBy", _tls_by(kinds)
    later = cel(_LATER, marker=str(marker).lower(), volume=literal(TLS_VOLUME))
    name = one_line("c.name")
    of_image = repository('c.?image.orValue("")')
    more = f', "repository": dyn({of_image})' if repositories else ""
    containers = " + ".join(
        cel(_CONTAINERS, list=each, name=name, more=more) for each in CONTAINER_LISTS
    )
    yield "podsOnly", cel(_PODS_ONLY, later=later, containers=containers)
    options = [_option(*option, repositories) for option in _OPTION_PLACES]
    yield "pods", " + ".join(["variables.podsOnly", *options])


def _option(name: str, place: str, title: str, repositories: bool) -> str:
    more = ""
    if repositories:
        image = f"{CLUSTER}.{place}.?image.orValue(variables.podsOnly[0].image)"
        more = f', "repository": dyn({repository(image)})'
    return f"({cel(_OPTIONS, name=name, place=place, title=title, more=more)})"


def _tls_by(kinds: str) -> str:
    env = "p.template.?spec.?containers[?0].?env.orValue([])"
    once = (f"{env}.exists_one(e, e.name == {literal(name)})" for name in RAY_TLS_VARIABLES)
    by_hand = cel(
        _SET_UP_BY_HAND,
        once=" && ".join(once),
        on=listed(sorted(RAY_READS_AS_ON)),
        volume=literal(TLS_VOLUME),
    )
    return cel(
        _TLS_BY,
        kinds=kinds,
        claims=_CLAIMS,
        label=literal(MARKER_LABEL),
        managed=literal(MANAGED),
        set_up_by_hand=by_hand,
    )
