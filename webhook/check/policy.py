"""Checks of the policy in force: what in it makes RayWarden weaker than it can be."""

from collections.abc import Iterator

from policies.config import Exemption, Policy
from policies.documents.metadata import metadata_of, name_of, namespace_of
from policies.documents.patterns import matches_any_or_all
from policies.documents.untyped import as_str
from policies.model import Mode, Profile
from webhook.check.deployment import ServerDeployment
from webhook.check.facts import CheckFacts, Object, Unavailable, or_empty
from webhook.check.findings import Finding, enumerated, note, ok, or_ok, unknown, warning
from webhook.check.installation import policy_of


def policy(facts: CheckFacts) -> Iterator[Finding]:
    """What the policy file allows: a weaker profile, rules that only warn, exemptions, opt-outs."""
    known = policy_of(facts)
    if known is None:
        unavailable = Unavailable(
            "the Deployment or its policy file is not known",
            "fix the Deployment or the policy file first",
        )
        yield unknown("profile", "how strict the policy is", unavailable)
        return
    yield _profile(known)
    yield from or_ok(_looser_rules(known), "rules", "every rule has the effect of its profile")
    yield from or_ok(_exemptions(facts, known), "exemptions", "nothing is exempt from a rule")
    yield from or_ok(_choices(facts, known), "choices", "nothing may opt out of protection")


def _profile(policy: Policy) -> Finding:
    profile = policy.floor(Mode.ENFORCE)
    message = f"the policy enforces the profile {profile}"
    if profile is Profile.RESTRICTED:
        return ok("profile", message)
    remediation = (
        "set profiles: {enforce: restricted} in the policy; raywarden scan shows first what "
        "that would refuse"
    )
    if profile is Profile.BASELINE:
        allowed = "what only restricted refuses is admitted"
        return note("profile", f"{message}; {allowed}", remediation)
    return warning("profile", f"{message}, which refuses almost nothing", remediation)


def _looser_rules(policy: Policy) -> Iterator[Finding]:
    """The rules that the enforced profile has, and that refuse nothing."""
    floor = policy.floor(Mode.ENFORCE)
    ids_by_mode: dict[str, list[str]] = {}
    for rule in policy.rules:
        settings = policy.file.rules.get(rule.id)
        mode = settings.mode if settings else None
        if mode not in (None, "enforce") and rule.profile <= floor:
            ids_by_mode.setdefault(str(mode), []).append(rule.id)
    for name, ids in ids_by_mode.items():
        message = f"rules of the profile {floor} have the mode {name}: {', '.join(ids)}"
        remediation = f"remove mode: {name} of these rules from the policy"
        yield note("rules", message, remediation)


def _exemptions(facts: CheckFacts, policy: Policy) -> Iterator[Finding]:
    for exemption in policy.file.exemptions:
        rules = enumerated(exemption.rules) if exemption.rules else "all rules"
        title = f"the exemption from {rules} ({exemption.reason})"
        if not exemption.holds(facts.now.date()):
            message = f"{title} expired on {exemption.until} and exempts nothing any more"
            remediation = "remove the exemption from the policy, or set a later day in until"
            yield warning("exemptions", message, remediation)
            continue
        end = f"ends on {exemption.until}" if exemption.until else "has no end"
        remediation = "remove the exemption from the policy when nothing needs it"
        if not exemption.until:
            remediation = f"set until: DAY in the exemption; {remediation}"
        yield note("exemptions", f"{title} {end}; {_covered(facts, exemption)}", remediation)


def _covered(facts: CheckFacts, exemption: Exemption) -> str:
    """Which of the objects that exist the exemption is for."""
    lists = (*facts.ray_objects.values(), facts.ray_pods)
    number = 0
    for objects in lists:
        number += sum(_covers(exemption, document) for document in or_empty(objects))
    by_users = f", if {enumerated(exemption.users)} writes them" if exemption.users else ""
    return f"it covers {number} Ray objects and pods that exist{by_users}"


def _covers(exemption: Exemption, document: Object) -> bool:
    name = as_str(metadata_of(document).get("generateName")) or name_of(document)
    return matches_any_or_all(namespace_of(document), exemption.namespaces) and (
        matches_any_or_all(name, exemption.names)
    )


def _choices(facts: CheckFacts, policy: Policy) -> Iterator[Finding]:
    """Switches that hand protection over to authors, or turn a part of it off."""
    file, isolation = policy.file, policy.network_isolation
    if file.namespaces_may_loosen:
        message = "labels of a namespace may choose a looser profile (namespacesMayLoosen)"
        yield note("choices", message, "set namespacesMayLoosen: false in the policy")
    opted_out = file.inject.opt_out_namespaces
    if opted_out:
        message = f"RayClusters in {enumerated(opted_out)} may opt out of TLS"
        yield note("choices", message, "remove inject.optOutNamespaces from the policy")
    if file.inject.auth == "off":
        message = "new RayClusters do not ask their callers for a token (inject.auth: off)"
        yield note("choices", message, "remove inject.auth: off from the policy")
    deployment = facts.deployment
    if isinstance(deployment, ServerDeployment) and not deployment.writes_network_policies:
        return
    if isolation.mode == "off":
        message = "RayWarden writes no NetworkPolicies for RayClusters (networkIsolation.mode: off)"
        yield note("choices", message, "set networkIsolation: {mode: members} in the policy")
    if isolation.when_missing == "start":
        message = (
            "pods start without their NetworkPolicies if these cannot be written "
            "(networkIsolation.whenMissing: start)"
        )
        yield note("choices", message, "set networkIsolation.whenMissing: hold in the policy")
    if isolation.authors_may_allow:
        message = (
            "authors of RayClusters may let others in with the annotation raywarden.io/allow-from "
            "(networkIsolation.authorsMayAllow)"
        )
        yield note("choices", message, "set networkIsolation.authorsMayAllow: false in the policy")
