"""Checks that KubeRay is installed, recent enough, and recognized by RayWarden."""

from collections.abc import Collection, Iterator, Sequence

from policies.cluster.rbac import user_name
from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, clipped, dict_items, str_items
from policies.injection.token_fix import membership_binding, review_binding
from policies.ray.image import tag_of
from policies.ray.operator import NETWORK_POLICY_GATE, NETWORK_POLICY_SINCE, TOKENS_SINCE
from policies.ray.version import ray_version
from policies.rules.operator_made_pods import OperatorMadePods
from webhook.check.deployment import pod_spec_of
from webhook.check.facts import (
    RAY_KINDS,
    REQUIRED_RAY_KINDS,
    CheckFacts,
    Object,
    Unavailable,
    or_empty,
)
from webhook.check.findings import Finding, enumerated, ok, unknown, warning
from webhook.check.installation import policy_of

_GATES = "--feature-gates"
# system:serviceaccount:NAMESPACE:NAME
_ACCOUNT_PARTS = 4
_INSTALL = (
    "install the KubeRay operator; without it RayWarden protects only pods with the label "
    "raywarden.io/cluster"
)


def kuberay(facts: CheckFacts) -> Iterator[Finding]:
    """KubeRay's kinds are served, its operator runs, and RBAC shows which account it uses."""
    yield _kinds(facts)
    yield from _operators(facts)
    yield from _operator_accounts(facts)
    yield from _token_reviewers(facts)


def _kinds(facts: CheckFacts) -> Finding:
    served = facts.ray_kinds
    if isinstance(served, Unavailable):
        return unknown("kinds", "which kinds of ray.io/v1 the API server serves", served)
    if not served:
        return warning("kinds", "the API server serves no kind of ray.io/v1", _INSTALL)
    missing = [kind for kind in REQUIRED_RAY_KINDS if kind not in served]
    if missing:
        message = f"the API server does not serve {enumerated(missing)} at ray.io/v1"
        remediation = "apply all CustomResourceDefinitions of the KubeRay release, and serve v1"
        return warning("kinds", message, remediation)
    known = ", ".join(kind for kind in RAY_KINDS if kind in served)
    return ok("kinds", f"the API server serves {known} at ray.io/v1")


def _operators(facts: CheckFacts) -> Iterator[Finding]:
    if isinstance(facts.operators, Unavailable):
        yield unknown("operator", "the KubeRay operator", facts.operators)
        return
    if not facts.operators:
        message = (
            "no Deployment has the label app.kubernetes.io/name: kuberay-operator (or kuberay)"
        )
        yield warning("operator", message, _INSTALL)
    for operator in facts.operators:
        yield _operator(operator)


def _operator(document: Object) -> Finding:
    namespace, name = namespace_of(document), name_of(document)
    title = f"the KubeRay operator {namespace}/{name}"
    ready = as_dict(document.get("status")).get("readyReplicas")
    if not (isinstance(ready, int) and ready > 0):
        message = f"{title} has no ready replica, so no Ray pods are created"
        remediation = f"run kubectl -n {namespace} describe deployment {name}"
        return warning("operator", message, remediation)
    version = _version_of(document)
    if version is None:
        images = enumerated(images_of(document))
        message = f"{title} uses {images}, which does not show its version"
        return ok("operator", message)
    number = ".".join(map(str, version))
    if version < TOKENS_SINCE:
        message = (
            f"{title} is version {number}, which does not have spec.authOptions; "
            "the ports 8265 and 52365 stay open without a token"
        )
        remediation = (
            "upgrade KubeRay to 1.5.1 or later, or set RAY_AUTH_MODE and a token in the manifests"
        )
        return warning("operator", message, remediation)
    return ok("operator", f"{title} is version {number}")


def _version_of(operator: Object) -> tuple[int, int, int] | None:
    versions = [ray_version(tag_of(image)) for image in images_of(operator)]
    return next((known for known in versions if known), None)


def images_of(operator: Object) -> list[str]:
    """The images of an operator's containers."""
    containers = dict_items(pod_spec_of(operator).get("containers"))
    return [as_str(container.get("image")) for _, container in containers]


