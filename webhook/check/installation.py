"""Is the API server new enough, may the server do its work, is it installed as it should be?"""

import re
from collections.abc import Iterator
from pathlib import Path

from policies.config import Policy
from policies.documents.untyped import as_str
from policies.ray.image import tag_of
from webhook.check.deployed import DEPLOYMENT, Deployed, PolicyText
from webhook.check.findings import (
    CheckFacts,
    Finding,
    Unavailable,
    can_i,
    failed,
    named,
    ok,
    unknown,
    warning,
)
from webhook.policy.file import parse_policy
from webhook.settings import SetupError

_OLDEST = (1, 30)
_NUMBER = re.compile(r"[0-9]+")
_VERSION = re.compile(r"v?([0-9]+\.[0-9]+\.[0-9]+\S*)")
APPLY = "kubectl apply -k deploy/base"


def kubernetes_api(facts: CheckFacts) -> Iterator[Finding]:
    """The API server answers, and knows `matchConditions` for good (Kubernetes 1.30)."""
    if isinstance(facts.server, Unavailable):
        yield unknown("version", "the version of the API server", facts.server)
        return
    said = as_str(facts.server.get("gitVersion")) or "a version it does not name"
    parts = [_NUMBER.match(as_str(facts.server.get(part))) for part in ("major", "minor")]
    found = tuple(int(part[0]) for part in parts if part)
    if len(found) == len(parts) and found >= _OLDEST:
        yield ok("version", f"the API server answers, and is {said}")
    else:
        message = (
            f"the API server is {said}: matchConditions of webhooks are there for good since 1.30"
        )
        yield failed("version", message, "upgrade the cluster to Kubernetes 1.30 or later")


def permissions(facts: CheckFacts) -> Iterator[Finding]:
    """The server's service account has every right it needs."""
    if isinstance(facts.rights, Unavailable):
        yield unknown("rights", "whether the server has its rights", facts.rights)
    elif facts.rights is None:
        nobody = Unavailable(
            "no Deployment says which service account it is", "see to the Deployment first"
        )
        yield unknown("rights", "whether the server has its rights", nobody)
    elif missing := [right for right, allowed in facts.rights.items() if not allowed]:
        account = facts.deployed.service_account if isinstance(facts.deployed, Deployed) else ""
        who = f"system:serviceaccount:{facts.namespace}:{account}"
        message = f"{who} may not {', '.join(missing)}"
        remediation = f"grant it with RBAC: {APPLY}; then ask with {can_i(missing[0])} --as {who}"
        yield failed("rights", message, remediation)
    else:
        yield ok("rights", f"the server has every right it needs ({len(facts.rights)})")


def installation(facts: CheckFacts) -> Iterator[Finding]:
    """Deployment, Services and policy file are there, and fit together."""
    deployed = facts.deployed
    where = f"the Deployment {facts.namespace}/{DEPLOYMENT}"
    if isinstance(deployed, Unavailable):
        yield unknown("deployment", where, deployed)
    elif deployed is None:
        remediation = f"{APPLY}; or name its namespace with RAYWARDEN_NAMESPACE"
        yield failed(
            "deployment", f"there is no Deployment {facts.namespace}/{DEPLOYMENT}", remediation
        )
    else:
        yield _ready(facts, deployed)
        yield _replicas(facts, deployed)
        yield _images(facts, deployed)
        yield from _version(facts, deployed)
    yield from _services(facts)
    yield from _policy(facts)


def _ready(facts: CheckFacts, deployed: Deployed) -> Finding:
    message = f"{deployed.ready} of {deployed.replicas} replicas are ready"
    if deployed.ready >= deployed.replicas > 0:
        return ok("replicas-ready", message)
    look = f"kubectl -n {facts.namespace} describe pods, and logs deployment/{DEPLOYMENT}; /readyz names what it lacks"
    if deployed.ready > 0:
        return warning("replicas-ready", message, look)
    scale = f"kubectl -n {facts.namespace} scale deployment/{DEPLOYMENT} --replicas=2"
    return failed("replicas-ready", message, look if deployed.replicas else scale)


def _replicas(facts: CheckFacts, deployed: Deployed) -> Finding:
    if deployed.replicas > 1:
        return ok("replicas", "no single replica is needed")
    message = "there is one replica only: while it restarts, no Ray pod and no change of Ray objects is let in"
    remediation = f"kubectl -n {facts.namespace} scale deployment/{DEPLOYMENT} --replicas=2"
    return warning("replicas", message, remediation)


def _images(facts: CheckFacts, deployed: Deployed) -> Finding:
    if deployed.image == deployed.enroll_image:
        return ok("enroll-image", f"server and init container are {deployed.image}")
    message = (
        f"the server is {deployed.image}, and the init container of pods {deployed.enroll_image}"
    )
    remediation = (
        f"kubectl -n {facts.namespace} set env deployment/{DEPLOYMENT} RAYWARDEN_ENROLL_IMAGE={deployed.image}; "
        "leave it where a mirror calls the same image so"
    )
    return warning("enroll-image", message, remediation)


def _version(facts: CheckFacts, deployed: Deployed) -> Iterator[Finding]:
    found = _VERSION.fullmatch(tag_of(deployed.image))
    if found and found[1] == facts.version:
        yield ok("version", f"the server is of this version, {facts.version}")
    elif found:
        message = f"the server is {found[1]}, and this command {facts.version}: they may differ in what is right"
        yield warning(
            "version", message, f"check with the server's own: pip install raywarden=={found[1]}"
        )


def _services(facts: CheckFacts) -> Iterator[Finding]:
    missing = [name for name, found in facts.services.items() if found is None]
    for name, found in facts.services.items():
        if isinstance(found, Unavailable):
            yield unknown("services", f"the Service {facts.namespace}/{name}", found)
    if missing:
        message = f"there is no Service {named(missing)} in {facts.namespace}: nobody finds the server without"
        yield failed("services", message, APPLY)
    elif not any(isinstance(found, Unavailable) for found in facts.services.values()):
        yield ok("services", f"the Services {named(list(facts.services))} are there")


def _policy(facts: CheckFacts) -> Iterator[Finding]:
    policy = facts.policy
    if isinstance(policy, Unavailable):
        yield unknown("policy", "the policy file", policy)
    elif policy is None:
        if isinstance(facts.deployed, Deployed):
            yield ok("policy", "the default policy is in force (no RAYWARDEN_POLICY_FILE)")
    elif policy.content is None:
        message = f"{policy.title} is not there: the server cannot start without its policy file"
        yield failed(
            "policy",
            message,
            f"write the policy there, as deploy/base/policy.yaml has it, or {APPLY}",
        )
    else:
        problems = list(_problems(policy))
        for problem in problems:
            yield failed(
                "policy",
                problem,
                "mend it; replicas that run keep the last good one, new ones do not start",
            )
        if not problems:
            yield ok("policy", f"the policy in {policy.title} can be read")


def _problems(policy: PolicyText) -> Iterator[str]:
    try:
        parse_policy(Path(policy.title), policy.content or b"")
    except SetupError as error:
        yield from str(error).splitlines()


def policy_of(facts: CheckFacts) -> Policy | None:
    """The policy in force; None where that is not known, or it cannot be read."""
    if isinstance(facts.policy, Unavailable) or (
        facts.policy is None and not isinstance(facts.deployed, Deployed)
    ):
        return None
    if facts.policy is not None and facts.policy.content is None:
        return None
    try:
        return parse_policy(None, (facts.policy.content or b"") if facts.policy else b"")
    except SetupError:
        return None
