"""Policies that make RayWarden weaker than it can be."""

from tests.support.factory import changed
from tests.webhook.check.faults import Case, Fault, both, put, warning, without
from tests.webhook.check.healthy_installation import deployment, policy, ray_cluster
from webhook.check.findings import Status

STRICT = "kind: Policy\nprofiles: {enforce: restricted}\n"
EXEMPTION = "exemptions: [{{rules: [no-root], names: [old-*], reason: legacy image{}}}]\n"


def with_policy(text: str) -> Fault:
    return put("configmaps", policy(text))


def note(fault: Fault, id: str, text: str) -> Case:
    return Case(fault, f"policy/{id}", Status.NOTE, text)


def choice(text: str, message: str) -> Case:
    return note(with_policy(STRICT + text), "choices", message)


OLD_CLUSTER = changed(ray_cluster("old-demo", other="x"), {"/spec/tlsOptions": {"enabled": True}})

CASES = {
    "baseline": note(with_policy("kind: Policy\n"), "profile", "the profile baseline; what only"),
    "privileged": warning(
        with_policy("profiles: {enforce: privileged}\n"),
        "policy/profile",
        "privileged, which refuses almost nothing",
    ),
    "no-policy": Case(
        without("configmaps", "raywarden-system", "raywarden-policy"),
        "policy/profile",
        Status.UNKNOWN,
        "fix the Deployment or the policy file first",
    ),
    "rules-off": note(
        with_policy(f"{STRICT}rules: {{no-privileged: {{mode: off}}, no-root: {{mode: off}}}}\n"),
        "rules",
        "rules of the profile restricted have the mode off: no-privileged, no-root",
    ),
    "rules-warn": note(
        with_policy(f"{STRICT}rules: {{no-root: {{mode: warn}}}}\n"),
        "rules",
        "remove mode: warn of these rules",
    ),
    "exemption-without-end": note(
        both(with_policy(STRICT + EXEMPTION.format("")), put("rayclusters", OLD_CLUSTER)),
        "exemptions",
        "(legacy image) has no end; it covers 1 Ray objects and pods that exist",
    ),
    "exemption-of-a-user": note(
        with_policy(STRICT + EXEMPTION.format(", users: [alice], until: 2027-01-31")),
        "exemptions",
        "ends on 2027-01-31; it covers 0 Ray objects and pods that exist, if alice writes them",
    ),
    "expired-exemption": warning(
        with_policy(STRICT + EXEMPTION.format(", until: 2026-01-31")),
        "policy/exemptions",
        "expired on 2026-01-31 and exempts nothing",
    ),
    "may-loosen": choice("namespacesMayLoosen: true\n", "may choose a looser profile"),
    "may-opt-out": choice("inject: {optOutNamespaces: [lab-*]}\n", "RayClusters in lab-* may opt"),
    "no-tokens": choice("inject: {auth: off}\n", "do not ask their callers for a token"),
    "no-isolation": choice("networkIsolation: {mode: off}\n", "writes no NetworkPolicies"),
    "open-start": choice("networkIsolation: {whenMissing: start}\n", "pods start without"),
    "authors-allow": choice("networkIsolation: {authorsMayAllow: true}\n", "authors of Ray"),
    "own-network-policies": Case(
        both(
            with_policy(f"{STRICT}networkIsolation: {{mode: off}}\n"),
            put("deployments", deployment(RAYWARDEN_WRITE_NETWORK_POLICIES="false")),
        ),
        "policy/choices",
        Status.OK,
        "nothing may opt out",
    ),
}