def _operator_accounts(facts: CheckFacts) -> Iterator[Finding]:
    """Whether `operator-made-pods` accepts the pods of every operator that runs.

    The rule knows the operators from RBAC and from the policy.
    """
    id = "operator-account"
    accounts = facts.kuberay_accounts
    if isinstance(accounts, Unavailable):
        yield unknown(id, "which service account KubeRay uses", accounts)
        return
    policy = policy_of(facts)
    listed = policy.operators if policy else ()
    allowed = {**accounts, **dict.fromkeys(listed, frozenset[str]())}
    if not allowed:
        message = (
            "RBAC shows no account for KubeRay, so "
            f"{OperatorMadePods.id} rejects every pod of a Ray cluster"
        )
        user = "system:serviceaccount:NAMESPACE:kuberay-operator"
        yield warning(id, message, _recognize(user))
        return
    unrecognized = [user for user in map(_user, or_empty(facts.operators)) if user not in allowed]
    for user in unrecognized:
        message = (
            f"{user} runs KubeRay, but RBAC does not show that, so "
            f"{OperatorMadePods.id} rejects the pods it creates"
        )
        yield warning(id, message, _recognize(user))
    if not unrecognized:
        # Tenants may have such rights in their namespaces, so the others come first.
        users = sorted(allowed, key=lambda user: (bool(allowed[user]), user))
        titles = [_with_namespaces(user, allowed[user]) for user in users]
        yield ok(id, f"pods of Ray clusters may be created by {enumerated(titles)}")


def _token_reviewers(facts: CheckFacts) -> Iterator[Finding]:
    """Whether Ray or its proxy can check its callers' tokens; without, it refuses all of them."""
    id, reviewers = "token-reviews", facts.token_reviewers
    if isinstance(reviewers, Unavailable):
        yield unknown(id, "whether Ray's pods may check Kubernetes tokens", reviewers)
        return
    for reviewer in reviewers:
        account = f"service account {clipped(reviewer.account)}"
        title = f"the {account} of RayCluster {reviewer.namespace}/{reviewer.cluster}"
        if not reviewer.reviews:
            asker = "the proxy of its dashboard" if reviewer.of_proxy else "Ray"
            message = f"{title} may not create TokenReviews and SubjectAccessReviews"
            remediation = review_binding(reviewer.namespace, reviewer.account)
            yield warning(id, f"{message}, so {asker} refuses every caller", remediation)
        # The proxy asks for its callers only; Ray's pods are callers of each other.
        is_member = reviewer.is_member or reviewer.of_proxy
        if not is_member:
            message = f"{title} may not ray:write that cluster, so Ray refuses its own pods"
            remediation = membership_binding(reviewer.namespace, reviewer.account, reviewer.cluster)
            yield warning(id, message, remediation)
        if reviewer.reviews and is_member:
            yield ok(id, f"{title} may check Kubernetes tokens")


def _with_namespaces(user: str, namespaces: Collection[str]) -> str:
    """A user for a message, with the namespaces to which its rights are limited, if they are."""
    return f"{user} (in {enumerated(sorted(namespaces))})" if namespaces else user


def kuberay_writes_policies(facts: CheckFacts) -> bool:
    """True if an operator runs that accepts `spec.networkPolicy`, with its alpha feature gate."""
    for operator in or_empty(facts.operators):
        containers = [item for _, item in dict_items(pod_spec_of(operator).get("containers"))]
        arguments = [text for item in containers for _, text in str_items(item.get("args"))]
        gates = ",".join(text for text in arguments if text.startswith(_GATES))
        version = _version_of(operator)
        is_recent = version is None or version >= NETWORK_POLICY_SINCE
        if is_recent and f"{NETWORK_POLICY_GATE}=true" in gates:
            return True
    return False


def operator_namespaces(facts: CheckFacts) -> Sequence[tuple[str, frozenset[str]]]:
    """The namespaces of KubeRay's operators, each with those that it works in; none means all."""
    accounts = {} if isinstance(facts.kuberay_accounts, Unavailable) else facts.kuberay_accounts
    policy = policy_of(facts)
    listed = policy.operators if policy else ()
    users = {**dict.fromkeys(listed, frozenset[str]()), **accounts}
    namespaced = ((user.split(":"), scope) for user, scope in sorted(users.items()))
    return [(parts[2], scope) for parts, scope in namespaced if len(parts) == _ACCOUNT_PARTS]


def _recognize(user: str) -> str:
    return (
        "bind KubeRay's role with a ClusterRoleBinding, or with a RoleBinding in each namespace "
        "that it watches, or set in the policy "
        f"rules: {{{OperatorMadePods.id}: {{parameters: {{operators: ['{user}']}}}}}}"
    )


def _user(document: Object) -> str:
    account = as_str(pod_spec_of(document).get("serviceAccountName")) or "default"
    return user_name(namespace_of(document), account)
