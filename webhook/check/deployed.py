"""The server as it is installed: what its Deployment says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from webhook.settings import defaults

DEPLOYMENT = CONTAINER = "raywarden"


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A policy file where it stands; `content` is None where its ConfigMap has no such key."""

    title: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where the policy file comes from: a key of a ConfigMap."""

    config_map: str
    key: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """A Deployment of the server, as far as it matters.

    `settings` are the variables that are written out in it, or in a ConfigMap it takes them from.
    """

    replicas: int
    ready: int
    image: str
    service_account: str
    settings: Mapping[str, str]
    _container: Mapping[str, Any] = field(repr=False)
    _pod: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], shared: Mapping[str, str]) -> "Deployed":
        """The view of a Deployment object; `shared` are the variables that come to it from ConfigMaps."""
        spec, status = as_dict(document.get("spec")), as_dict(document.get("status"))
        pod, container = pod_of(document), _container(document)
        written = [one for _, one in dict_items(container.get("env")) if "valueFrom" not in one]
        settings = {
            **shared,
            **{as_str(one.get("name")): as_str(one.get("value")) for one in written},
        }
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
    def configuration(self) -> str:
        """The name of the webhook configurations; empty where their caBundle is not ours to write."""
        name = self.settings.get(
            "RAYWARDEN_WEBHOOK_CONFIGURATION", defaults()["webhook_configuration"]
        )
        return "" if self.own_certificate else name

    @property
    def own_certificate(self) -> str:
        """The file of a serving certificate that does not come from the seed."""
        return self.settings.get("RAYWARDEN_TLS_CERT_FILE", "")

    @property
    def own_seed(self) -> str:
        """The folder of a seed that is mounted."""
        return self.settings.get("RAYWARDEN_SEED_DIR", "")

    @property
    def certificate_days(self) -> int:
        days = self.settings.get("RAYWARDEN_CERTIFICATE_DAYS", "")
        return (
            int(days)
            if days.isascii() and days.isdecimal() and len(days) < 5
            else defaults()["certificate_days"]
        )

    @property
    def policy_file(self) -> str:
        return self.settings.get("RAYWARDEN_POLICY_FILE", "")

    @property
    def policy_source(self) -> PolicySource | None:
        """The ConfigMap the policy file is mounted from; None where it comes from elsewhere."""
        return next(self._sources(normpath(self.policy_file)), None) if self.policy_file else None

    def _sources(self, file: str) -> Iterator[PolicySource]:
        volumes = {
            as_str(one.get("name")): as_dict(one.get("configMap"))
            for _, one in dict_items(self._pod.get("volumes"))
        }
        for _, mount in dict_items(self._container.get("volumeMounts")):
            config_map, path = (
                volumes.get(as_str(mount.get("name")), {}),
                normpath(as_str(mount.get("mountPath"))),
            )
            inside = as_str(mount.get("subPath")) if file == path else file.removeprefix(f"{path}/")
            if as_str(config_map.get("name")) and (file == path or file.startswith(f"{path}/")):
                keys = {
                    as_str(item.get("path")): as_str(item.get("key"))
                    for _, item in dict_items(config_map.get("items"))
                }
                yield PolicySource(as_str(config_map["name"]), keys.get(inside, inside))


def shared_settings(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The ConfigMaps a Deployment takes variables from, each after the prefix that its variables get."""
    for _, source in dict_items(_container(document).get("envFrom")):
        if name := as_str(as_dict(source.get("configMapRef")).get("name")):
            yield as_str(source.get("prefix")), name


def pod_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of the pods that a Deployment makes."""
    return as_dict(as_dict(as_dict(document.get("spec")).get("template")).get("spec"))


def _container(document: Mapping[str, Any]) -> Mapping[str, Any]:
    listed = (
        one
        for _, one in dict_items(pod_of(document).get("containers"))
        if one.get("name") == CONTAINER
    )
    return next(listed, {})


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
