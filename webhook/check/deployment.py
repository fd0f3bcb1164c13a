"""The server's Deployment, as far as `raywarden check` reads it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from webhook.settings import defaults

DEPLOYMENT = CONTAINER = "raywarden"
# The setting is at most 3650, so a number with more digits is not valid.
_MAX_DAYS_DIGITS = 4
# How a setting can say no (pydantic, `bool`).
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy file in a ConfigMap; `content` is None if the ConfigMap does not have that key."""

    title: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The ConfigMap and the key that the policy file is mounted from."""

    config_map: str
    key: str


@dataclass(frozen=True, slots=True)
class ServerDeployment:
    """The Deployment of the server.

    `settings` are the environment variables whose values are written in the Deployment or in a
    ConfigMap that it refers to.
    """

    replicas: int
    ready: int
    image: str
    service_account: str
    settings: Mapping[str, str]
    _container: Mapping[str, Any] = field(repr=False)
    _pod: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], shared: Mapping[str, str]) -> "ServerDeployment":
        """The view of a Deployment object; `shared` are its variables from ConfigMaps."""
        spec, status = as_dict(document.get("spec")), as_dict(document.get("status"))
        pod, container = pod_spec_of(document), _container(document)
        settings = dict(shared)
        for _, variable in dict_items(container.get("env")):
            if "valueFrom" not in variable:
                settings[as_str(variable.get("name"))] = as_str(variable.get("value"))
        return cls(
            replicas=_number(spec.get("replicas"), 1),
            ready=_number(status.get("readyReplicas"), 0),
            image=as_str(container.get("image")),
            service_account=as_str(pod.get("serviceAccountName")) or "default",
            settings=settings,
            _container=container,
            _pod=pod,
        )

    @property
    def enroll_image(self) -> str:
        return self.settings.get("RAYWARDEN_ENROLL_IMAGE") or defaults()["enroll_image"]

    @property
    def admission_service(self) -> str:
        return self.settings.get("RAYWARDEN_ADMISSION_SERVICE") or defaults()["admission_service"]

    @property
    def enrollment_port(self) -> int:
        """The port of the enrollment server; 0 if the setting is not a number."""
        default: int = defaults()["enrollment_port"]
        text = self.settings.get("RAYWARDEN_ENROLLMENT_PORT", str(default))
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else 0

    @property
    def configuration(self) -> str:
        """The name of the webhook configurations; empty if the server writes no caBundle."""
        if self.own_certificate:
            return ""
        default = defaults()["webhook_configuration"]
        return self.settings.get("RAYWARDEN_WEBHOOK_CONFIGURATION", default)

    @property
    def own_certificate(self) -> str:
        """The file of a serving certificate that is not derived from the seed."""
        return self.settings.get("RAYWARDEN_TLS_CERT_FILE", "")

    @property
    def own_seed(self) -> str:
        """The folder of a mounted seed."""
        return self.settings.get("RAYWARDEN_SEED_DIR", "")

    @property
    def signs_for_clients(self) -> bool:
        """Whether the server issues certificates to people, for `raywarden connect`."""
        value = self.settings.get("RAYWARDEN_CLIENT_CERTIFICATES", "")
        return value.lower() in _TRUE

    @property
    def writes_network_policies(self) -> bool:
        """Whether the server writes NetworkPolicies for RayClusters."""
        written = self.settings.get("RAYWARDEN_WRITE_NETWORK_POLICIES", "")
        return written.lower() not in _FALSE

    @property
    def certificate_days(self) -> int:
        days = self.settings.get("RAYWARDEN_CERTIFICATE_DAYS", "")
        if days.isascii() and days.isdecimal() and len(days) <= _MAX_DAYS_DIGITS:
            return int(days)
        default: int = defaults()["certificate_days"]
        return default

    @property
    def policy_file(self) -> str:
        return self.settings.get("RAYWARDEN_POLICY_FILE", "")

    @property
    def policy_source(self) -> PolicySource | None:
        """The ConfigMap that the policy file is mounted from; None if it comes from elsewhere."""
        if not self.policy_file:
            return None
        return next(self._sources(normpath(self.policy_file)), None)

    def _sources(self, file: str) -> Iterator[PolicySource]:
        volumes = {
            as_str(volume.get("name")): as_dict(volume.get("configMap"))
            for _, volume in dict_items(self._pod.get("volumes"))
        }
        for _, mount in dict_items(self._container.get("volumeMounts")):
            volume = volumes.get(as_str(mount.get("name")), {})
            config_map = as_str(volume.get("name"))
            path = normpath(as_str(mount.get("mountPath")))
            if not config_map or not (file == path or file.startswith(f"{path}/")):
                continue
            if file == path:
                path_in_volume = as_str(mount.get("subPath"))
            else:
                path_in_volume = file.removeprefix(f"{path}/")
            yield PolicySource(config_map, _key_of(path_in_volume, volume))


def _key_of(path: str, volume: Mapping[str, Any]) -> str:
    """The key of a ConfigMap volume that is mounted at this path below the volume's root."""
    keys = {
        as_str(item.get("path")): as_str(item.get("key"))
        for _, item in dict_items(volume.get("items"))
    }
    return keys.get(path, path)


def settings_sources(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The prefix and the name of each ConfigMap in `envFrom` of the server's container."""
    for _, source in dict_items(_container(document).get("envFrom")):
        name = as_str(as_dict(source.get("configMapRef")).get("name"))
        if name:
            yield as_str(source.get("prefix")), name


def pod_spec_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod spec in a Deployment's template."""
    return as_dict(as_dict(as_dict(document.get("spec")).get("template")).get("spec"))


def _container(document: Mapping[str, Any]) -> Mapping[str, Any]:
    for _, container in dict_items(pod_spec_of(document).get("containers")):
        if container.get("name") == CONTAINER:
            return container
    return {}


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
