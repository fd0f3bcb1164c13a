"""Settings from `RAYWARDEN_*` variables; `environment` reads the others."""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo

from webhook import __version__

_PREFIX = "RAYWARDEN_"
_ENROLL_IMAGE = f"raywarden:{__version__}-enroll"
# The injected init container has these variables in addition to RAYWARDEN_SIGNER_URL.
_INIT_CONTAINER_VARIABLES = ("POD_IP", "SIGNER_CA")
# Kubernetes adds `<SERVICE>_SERVICE_HOST` to every container for each Service of its namespace.
_SERVICE_LINK_SUFFIX = "_SERVICE_HOST"
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class SetupError(Exception):
    """RayWarden cannot start with this configuration; the message says what to change."""


class Settings(BaseModel):
    """What an operator can configure besides the policy, as variables `RAYWARDEN_<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: IPvAnyAddress = Field(IPv4Address("0.0.0.0"), description="address to listen on")
    admission_port: int = Field(
        8443,
        ge=0,
        le=65535,
        description="HTTPS port of `/mutate` and `/validate`; 0 chooses a free port",
    )
    enrollment_port: int = Field(
        8444,
        ge=0,
        le=65535,
        description="HTTPS port of `/v1/certificates` and `/v1/bundles`; 0 chooses a free port",
    )
    operations_port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="HTTP port of `/livez`, `/readyz` and `/metrics`; 0 chooses a free port",
    )
    policy_file: Path | None = Field(
        None,
        description="policy file (YAML), reloaded when it changes; "
        "if unset, the default policy applies",
    )
    objects_file: Path | None = Field(
        None,
        description="with `--dev`: file (YAML or JSON) with the Kubernetes objects of the "
        "simulated cluster: Namespaces, whose labels choose profiles, and Pods, Services and "
        "RayClusters for enrollment",
    )
    kubeconfig: Path | None = Field(
        None, description="kubeconfig file for reaching the API server from outside the cluster"
    )
    namespace: str = Field(
        "raywarden-system", pattern=_DNS_LABEL, description="namespace RayWarden runs in"
    )
    seed_dir: Path | None = Field(
        None,
        description="folder with the seed, one file per generation; "
        "if unset, the seed is in the Secret `raywarden-seed`",
    )
    admission_service: str = Field(
        "raywarden", pattern=_DNS_LABEL, description="Service in front of the admission port"
    )
    serving_names: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.:, -]*$",
        description="additional DNS names and IP addresses for RayWarden's serving certificate, "
        "separated by commas",
    )
    webhook_configuration: str = Field(
        "raywarden",
        description="name of RayWarden's two webhook configurations; "
        "if empty, RayWarden does not write their caBundle",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="serving certificate chain (PEM), reloaded when it changes; "
        "if unset, RayWarden issues its serving certificate from the seed",
    )
    tls_key_file: Path | None = Field(
        None, description="private key (PEM) of `RAYWARDEN_TLS_CERT_FILE`"
    )
    signer_ca_file: Path | None = Field(
        None,
        description="CA (PEM) of `RAYWARDEN_TLS_CERT_FILE`, which pods trust for enrollment",
    )
    signer_url: str = Field(
        default_factory=lambda known: f"https://raywarden-enroll.{known['namespace']}.svc:8444",
        pattern=r"^https://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/\S*)?$",
        description="URL at which pods reach enrollment; the default follows `RAYWARDEN_NAMESPACE`",
    )
    enroll_image: str = Field(
        _ENROLL_IMAGE, min_length=1, description="image of the injected init container"
    )
    write_network_policies: bool = Field(
        True,
        description="whether RayWarden writes NetworkPolicies for RayClusters; if false, "
        "`networkIsolation.mode` of the policy file counts as `off` everywhere",
    )
    root_cert_file: Path | None = Field(
        None,
        description="your organization's CA (PEM, followed by the CAs above it), which "
        "cross-signs cluster CAs so that clients outside the cluster trust them",
    )
    root_key_file: Path | None = Field(
        None, description="private key (PEM) of `RAYWARDEN_ROOT_CERT_FILE`"
    )
    trust_domain: str = Field(
        "cluster.local", pattern=r"^[a-z0-9._-]+$", description="SPIFFE trust domain of identities"
    )
    # At most ten years, the lifetime of a cluster's CA: no certificate outlives its CA.
    certificate_days: int = Field(
        730,
        ge=1,
        le=3650,
        description="validity of a pod's certificate in days; it must outlast the pod, "
        "because Ray reads its certificate files only once",
    )
    ca_cache_size: int = Field(10_000, gt=0, description="number of cluster CAs kept in memory")
    # At most 30 s: a waiting request counts against `max_enrollments`.
    address_wait_seconds: float = Field(
        5.0,
        ge=0,
        le=30,
        description="how long an enrollment waits until the API server knows the pod's IP address",
    )
    require_peer_address: bool = Field(
        False,
        description="refuse an enrollment that does not come from the pod's own IP address; "
        "do not use where the network hides source addresses",
    )
    enrollments_per_minute: int = Field(
        10, gt=0, description="certificates one pod can request per minute"
    )
    max_enrollments: int = Field(
        500, gt=0, description="concurrent enrollments; further requests get 503 and are retried"
    )
    max_enrollment_bytes: int = Field(
        32 * 1024, gt=0, description="largest enrollment request; larger ones get 413"
    )
    client_certificates: bool = Field(
        False,
        description="issue certificates to people who use `raywarden connect`; "
        "`deploy/components/connect` sets it and grants the rights",
    )
    # At most a week: nothing takes a certificate back before it expires.
    client_certificate_hours: float = Field(
        8.0,
        gt=0,
        le=168,
        description="longest validity of a person's certificate, which is also the default",
    )
    client_certificates_per_minute: int = Field(
        10, gt=0, description="certificates that one person can request per minute"
    )
    # At most a minute: generations become active five minutes after they are added, and by then
    # every replica must have read them.
    resync_seconds: float = Field(
        10.0,
        gt=0,
        le=60,
        description="how often RayWarden checks the policy file, the seed, its serving "
        "certificate and the caBundle",
    )
    max_body_bytes: int = Field(
        8 * 1024 * 1024, gt=0, description="largest AdmissionReview; larger ones get 413"
    )
    max_large_bodies_bytes: int = Field(
        64 * 1024 * 1024,
        gt=0,
        description="memory for what exceeds 128 KiB in each request body, over all requests; "
        "when it is used up, the request that has been arriving longest gets 503",
    )
    body_timeout_seconds: float = Field(
        5.0, gt=0, description="time for receiving a request body; slower requests get 408"
    )
    wait_seconds: float = Field(
        10.0,
        gt=0,
        description="time for receiving a request header, and for the client to read an answer; "
        "slower connections are closed",
    )
    keep_alive_seconds: int = Field(
        130, gt=90, description="how long an idle connection is kept; the API server keeps it 90 s"
    )
    # Random, so that connections do not end together: without it, new replicas get no calls.
    max_connection_seconds: float = Field(
        60.0, gt=0, description="from half of this age on, a connection is closed with an answer"
    )
    max_connections: int = Field(
        1000, gt=0, description="connections per port; beyond it, the one idle longest is closed"
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="time between becoming unready and refusing new connections"
    )
    shutdown_seconds: int = Field(20, ge=0, description="time after that for open requests to end")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged"
    )
    rules_url: str = Field(
        "",
        pattern=r"^(https?://[^\s#\"<>()]+)?$",
        description="page to which reports link each rule as `#ID`: a published "
        "`policies/README.md`",
    )

    @field_validator("admission_port", "enrollment_port", "operations_port", mode="before")
    @classmethod
    def _ignore_service_link(cls, value: Any, info: ValidationInfo) -> Any:
        """Use the default instead of a service link.

        For a Service named `raywarden-admission`, Kubernetes sets `RAYWARDEN_ADMISSION_PORT` to
        `tcp://ADDRESS:PORT` in every container of the namespace.
        """
        if isinstance(value, str) and value.startswith(("tcp://", "udp://", "sctp://")):
            return cls.model_fields[str(info.field_name)].default
        return value


def defaults() -> dict[str, Any]:
    """Every setting with its default, in the order of declaration."""
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        # A default factory reads the defaults of the settings declared before it.
        values[name] = field.get_default(call_default_factory=True, validated_data=values)
    return values


def from_environment(*, strict: bool = False) -> Settings:
    """The settings in the environment; raises SetupError with every problem, one per line.

    With `strict`, variables that are not settings are problems, too. The server is strict: an
    operator relies on every variable they set.
    """
    problems = list(unknown_variables()) if strict else []
    try:
        settings = Settings.model_validate(_stated(os.environ))
    except ValidationError as error:
        for detail in error.errors():
            # This error only follows from another one: a default depends on an invalid setting.
            if detail["type"] != "default_factory_not_called":
                problems.append(_problem_line(detail))
    if problems:
        raise SetupError("\n".join(problems))
    return settings


def _stated(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that are in the environment, by name; upper and lower case are the same."""
    variables = {variable.upper(): value for variable, value in environment.items()}
    names = {f"{_PREFIX}{name.upper()}": name for name in Settings.model_fields}
    return {names[variable]: variables[variable] for variable in names.keys() & variables}


def unknown_variables(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A line for each `RAYWARDEN_` variable that is not a setting, with the closest setting."""
    settings = [name.upper() for name in Settings.model_fields]
    expected = (*settings, *_INIT_CONTAINER_VARIABLES)
    service_links = _service_link_prefixes(environment)
    for variable in sorted(environment):
        name = variable.upper()
        if not name.startswith(_PREFIX) or variable.startswith(service_links):
            continue
        name = name.removeprefix(_PREFIX)
        if name in expected:
            continue
        line = f"{variable}: there is no such setting"
        for suggestion in get_close_matches(name, settings, n=1):
            line += f"; did you mean {_PREFIX}{suggestion}?"
        yield line


def _problem_line(detail: ErrorDetails) -> str:
    setting = ".".join(map(str, detail["loc"])).upper()
    return f"{_PREFIX}{setting}: {detail['msg']}"


def _service_link_prefixes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the names of service links start with (`pkg/kubelet/envvars`)."""
    prefixes: list[str] = []
    for variable in environment:
        if variable.endswith(_SERVICE_LINK_SUFFIX):
            service = variable.removesuffix(_SERVICE_LINK_SUFFIX)
            prefixes += (f"{service}_SERVICE_", f"{service}_PORT")
    return tuple(prefixes)
