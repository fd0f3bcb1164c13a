"""Is KubeRay there, new enough, and known to be KubeRay?"""

from collections.abc import Iterator

from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.image import tag_of
from policies.ray.version import ray_version
from policies.rules.operator_made_pods import OperatorMadePods
from webhook.check.deployed import pod_of
from webhook.check.findings import (
    RAY_KINDS,
    CheckFacts,
    Finding,
    Object,
    Unavailable,
    known,
    named,
    ok,
    unknown,
    warning,
)
from webhook.check.installation import policy_of

# The first with `spec.authOptions` (release notes of KubeRay v1.5.1).
_TOKENS_SINCE = (1, 5, 1)
_INSTALL = (
    "install KubeRay's operator; without it only pods labeled raywarden.io/cluster are looked after"
)


def kuberay(facts: CheckFacts) -> Iterator[Finding]:
    """KubeRay's kinds are served, its operator runs, and RBAC says who that is."""
    yield from _kinds(facts)
    yield from _operators(facts)
    yield from _who(facts)


def _kinds(facts: CheckFacts) -> Iterator[Finding]:
    kinds = facts.ray_kinds
    if isinstance(kinds, Unavailable):
        yield unknown("kinds", "which kinds of ray.io/v1 there are", kinds)
        return
    if not kinds:
        yield warning("kinds", "the API server serves nothing at ray.io/v1", _INSTALL)
    elif missing := [kind for kind in RAY_KINDS[:3] if kind not in kinds]:
        message = f"the API server does not serve {named(missing)} at ray.io/v1"
        yield warning(
            "kinds", message, "apply all CustomResourceDefinitions of KubeRay's release, v1 served"
        )
    else:
        yield ok(
            "kinds",
            f"the API server serves {', '.join(kind for kind in RAY_KINDS if kind in kinds)} at ray.io/v1",
        )


def _operators(facts: CheckFacts) -> Iterator[Finding]:
    if isinstance(facts.operators, Unavailable):
        yield unknown("operator", "KubeRay's operator", facts.operators)
        return
    if not facts.operators:
        message = "no Deployment is labeled app.kubernetes.io/name: kuberay-operator (or kuberay)"
        yield warning("operator", message, _INSTALL)
    for operator in facts.operators:
        yield _operator(operator)


def _operator(document: Object) -> Finding:
    title = f"KubeRay's operator {_title(document)}"
    images = [as_str(one.get("image")) for _, one in dict_items(pod_of(document).get("containers"))]
    versions = [found for found in (ray_version(tag_of(image)) for image in images) if found]
    ready = as_dict(document.get("status")).get("readyReplicas")
    if not (isinstance(ready, int) and ready > 0):
        message = f"{title} has no replica that is ready: no Ray pod is made"
        return warning(
            "operator",
            message,
            f"kubectl -n {_namespace(document)} describe deployment {_name(document)}",
        )
    if not versions:
        return ok("operator", f"{title} is {named(images)}, which names no version")
    version = ".".join(map(str, versions[0]))
    if versions[0] < _TOKENS_SINCE:
        message = f"{title} is {version}: it knows no spec.authOptions, so that 8265 and 52365 stay open without a token"
        return warning(
            "operator",
            message,
            "upgrade KubeRay to 1.5.1 or later, or set RAY_AUTH_MODE and a token by hand",
        )
    return ok("operator", f"{title} is {version}")


def _who(facts: CheckFacts) -> Iterator[Finding]:
    """Whose pods `operator-made-pods` lets in: those of the operators that RBAC or the policy tell of."""
    if isinstance(facts.rbac, Unavailable):
        yield unknown("operator-rights", "who runs KubeRay", facts.rbac)
        return
    policy = policy_of(facts)
    rules = policy.rules if policy else ()
    named_by_policy = {
        name for rule in rules if isinstance(rule, OperatorMadePods) for name in rule.operators
    }
    allowed = facts.rbac.operators | named_by_policy
    if not allowed:
        message = f"RBAC knows nobody who runs KubeRay: {OperatorMadePods.id} refuses every pod of a Ray cluster"
        yield warning(
            "operator-rights", message, _name_it("system:serviceaccount:NAMESPACE:kuberay-operator")
        )
        return
    strangers = [user for user in map(_user, known(facts.operators)) if user not in allowed]
    for user in strangers:
        message = f"{user} runs KubeRay, and RBAC does not say so: {OperatorMadePods.id} refuses the pods it makes"
        yield warning("operator-rights", message, _name_it(user))
    if not strangers:
        yield ok("operator-rights", f"pods of Ray clusters may be made by {named(sorted(allowed))}")


def _name_it(user: str) -> str:
    return (
        "bind KubeRay's ClusterRole with a ClusterRoleBinding, or write into the policy "
        f"rules: {{{OperatorMadePods.id}: {{parameters: {{operators: ['{user}']}}}}}}"
    )


def _user(document: Object) -> str:
    account = as_str(pod_of(document).get("serviceAccountName")) or "default"
    return f"system:serviceaccount:{_namespace(document)}:{account}"


def _namespace(document: Object) -> str:
    return as_str(as_dict(document.get("metadata")).get("namespace"))


def _name(document: Object) -> str:
    return as_str(as_dict(document.get("metadata")).get("name"))


def _title(document: Object) -> str:
    return f"{_namespace(document)}/{_name(document)}"
