"""The token with which Ray authenticates people, where the cluster asks for one."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.documents.untyped import as_dict, as_str
from policies.ray.auth import KUBERNETES_TOKENS, MODE, TOKEN, TOKEN_MODE, reads_as_true
from webhook.connect.problems import ConnectError
from webhook.connect.ray_head import RayHead
from webhook.kube.adapters import SECRETS
from webhook.kube.api import KubeApi
from webhook.kube.request import ForbiddenError
from webhook.ports import UnavailableError

# The key that KubeRay gives to the token.
_DEFAULT_KEY = "auth_token"


@dataclass(frozen=True, slots=True)
class RayToken:
    """Whether the cluster asks for a token, and the token."""

    required: bool
    value: str = field(default="", repr=False)


async def ray_token(api: KubeApi, head: RayHead, own: str) -> RayToken:
    """The token of a cluster; `own` is one that the user has set, and wins. Raises ConnectError."""
    mode = as_str(head.environment.get(MODE, {}).get("value")).lower()
    if mode != TOKEN_MODE:
        return RayToken(required=False)
    if own:
        return RayToken(True, own)
    if reads_as_true(head.environment.get(KUBERNETES_TOKENS, {})):
        # Not done here: the head could use the token for anything that the user may do.
        raise ConnectError(
            f"{head.cluster} accepts Kubernetes tokens: set RAY_AUTH_TOKEN to the token of a "
            "service account that may do no more (kubectl create token NAME), and try again"
        )
    entry = head.environment.get(TOKEN, {})
    reference = as_dict(as_dict(entry.get("valueFrom")).get("secretKeyRef"))
    if not reference:
        value = as_str(entry.get("value"))
        if value and "$(" not in value:
            return RayToken(True, value)
        raise ConnectError(
            f"{head.cluster} asks for a token, and its head does not say where it is: "
            "set RAY_AUTH_TOKEN, and try again"
        )
    return RayToken(True, await _secret(api, head, reference))


async def _secret(api: KubeApi, head: RayHead, reference: Mapping[str, Any]) -> str:
    namespace, name = head.cluster.namespace, as_str(reference.get("name"))
    key = as_str(reference.get("key")) or _DEFAULT_KEY
    try:
        secret = await api.get(SECRETS, namespace, name)
    except ForbiddenError:
        raise ConnectError(
            f"you may not read the token of {head.cluster}: ask an administrator for it, or for "
            f"the right to read it (kubectl create role NAME --namespace={namespace} --verb=get "
            f"--resource=secrets --resource-name={name}), and set RAY_AUTH_TOKEN if you have it"
        ) from None
    except UnavailableError as error:
        raise ConnectError(str(error)) from None
    encoded = as_str(as_dict((secret or {}).get("data")).get(key))
    try:
        token = base64.b64decode(encoded).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        token = ""
    if not token:
        raise ConnectError(
            f"the Secret {namespace}/{name} has no token in {key}: set RAY_AUTH_TOKEN, "
            "and try again"
        )
    return token
