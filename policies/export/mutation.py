"""Defaults as MutatingAdmissionPolicies, for new RayClusters.

Only what needs no signer and no other object: a RayCluster gets TLS and tokens from RayWarden
alone. An update stays as its author sends it.
"""

from collections.abc import Iterator
from typing import Any

from policies.config import Policy
from policies.export.bindings import LABELS
from policies.export.service_accounts import needs_token
from policies.export.text import cel, matches_any
from policies.export.validation import API_VERSION, excluded_namespaces, needed
from policies.export.view import view
from policies.injection.contract import API_TOKEN_DIRECTORY

# As `is_target`: TLS by KubeRay or by the author means that RayWarden leaves the cluster alone.
_IS_TARGET = """
!($may_opt_out && [object.metadata.?labels, object.metadata.?annotations].exists(m,
  m.orValue({})[?"raywarden.io/inject"].orValue("true") != "true"))
"""
_SERVICE_TYPE = """
variables.tlsBy in ["", "raywarden"] && size(object.?spec.?headGroupSpec.orValue({})) > 0
&& !has(object.spec.headGroupSpec.serviceType)
? [JSONPatch{op: "add", path: "/spec/headGroupSpec/serviceType", value: "ClusterIP"}] : []
"""
_GETS_NO_TOKEN = """
size(p.spec.?containers.orValue([])) > 0 && !has(p.spec.automountServiceAccountToken)
&& !($needs_token)
&& !p.containers.exists(c, c.raw.?volumeMounts.orValue([])
  .exists(m, m.?mountPath.orValue("") == "$directory"))
"""
# The pods of the head and of each group have the order of the RayCluster.
_TOKEN_AUTOMOUNT = """
variables.tlsBy in ["", "raywarden"]
? variables.podsOnly.transformList(i, p, $gets_no_token, JSONPatch{op: "add",
    path: (i == 0 ? "/spec/headGroupSpec" : "/spec/workerGroupSpecs/" + string(i - 1))
      + "/template/spec/automountServiceAccountToken", value: false}) : []
"""


def mutating_policies(policy: Policy) -> Iterator[dict[str, Any]]:
    """The policies of the exported mutations, each followed by its binding."""
    injection = policy.inject
    if injection.ray_cluster == "marker":
        return
    yield from _policy("service-type", cel(_SERVICE_TYPE), policy)
    # With Kubernetes identities, Ray's own pods need the token.
    if injection.auth != "kubernetes":
        gets_no_token = cel(
            _GETS_NO_TOKEN, needs_token=needs_token(), directory=API_TOKEN_DIRECTORY
        )
        expression = cel(_TOKEN_AUTOMOUNT, gets_no_token=gets_no_token)
        yield from _policy("token-automount", expression, policy)


def _policy(mutation: str, patch: str, policy: Policy) -> Iterator[dict[str, Any]]:
    name = f"raywarden-{mutation}"
    may_opt_out = matches_any("request.namespace", policy.inject.opt_out_namespaces)
    rule = {
        "apiGroups": ["ray.io"],
        "apiVersions": ["v1"],
        "resources": ["rayclusters"],
        "operations": ["CREATE"],
    }
    metadata = {"name": name, "labels": dict(LABELS)}
    yield {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            # As for the webhook: the validating policies judge what is stored.
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {**excluded_namespaces(), "resourceRules": [rule]},
            "matchConditions": [
                {"name": "is-target", "expression": cel(_IS_TARGET, may_opt_out=may_opt_out)}
            ],
            "variables": needed(list(view(False, ".repository" in patch)), patch),
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        },
    }
    yield {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {**metadata, "labels": dict(LABELS)},
        "spec": {"policyName": name},
    }
