"""Every rule and every mutation, in running order."""

from collections.abc import Mapping, Sequence

from policies.cluster.related_object import RelatedObject
from policies.model import Mutation, Rule
from policies.mutations.auth_token import AuthToken
from policies.mutations.dashboard_proxy import DashboardProxy
from policies.mutations.enroll_egress import EnrollEgress
from policies.mutations.managed_isolation import ManagedIsolation
from policies.mutations.node_ip_address import NodeIpAddress
from policies.mutations.pod_security import PodSecurity
from policies.mutations.ray_tls import RayTls
from policies.mutations.service_type import ServiceType
from policies.mutations.submitter_labels import SubmitterLabels
from policies.mutations.token_automount import TokenAutomount
from policies.ray.workload import Workload
from policies.rules.auth_on import AuthOn
from policies.rules.dedicated_service_account import DedicatedServiceAccount
from policies.rules.kuberay_accepts import KuberayAccepts
from policies.rules.namespace_isolation import NamespaceIsolation
from policies.rules.namespace_quota import NamespaceQuota
from policies.rules.needed_traffic import NeededTraffic
from policies.rules.network_policy_present import NetworkPolicyPresent
from policies.rules.no_ca_key_in_pods import NoCaKeyInPods
from policies.rules.no_code_hooks import NoCodeHooks
from policies.rules.no_host_access import NoHostAccess
from policies.rules.no_host_path import NoHostPath
from policies.rules.no_literal_credentials import NoLiteralCredentials
from policies.rules.no_open_ingress import NoOpenIngress
from policies.rules.no_opt_out import NoOptOut
from policies.rules.no_powerful_service_account import NoPowerfulServiceAccount
from policies.rules.no_privilege_escalation import NoPrivilegeEscalation
from policies.rules.no_privileged import NoPrivileged
from policies.rules.no_public_head_service import NoPublicHeadService
from policies.rules.no_public_ray_service import NoPublicRayService
from policies.rules.no_root import NoRoot
from policies.rules.no_token_automount import NoTokenAutomount
from policies.rules.one_job_one_cluster import OneJobOneCluster
from policies.rules.operator_made_pods import OperatorMadePods
from policies.rules.pinned_images import PinnedImages
from policies.rules.protected_redis import ProtectedRedis
from policies.rules.ray_client_tls import RayClientTls
from policies.rules.ray_version_floor import RayVersionFloor
from policies.rules.reserved_names import ReservedNames
from policies.rules.resource_limits import ResourceLimits
from policies.rules.safe_ray_start_params import SafeRayStartParams
from policies.rules.start_command_intact import StartCommandIntact
from policies.rules.tls_on import TlsOn
from policies.rules.trusted_images import TrustedImages
from policies.rules.volume_types import VolumeTypes

# The rules of a list are enforced from that profile on. `trusted-images` has no effect until the
# policy file lists registries for it.
BASELINE: tuple[type[Rule], ...] = (
    NoPublicHeadService,
    NoPublicRayService,
    NoOpenIngress,
    NoHostAccess,
    NoHostPath,
    NoPrivileged,
    ReservedNames,
    StartCommandIntact,
    SafeRayStartParams,
    NoCodeHooks,
    OperatorMadePods,
    RayVersionFloor,
    TrustedImages,
    NoLiteralCredentials,
    NoOptOut,
)
RESTRICTED: tuple[type[Rule], ...] = (
    TlsOn,
    AuthOn,
    NoRoot,
    NoPrivilegeEscalation,
    NoCaKeyInPods,
    NetworkPolicyPresent,
    PinnedImages,
    ResourceLimits,
    NamespaceQuota,
    DedicatedServiceAccount,
    NoTokenAutomount,
    NamespaceIsolation,
    OneJobOneCluster,
    VolumeTypes,
    NoPowerfulServiceAccount,
    ProtectedRedis,
    NeededTraffic,
    RayClientTls,
    KuberayAccepts,
)
RULES = BASELINE + RESTRICTED
RULE_IDS = tuple(rule.id for rule in RULES)

MUTATIONS: tuple[Mutation, ...] = (
    PodSecurity(),
    NodeIpAddress(),
    ServiceType(),
    TokenAutomount(),
    AuthToken(),
    DashboardProxy(),
    EnrollEgress(),
    ManagedIsolation(),
    SubmitterLabels(),
    # Last, because it inserts a container at the start of a list. That moves the other containers,
    # and the pointers of the view would no longer match.
    RayTls(),
)
MUTATION_IDS = tuple(mutation.id for mutation in MUTATIONS)


def by_subject(rules: Sequence[Rule]) -> Mapping[type, Sequence[Rule]]:
    """The rules that check workloads, and those that check related objects, in running order."""
    checks, checks_related = Rule.check, Rule.check_related_object
    return {
        Workload: tuple(rule for rule in rules if type(rule).check is not checks),
        RelatedObject: tuple(
            rule for rule in rules if type(rule).check_related_object is not checks_related
        ),
    }
