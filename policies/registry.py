"""Every rule and every mutation there is, in running order."""

from policies.model import Mutation, Rule
from policies.mutations.auth_token import AuthToken
from policies.mutations.enroll_egress import EnrollEgress
from policies.mutations.node_ip_address import NodeIpAddress
from policies.mutations.pod_security import PodSecurity
from policies.mutations.ray_tls import RayTls
from policies.mutations.service_type import ServiceType
from policies.mutations.token_automount import TokenAutomount
from policies.rules.no_host_access import NoHostAccess
from policies.rules.no_host_path import NoHostPath
from policies.rules.no_literal_credentials import NoLiteralCredentials
from policies.rules.no_privileged import NoPrivileged
from policies.rules.no_public_head_service import NoPublicHeadService
from policies.rules.ray_version_floor import RayVersionFloor
from policies.rules.reserved_names import ReservedNames
from policies.rules.safe_ray_start_params import SafeRayStartParams
from policies.rules.start_command_intact import StartCommandIntact
from policies.rules.tls_on import TlsOn

RULES: tuple[type[Rule], ...] = (
    NoPublicHeadService,
    NoHostAccess,
    NoHostPath,
    NoPrivileged,
    TlsOn,
    ReservedNames,
    StartCommandIntact,
    SafeRayStartParams,
    NoLiteralCredentials,
    RayVersionFloor,
)

MUTATIONS: tuple[Mutation, ...] = (
    PodSecurity(),
    NodeIpAddress(),
    ServiceType(),
    TokenAutomount(),
    AuthToken(),
    EnrollEgress(),
    # Last, because it puts a container first in a list and so moves the others away from where the view has them.
    RayTls(),
)
