"""Which rules are exported, and why the others are not."""

from collections.abc import Mapping

from policies.export import images, pod_security, resources, secrets, security_context
from policies.export import service_accounts as accounts
from policies.export.check import Check, Context, Exporter
from policies.model import Rule
from policies.registry import MUTATIONS, RULES

_EXPORTED: Mapping[str, Exporter] = {
    "no-host-access": pod_security.no_host_access,
    "no-host-path": pod_security.no_host_path,
    "no-privileged": pod_security.no_privileged,
    "volume-types": pod_security.volume_types,
    "no-root": security_context.no_root,
    "no-privilege-escalation": security_context.no_privilege_escalation,
    "pinned-images": images.pinned_images,
    "ray-version-floor": images.ray_version_floor,
    "resource-limits": resources.resource_limits,
    "no-ca-key-in-pods": secrets.no_ca_key_in_pods,
    "protected-redis": secrets.protected_redis,
    "dedicated-service-account": accounts.dedicated_service_account,
    "no-token-automount": accounts.no_token_automount,
    "namespace-isolation": accounts.namespace_isolation,
    "one-job-one-cluster": accounts.one_job_one_cluster,
}

_RELATED = "it needs other objects of the namespace, which CEL does not see"
_RBAC = "it needs to know who may do what, by RBAC"
_SHELL = "it reads shell commands and the variables that Kubernetes substitutes in them"
_YAML = "it reads the YAML or JSON in a field of the object"
_WARNS = "it only warns, and knows more than the object"
# A rule is exported only if the API server then gives the same verdict on all of its fixtures.
_NOT_EXPORTED: Mapping[str, str] = {
    "no-public-head-service": "it knows the load balancer annotations of each cloud",
    "no-public-ray-service": _RELATED,
    "no-open-ingress": _RELATED,
    "reserved-names": "it compares with what RayWarden writes, also in the stored object",
    "start-command-intact": _SHELL,
    "safe-ray-start-params": _YAML,
    "no-code-hooks": _YAML,
    "operator-made-pods": _RBAC,
    "trusted-images": _YAML,
    "no-literal-credentials": _YAML,
    "no-opt-out": _RBAC,
    "tls-on": "it compares with what RayWarden writes; without RayWarden there is no TLS",
    "auth-on": _RELATED,
    "network-policy-present": _RELATED,
    "namespace-quota": _RELATED,
    "no-powerful-service-account": _RBAC,
    "needed-traffic": _WARNS,
    "ray-client-tls": _WARNS,
    "kuberay-accepts": _WARNS,
}
_MUTATIONS: Mapping[str, str] = {
    "service-type": "yes, for new RayClusters",
    "token-automount": "yes, for new RayClusters, unless `inject.auth` is `kubernetes`",
    "pod-security": "no: a policy would have to build a patch for each container of each group",
    "node-ip-address": "no: its variable comes with TLS",
    "auth-token": "no: it needs to know the release of KubeRay",
    "dashboard-proxy": "no: the proxy needs the certificate of the pod",
    "enroll-egress": "no: without RayWarden there is no enrollment",
    "managed-isolation": "no: without RayWarden nothing writes the NetworkPolicies",
    "submitter-labels": "no: the labels must be proven by the owner, which is another object",
    "ray-tls": "no: RayWarden signs the certificates",
}


def coverage() -> str:
    """What is exported, and why the rest is not, as Markdown."""
    rows = ["| rule | exported |", "|---|---|"]
    for rule in RULES:
        answer = "yes" if rule.id in _EXPORTED else f"no: {_NOT_EXPORTED[rule.id]}"
        rows.append(f"| {rule.id} | {answer} |")
    rows += ["", "| mutation | exported |", "|---|---|"]
    rows += [f"| {mutation.id} | {_MUTATIONS[mutation.id]} |" for mutation in MUTATIONS]
    return "\n".join(rows) + "\n"


def checks_of(rule: Rule, context: Context) -> list[Check]:
    """The rule with its parameters as CEL; empty if it is not exported."""
    export = _EXPORTED.get(rule.id)
    return export(rule, context) if export else []
