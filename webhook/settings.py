"""The only reader of the environment."""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, IPvAnyAddress, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX = "RAYWARDEN_"
# What the injected init container has in its environment, beside the signer's URL.
_OF_PODS = ("POD_IP", "SIGNER_CA")
_LINKED_HOST = "_SERVICE_HOST"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class SetupError(Exception):
    """RayWarden cannot start as it is set up; the message says what to change."""


class Settings(BaseSettings):
    """What an operator may turn, each as `RAYWARDEN_<NAME>`. Policy is not here: it has a file of its own."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    host: IPvAnyAddress = Field(IPv4Address("0.0.0.0"), description="address to listen on")
    admission_port: int = Field(
        8443, ge=0, le=65535, description="`/mutate` and `/validate`, over TLS; 0 picks one"
    )
    enrollment_port: int = Field(
        8444, ge=0, le=65535, description="`/v1/certificates`, over TLS; 0 picks one"
    )
    operations_port: int = Field(
        8080, ge=0, le=65535, description="`/livez`, `/readyz` and `/metrics`, plain; 0 picks one"
    )
    policy_file: Path | None = Field(
        None,
        description="policy file (YAML), read again on change; without it the default policy holds",
    )
    objects_file: Path | None = Field(
        None,
        description="with `--dev`, the Kubernetes objects that exist (YAML or JSON): Namespaces, whose labels choose "
        "profiles, and Pods, Services and RayClusters for enrollment",
    )
    kubeconfig: Path | None = Field(
        None, description="how to reach the API server from outside the cluster"
    )
    namespace: str = Field(
        "raywarden-system", pattern=_LABEL, description="namespace RayWarden runs in"
    )
    seed_dir: Path | None = Field(
        None,
        description="folder with the seed, one file a generation; without it, the Secret `raywarden-seed`",
    )
    admission_service: str = Field(
        "raywarden", pattern=_LABEL, description="Service in front of the admission port"
    )
    serving_names: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.:, -]*$",
        description="further names and addresses of our serving certificate, by comma",
    )
    webhook_configuration: str = Field(
        "raywarden",
        description="name of our two webhook configurations; empty: their caBundle is not ours to write",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="serving certificate chain (PEM), where it shall not come from the seed; read again on change",
    )
    tls_key_file: Path | None = Field(None, description="its private key (PEM)")
    signer_ca_file: Path | None = Field(
        None, description="its CA, which pods then trust for enrollment (PEM)"
    )
    signer_url: str = Field(
        default_factory=lambda known: f"https://raywarden-enroll.{known['namespace']}.svc:8444",
        pattern=r"^https://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/\S*)?$",
        description="enrollment, as pods reach it; by default in `RAYWARDEN_NAMESPACE`",
    )
    enroll_image: str = Field(
        "raywarden:latest", min_length=1, description="image of the injected init container"
    )
    root_cert_file: Path | None = Field(
        None,
        description="an own CA (PEM, with those above it) that vouches for cluster CAs to the outside",
    )
    root_key_file: Path | None = Field(None, description="its private key (PEM)")
    trust_domain: str = Field(
        "cluster.local",
        pattern=r"^[a-z0-9._-]+$",
        description="SPIFFE trust domain of the names in certificates",
    )
    certificate_days: int = Field(
        730,
        ge=1,
        le=3650,
        description="life of a pod's certificate; it must outlast the pod, because Ray never reads its files again",
    )
    ca_cache_size: int = Field(10_000, gt=0, description="cluster CAs kept in memory")
    address_wait_seconds: float = Field(
        5.0,
        ge=0,
        le=30,
        description="an enrollment waits this long for the API server to know the pod's address",
    )
    require_peer_address: bool = Field(
        False,
        description="refuse enrollments from other addresses than the pod's; not for networks that hide it",
    )
    enrollments_per_minute: int = Field(
        10, gt=0, description="certificates one pod may ask for in a minute"
    )
    max_enrollments: int = Field(
        500, gt=0, description="enrollments at once; more get 503 and come again"
    )
    max_enrollment_bytes: int = Field(32 * 1024, gt=0, description="larger enrollments get 413")
    resync_seconds: float = Field(
        10.0,
        gt=0,
        le=60,
        description="how often the policy file, the seed, our certificate and the caBundle are looked at",
    )
    max_body_bytes: int = Field(8 * 1024 * 1024, gt=0, description="larger requests get 413")
    max_large_bodies_bytes: int = Field(
        64 * 1024 * 1024,
        gt=0,
        description="what is beyond 128 KiB of each request, together; beyond that 503 for who sends longest",
    )
    body_timeout_seconds: float = Field(
        5.0, gt=0, description="a request body that takes longer gets 408"
    )
    wait_seconds: float = Field(
        10.0,
        gt=0,
        description="a connection that does not bring its request header, or take its answer, is closed",
    )
    keep_alive_seconds: int = Field(
        130,
        gt=90,
        description="idle connections are kept this long; the API server keeps them 90 s and must close first",
    )
    max_connections: int = Field(
        1000, gt=0, description="connections of one port; the idlest makes room for more"
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="time between becoming unready and refusing new connections"
    )
    shutdown_seconds: int = Field(20, ge=0, description="time for open requests to end after that")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )

    @field_validator("admission_port", "enrollment_port", "operations_port", mode="before")
    @classmethod
    def _no_service_link(cls, value: Any, info: ValidationInfo) -> Any:
        """Kubernetes puts `tcp://ADDRESS:PORT` there for a Service `raywarden-admission`, where nobody set it."""
        linked = isinstance(value, str) and value.startswith(("tcp://", "udp://", "sctp://"))
        return cls.model_fields[str(info.field_name)].default if linked else value


def defaults() -> dict[str, Any]:
    """Every setting, in order, as it is where nobody sets it."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        found[name] = _default(field, found)
    return found


def from_environment(*, strict: bool = False) -> Settings:
    """The settings as the environment has them; raises SetupError with everything that is wrong.

    `strict` is for who runs for months: then a variable that is `unknown` is wrong, too, since somebody relies on it.
    """
    problems = list(unknown()) if strict else []
    try:
        settings = Settings()
    except ValidationError as error:
        # What follows from something that is wrong itself.
        asked = (
            problem for problem in error.errors() if problem["type"] != "default_factory_not_called"
        )
        problems += (f"{_PREFIX}{'.'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in asked)
    if problems:
        raise SetupError("\n".join(problems))
    return settings


def unknown(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A line for each variable that is called like a setting and is none, with the one that was meant."""
    known = [name.upper() for name in Settings.model_fields]
    services = [
        name.removesuffix(_LINKED_HOST) for name in environment if name.endswith(_LINKED_HOST)
    ]
    # In the environment of every container there is something of every Service in its namespace.
    links = tuple(f"{service}_{part}" for service in services for part in ("SERVICE_", "PORT"))
    for variable in sorted(environment):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in (*known, *_OF_PODS) or variable.startswith(links):
            continue
        close = get_close_matches(name, known, n=1)
        yield f"{variable}: there is no such setting" + "".join(
            f"; did you mean {_PREFIX}{one}?" for one in close
        )


def _default(field: FieldInfo, before: dict[str, Any]) -> Any:
    return field.get_default(call_default_factory=True, validated_data=before)
