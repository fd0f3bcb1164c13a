"""The only reader of the environment."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from pydantic import Field, IPvAnyAddress
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may turn, each as `RAYWARDEN_<NAME>`. Policy is not here: it has a file of its own."""

    model_config = SettingsConfigDict(env_prefix="RAYWARDEN_", frozen=True, extra="ignore")

    host: IPvAnyAddress = Field(IPv4Address("0.0.0.0"), description="address to listen on")
    admission_port: int = Field(8443, ge=0, le=65535, description="`/mutate` and `/validate`, over TLS; 0 picks one")
    operations_port: int = Field(
        8080, ge=0, le=65535, description="`/livez`, `/readyz` and `/metrics`, plain; 0 picks one"
    )
    policy_file: Path | None = Field(None, description="policy file (YAML); without it the default policy holds")
    namespaces_file: Path | None = Field(None, description="Namespace manifests whose labels choose profiles (YAML)")
    tls_cert_file: Path | None = Field(None, description="serving certificate chain (PEM); not needed with `--dev`")
    tls_key_file: Path | None = Field(None, description="its private key (PEM)")
    signer_ca_file: Path | None = Field(None, description="CA that pods trust for enrolment (PEM)")
    signer_url: str = Field(
        "https://raywarden-enroll.raywarden-system.svc:8444",
        pattern=r"^https://",
        description="enrolment, as pods reach it",
    )
    enroll_image: str = Field("raywarden:latest", min_length=1, description="image of the injected init container")
    namespace: str = Field("raywarden-system", min_length=1, description="namespace RayWarden runs in")
    max_body_bytes: int = Field(8 * 1024 * 1024, gt=0, description="larger requests get 413")
    body_timeout_seconds: float = Field(5.0, gt=0, description="a request body that takes longer gets 408")
    header_timeout_seconds: float = Field(
        10.0, gt=0, description="a connection without a whole request header is closed"
    )
    keep_alive_seconds: int = Field(
        130,
        gt=90,
        description="idle connections are kept this long; the API server keeps them 90 s and must close first",
    )
    max_connections: int = Field(1000, gt=0, description="concurrent connections; more get 503")
    drain_seconds: float = Field(5.0, ge=0, description="time between becoming unready and refusing new connections")
    shutdown_seconds: int = Field(20, ge=0, description="time for open requests to end after that")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
