"""What to write where Ray does not authenticate its callers, with the versions at hand."""

import re

from policies.cluster.roles import AUTH_DELEGATOR
from policies.documents.untyped import as_str
from policies.model import Facts
from policies.ray.auth import MODE, TOKEN, TOKEN_MODE, TOKEN_PATH, TokenSource, mode_of
from policies.ray.operator import TOKENS_SINCE
from policies.ray.version import (
    AGENT_AUTH_SINCE,
    TOKEN_AUTH_SINCE,
    dotted,
    ray_version,
    versions_of,
)
from policies.ray.workload import Workload

# As the API server accepts names of service accounts, namespaces and RayClusters.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECRET = "valueFrom: {secretKeyRef: {name: SECRET, key: auth_token}}"
_FIX_CLUSTER = "set authOptions: {mode: token} in the cluster's spec (Ray 2.52 or later)"
_FIX_VERSION = (
    f"use Ray {dotted(AGENT_AUTH_SINCE)} or later in every image, state it as rayVersion, and set "
    "authOptions: {mode: token} in the cluster's spec"
)
_FIX_OWNER = "in the RayCluster of this pod, set authOptions: {mode: token} (Ray 2.52 or later)"
_FIX_POD = (
    "add {name: RAY_AUTH_MODE, value: token} to env of the Ray containers, and RAY_AUTH_TOKEN with "
    "valueFrom.secretKeyRef (Ray 2.52 or later)"
)
_FIX_KUBERAY = (
    f"upgrade KubeRay to {dotted(TOKENS_SINCE)} or later, because the installed one drops "
    f"authOptions; until then, {_FIX_POD}"
)


def source_fix(source: TokenSource, by_kuberay: bool) -> str:
    """What to write instead of a token that is not from a Secret."""
    if by_kuberay and source.name == TOKEN:
        return f"remove {TOKEN}; KubeRay sets it from a Secret"
    if by_kuberay:
        return f"remove {TOKEN} and {TOKEN_PATH}; KubeRay sets the token from a Secret"
    if source.name == TOKEN_PATH:
        return f"mount the file from a Secret, or set {TOKEN} with valueFrom.secretKeyRef"
    if not source.origin:
        return f"add {TOKEN} with valueFrom.secretKeyRef"
    return f"set {_SECRET}{' instead of value' if source.literal else ''}"


def token_fix(workload: Workload, facts: Facts) -> str:
    """How to turn token authentication on, with the Ray and the KubeRay at hand."""
    cluster = workload.cluster
    if cluster is None:
        return _FIX_OWNER if workload.is_kuberay_pod else _FIX_POD
    if facts.namespace_state.kuberay.tokens is False:
        return _FIX_KUBERAY
    oldest = min((version for version, _ in versions_of(workload)), default=TOKEN_AUTH_SINCE)
    # KubeRay refuses tokens where rayVersion is missing or older.
    if oldest < TOKEN_AUTH_SINCE or ray_version(as_str(cluster.spec.get("rayVersion"))) is None:
        return _FIX_VERSION
    if oldest < AGENT_AUTH_SINCE:
        return f"{_FIX_CLUSTER}; port 52365 asks for it from Ray {dotted(AGENT_AUTH_SINCE)} on"
    return _FIX_CLUSTER


def mode_fix(workload: Workload, facts: Facts) -> str:
    """What to do about a RAY_AUTH_MODE with a wrong value."""
    if workload.cluster and mode_of(workload.cluster) == TOKEN_MODE:
        return f"remove {MODE}; authOptions is enough"
    if workload.cluster or workload.is_kuberay_pod:
        return f"remove {MODE}, and {token_fix(workload, facts)}"
    return f"set value: {TOKEN_MODE}"


def review_binding(namespace: str, account: str) -> str:
    """What to apply so that Ray's pods with this service account can ask about tokens."""
    # Someone will apply what stands here, so nothing but names may stand in it. YAML reads some
    # names as numbers. No part of a name has a colon, so no two bindings get the same name.
    if not (_NAME.fullmatch(account) and _NAME.fullmatch(namespace)):
        return f"bind the ClusterRole {AUTH_DELEGATOR} to it with a ClusterRoleBinding"
    return (
        "apply {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, "
        f"metadata: {{name: 'ray-tokens:{namespace}:{account}'}}, "
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, "
        f"name: '{AUTH_DELEGATOR}'}}, "
        f"subjects: [{{kind: ServiceAccount, name: '{account}', namespace: '{namespace}'}}]}}"
    )


def membership_binding(namespace: str, account: str, cluster: str) -> str:
    """What to apply so that the pods of a RayCluster may connect to each other."""
    if not all(map(_NAME.fullmatch, (namespace, account, cluster))):
        return "grant the verb ray:write on rayclusters.ray.io to it with a Role and a RoleBinding"
    api = "rbac.authorization.k8s.io"
    # The head and the workers may have different service accounts, and so different bindings.
    name = f"'ray-members:{cluster}:{account}'"
    metadata = f"metadata: {{name: {name}, namespace: '{namespace}'}}"
    return (
        f"apply {{apiVersion: v1, kind: List, items: [{{apiVersion: {api}/v1, kind: Role, "
        f"{metadata}, rules: [{{apiGroups: [ray.io], resources: [rayclusters], "
        f"resourceNames: ['{cluster}'], verbs: ['ray:write']}}]}}, "
        f"{{apiVersion: {api}/v1, kind: RoleBinding, {metadata}, "
        f"roleRef: {{apiGroup: {api}, kind: Role, name: {name}}}, "
        f"subjects: [{{kind: ServiceAccount, name: '{account}', namespace: '{namespace}'}}]}}]}}"
    )
