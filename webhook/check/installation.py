"""Checks of the API server, the server's permissions, and what is installed in its namespace."""

import re
from collections.abc import Iterator
from pathlib import Path

from policies.cluster.rbac import user_name
from policies.config import Policy
from policies.documents.untyped import as_str
from policies.ray.image import digest_of, repository_of, tag_of
from webhook.check.deployment import DEPLOYMENT, ServerDeployment, StoredPolicy
from webhook.check.facts import CheckFacts, Unavailable
from webhook.check.findings import Finding, can_i, enumerated, failed, ok, or_ok, unknown, warning
from webhook.policy.file import parse_policy
from webhook.settings import SetupError

# The first release in which matchConditions of webhook configurations are stable.
_OLDEST_KUBERNETES = (1, 30)
_NUMBER = re.compile(r"[0-9]+")
_VERSION = re.compile(r"v?([0-9]+\.[0-9]+\.[0-9]+\S*)")
APPLY = "kubectl apply -k deploy/base"


def kubernetes_api(facts: CheckFacts) -> Iterator[Finding]:
    """The API server answers and is Kubernetes 1.30 or later."""
    if isinstance(facts.server_version, Unavailable):
        yield unknown("version", "the version of the API server", facts.server_version)
        return
    title = as_str(facts.server_version.get("gitVersion")) or "a version it does not name"
    # Some providers add a suffix, as in "36+".
    parts = [as_str(facts.server_version.get(part)) for part in ("major", "minor")]
    numbers = [_NUMBER.match(part) for part in parts]
    version = tuple(int(number[0]) for number in numbers if number)
    if len(version) == len(parts) and version >= _OLDEST_KUBERNETES:
        yield ok("version", f"the API server answers and runs {title}")
    else:
        message = (
            f"the API server runs {title}; RayWarden needs matchConditions in webhook "
            "configurations, which are stable since Kubernetes 1.30"
        )
        yield failed("version", message, "upgrade the cluster to Kubernetes 1.30 or later")


def permissions(facts: CheckFacts) -> Iterator[Finding]:
    """The server's service account has every permission it needs."""
    subject = "whether the server has the permissions it needs"
    if isinstance(facts.permissions, Unavailable):
        yield unknown("permissions", subject, facts.permissions)
        return
    if facts.permissions is None:
        unavailable = Unavailable(
            "no Deployment says which service account the server uses", "fix the Deployment first"
        )
        yield unknown("permissions", subject, unavailable)
        return
    missing = [name for name, allowed in facts.permissions.items() if not allowed]
    if not missing:
        count = len(facts.permissions)
        yield ok("permissions", f"the server has every permission it needs ({count})")
        return
    account = ""
    if isinstance(facts.deployment, ServerDeployment):
        account = facts.deployment.service_account
    user = user_name(facts.namespace, account)
    remediation = f"run {APPLY} to grant it; verify with {can_i(missing[0])} --as {user}"
    yield failed("permissions", f"{user} lacks permission to {', '.join(missing)}", remediation)


def installation(facts: CheckFacts) -> Iterator[Finding]:
    """The Deployment, the Services and the policy file exist and fit together."""
    deployment = facts.deployment
    title = f"the Deployment {facts.namespace}/{DEPLOYMENT}"
    if isinstance(deployment, Unavailable):
        yield unknown("deployment", title, deployment)
    elif deployment is None:
        remediation = (
            f"run {APPLY}; if the server runs in another namespace, set RAYWARDEN_NAMESPACE"
        )
        yield failed("deployment", f"{title} does not exist", remediation)
    else:
        yield _ready(facts, deployment)
        yield _replicas(facts, deployment)
        yield _images(facts, deployment)
        yield from _version(facts, deployment)
    yield from _services(facts)
    yield from _policy(facts)


def _ready(facts: CheckFacts, deployment: ServerDeployment) -> Finding:
    message = f"{deployment.ready} of {deployment.replicas} replicas are ready"
    if deployment.ready >= deployment.replicas > 0:
        return ok("replicas-ready", message)
    if deployment.replicas == 0:
        return failed("replicas-ready", message, _scale_up(facts))
    remediation = (
        f"run kubectl -n {facts.namespace} describe pods, and kubectl -n {facts.namespace} logs "
        f"deployment/{DEPLOYMENT}; /readyz names what is missing"
    )
    if deployment.ready > 0:
        return warning("replicas-ready", message, remediation)
    return failed("replicas-ready", message, remediation)


