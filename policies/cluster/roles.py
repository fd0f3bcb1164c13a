"""What a ClusterRole or a Role grants, as far as it matters to RayWarden."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import dict_items, str_items

# Kubernetes' own ClusterRole to create the two kinds of reviews.
AUTH_DELEGATOR = "system:auth-delegator"
_REVIEWS = (
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
)
_WRITES = frozenset({"create", "update", "patch"})
# Without RayWarden's own configuration, nothing is judged.
_CHANGES = _WRITES | {"delete", "deletecollection"}
_ADMISSION = "admissionregistration.k8s.io"
# By (API group, resource), the verbs that let an account do more than its own rights say, and what
# it may do then. KubeRay's own role for the autoscaler has none of them: it gets, lists, watches
# and patches pods and RayClusters (`BuildRole`, KubeRay 1.7). OpenShift lets every account
# impersonate a scope, which is another resource.
# Source: Kubernetes "Role Based Access Control Good Practices", privilege escalation risks.
_POWERS = {
    ("", "secrets"): (frozenset({"get", "list", "watch"}), "read Secrets"),
    ("", "pods"): (frozenset({"create"}), "create pods"),
    ("", "replicationcontrollers"): (_WRITES, "create pods"),
    ("apps", "daemonsets"): (_WRITES, "create pods"),
    ("apps", "deployments"): (_WRITES, "create pods"),
    ("apps", "replicasets"): (_WRITES, "create pods"),
    ("apps", "statefulsets"): (_WRITES, "create pods"),
    ("batch", "cronjobs"): (_WRITES, "create pods"),
    ("batch", "jobs"): (_WRITES, "create pods"),
    ("ray.io", "rayclusters"): (frozenset({"create"}), "create pods"),
    ("ray.io", "raycronjobs"): (frozenset({"create"}), "create pods"),
    ("ray.io", "rayjobs"): (frozenset({"create"}), "create pods"),
    ("ray.io", "rayservices"): (frozenset({"create"}), "create pods"),
    # A WebSocket asks for `get` before Kubernetes 1.35.
    ("", "pods/exec"): (frozenset({"create", "get"}), "run commands in pods"),
    ("", "pods/attach"): (frozenset({"create", "get"}), "run commands in pods"),
    ("", "pods/ephemeralcontainers"): (frozenset({"update", "patch"}), "run commands in pods"),
    ("", "nodes/proxy"): (frozenset({"create", "get"}), "run commands in pods"),
    ("", "serviceaccounts/token"): (frozenset({"create"}), "issue tokens of service accounts"),
    ("", "persistentvolumes"): (frozenset({"create"}), "create PersistentVolumes"),
    ("certificates.k8s.io", "certificatesigningrequests/approval"): (
        frozenset({"update", "patch"}),
        "approve certificates",
    ),
    (_ADMISSION, "mutatingwebhookconfigurations"): (_CHANGES, "change admission webhooks"),
    (_ADMISSION, "validatingwebhookconfigurations"): (_CHANGES, "change admission webhooks"),
    ("", "users"): (frozenset({"impersonate"}), "impersonate others"),
    ("", "groups"): (frozenset({"impersonate"}), "impersonate others"),
    ("", "serviceaccounts"): (frozenset({"impersonate"}), "impersonate others"),
    ("rbac.authorization.k8s.io", "roles"): (frozenset({"bind", "escalate"}), "grant rights"),
    ("rbac.authorization.k8s.io", "clusterroles"): (
        frozenset({"bind", "escalate"}),
        "grant rights",
    ),
}
EVERYTHING = "do everything"
# A rule for named objects gives little, unless it lets its holder become or bind one of these.
_POWERFUL_NAMES = frozenset({"cluster-admin", "system:masters"})
_BY_NAME = frozenset({"impersonate others", "grant rights"})


@dataclass(frozen=True, slots=True)
class RbacRole:
    """What a ClusterRole or a Role grants, as far as it matters to RayWarden.

    `powers`: verb phrases, such as `read Secrets`. `reviews_tokens`: it lets its holder ask the API
    server about the tokens and rights of others.
    """

    can_run_kuberay: bool
    grants_everything: bool
    powers: frozenset[str] = frozenset()
    reviews_tokens: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacRole":
        """The view of a ClusterRole or Role object.

        The API server writes the rules of an aggregated ClusterRole into `rules`, too.
        """
        updates_status = creates_pods = grants_everything = False
        powers, reviews = set[str](), set[tuple[str, str]]()
        for _, rule in dict_items(document.get("rules")):
            names = _strings(rule.get("resourceNames"))
            # A rule for named objects does not grant everything, and not what KubeRay needs.
            if rule.get("resourceNames") and names.isdisjoint(_POWERFUL_NAMES):
                continue
            groups = _strings(rule.get("apiGroups"))
            resources = _strings(rule.get("resources"))
            verbs = _strings(rule.get("verbs"))
            found = set(_powers(groups, resources, verbs))
            if names:
                powers |= found & _BY_NAME
                continue
            powers |= found
            reviews.update(_reviews(groups, resources, verbs))
            # Exactly as KubeRay's own role has them. A role with `*` is an administrator's, not an
            # operator's. RBAC knows no `rayclusters/*`; it knows `*/status`, but KubeRay's role
            # does not have it.
            if "ray.io" in groups and "rayclusters/status" in resources:
                updates_status |= bool(verbs & {"update", "patch"})
            if "" in groups and "pods" in resources:
                creates_pods |= "create" in verbs
            if "*" in groups and "*" in resources:
                grants_everything |= "*" in verbs
        if grants_everything:
            powers = {EVERYTHING}
        return cls(
            can_run_kuberay=updates_status and creates_pods,
            grants_everything=grants_everything,
            powers=frozenset(powers),
            reviews_tokens=reviews == {*_REVIEWS},
        )


_EDITOR = frozenset(
    {
        "create pods",
        "impersonate others",
        "issue tokens of service accounts",
        "read Secrets",
        "run commands in pods",
    }
)
# The ClusterRoles that every cluster has and that manifests therefore bind without containing them.
# `view` has no powers. Source: Kubernetes 1.36, `bootstrappolicy.ClusterRoles`.
DEFAULT_ROLES: Mapping[str, RbacRole] = {
    "cluster-admin": RbacRole(False, True, frozenset({EVERYTHING}), reviews_tokens=True),
    "admin": RbacRole(False, False, _EDITOR),
    "edit": RbacRole(False, False, _EDITOR),
    AUTH_DELEGATOR: RbacRole(False, False, reviews_tokens=True),
}


def _powers(groups: set[str], resources: set[str], verbs: set[str]) -> Iterator[str]:
    """What one rule of a role lets its holder do."""
    for (group, resource), (powerful, verb_phrase) in _POWERS.items():
        if group not in groups and "*" not in groups:
            continue
        _, _, part = resource.partition("/")
        if resources.isdisjoint({resource, "*", f"*/{part}" if part else "*"}):
            continue
        if "*" in verbs or not powerful.isdisjoint(verbs):
            yield verb_phrase


def _reviews(groups: set[str], resources: set[str], verbs: set[str]) -> Iterator[tuple[str, str]]:
    """The kinds of reviews, as (API group, resource), that one rule of a role lets create."""
    if verbs.isdisjoint({"create", "*"}):
        return
    for group, resource in _REVIEWS:
        if groups & {group, "*"} and resources & {resource, "*"}:
            yield group, resource


def _strings(value: Any) -> set[str]:
    return {item for _, item in str_items(value)}
