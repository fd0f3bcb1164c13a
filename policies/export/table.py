"""Which rules are exported, and why the others are not."""

from collections.abc import Mapping

from policies.export import images, pod_security, resources, secrets, security_context
from policies.export import service_accounts as accounts
from policies.export.check import Check, Context, Exporter
from policies.model import Rule

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


def checks_of(rule: Rule, context: Context) -> list[Check]:
    """The rule with its parameters as CEL; empty if it is not exported."""
    export = _EXPORTED.get(rule.id)
    return export(rule, context) if export else []