def _replicas(facts: CheckFacts, deployment: ServerDeployment) -> Finding:
    if deployment.replicas > 1:
        return ok("replicas", "there is more than one replica")
    message = (
        "there is only one replica; while it restarts, the API server rejects every Ray pod "
        "and every change of a Ray object"
    )
    return warning("replicas", message, _scale_up(facts))


def _scale_up(facts: CheckFacts) -> str:
    return f"run kubectl -n {facts.namespace} scale deployment/{DEPLOYMENT} --replicas=2"


def _images(facts: CheckFacts, deployment: ServerDeployment) -> Finding:
    """The init container's image is the small one of the same version, or the server's own."""
    server, enroll = deployment.image, deployment.enroll_image
    small = f"{server.partition('@')[0]}-enroll"
    # Nobody can see the version of an image that is named by its digest.
    is_pinned = bool(digest_of(enroll)) and repository_of(enroll) == repository_of(server)
    if enroll in (server, small) or is_pinned:
        return ok("enroll-image", f"the server uses {server}, and the init container {enroll}")
    message = (
        f"the server uses the image {server}, but the init container of Ray pods uses {enroll}"
    )
    remediation = (
        f"run kubectl -n {facts.namespace} set env deployment/{DEPLOYMENT} "
        f"RAYWARDEN_ENROLL_IMAGE={small if tag_of(server) else server}; "
        "ignore this if a mirror has the same image under another name"
    )
    return warning("enroll-image", message, remediation)


def _version(facts: CheckFacts, deployment: ServerDeployment) -> Iterator[Finding]:
    match = _VERSION.fullmatch(tag_of(deployment.image))
    if not match:
        return
    if match[1] == facts.own_version:
        yield ok("version", f"the server and this command are version {match[1]}")
        return
    message = (
        f"the server is version {match[1]}, but this command is version {facts.own_version} "
        "and may expect something else"
    )
    remediation = f"use the server's version: pip install raywarden=={match[1]}"
    yield warning("version", message, remediation)


def _services(facts: CheckFacts) -> Iterator[Finding]:
    missing = []
    unavailable = False
    for name, service in facts.services.items():
        if isinstance(service, Unavailable):
            unavailable = True
            yield unknown("services", f"the Service {facts.namespace}/{name}", service)
        elif service is None:
            missing.append(name)
    if missing:
        message = (
            f"there is no Service {enumerated(missing)} in {facts.namespace}; "
            "the API server and pods cannot reach the server"
        )
        yield failed("services", message, f"run {APPLY}")
    elif not unavailable:
        yield ok("services", f"the Services {enumerated(list(facts.services))} exist")


def _policy(facts: CheckFacts) -> Iterator[Finding]:
    policy = facts.policy
    if isinstance(policy, Unavailable):
        yield unknown("policy", "the policy file", policy)
    elif policy is None:
        if isinstance(facts.deployment, ServerDeployment):
            message = "the default policy is in force (RAYWARDEN_POLICY_FILE is not set)"
            yield ok("policy", message)
    elif policy.content is None:
        message = f"{policy.title} does not exist; the server cannot start without its policy file"
        remediation = f"create it as in deploy/base/policy.yaml, or run {APPLY}"
        yield failed("policy", message, remediation)
    else:
        remediation = (
            "fix the policy file; running replicas keep the last valid policy, "
            "but new replicas do not start"
        )
        problems = (failed("policy", problem, remediation) for problem in _problems(policy))
        yield from or_ok(problems, "policy", f"the policy in {policy.title} is valid")


def _problems(policy: StoredPolicy) -> Iterator[str]:
    try:
        parse_policy(Path(policy.title), policy.content or b"")
    except SetupError as error:
        yield from str(error).splitlines()


def policy_of(facts: CheckFacts) -> Policy | None:
    """The policy in force; None if it is unknown or invalid."""
    stored = facts.policy
    if isinstance(stored, Unavailable):
        return None
    if stored is None:
        # Without a policy file the default policy applies, but only if there is a server.
        content = b"" if isinstance(facts.deployment, ServerDeployment) else None
    else:
        content = stored.content
    if content is None:
        return None
    try:
        return parse_policy(None, content)
    except SetupError:
        return None
