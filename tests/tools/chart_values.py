"""The values of the Helm chart; its values.yaml, schema and table are generated from them."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from policies.config import PolicyFile
from webhook.policy.schema import text_of as schema_of
from webhook.settings import Settings

_HEADER = """\
# The values of the chart, with their defaults. values.schema.json checks yours: unknown names and
# wrong types are errors. README.md of the chart has the same as a table.
"""

_DIGEST = r"^(sha256:[0-9a-f]{64})?$"
_LABEL = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"
# The chart, a switch of it, or Kubernetes sets these; the others are not for a server in a cluster.
_NOT_FOR_USERS = {
    "admission_port", "admission_service", "client_certificates", "drain_seconds", "enroll_image",
    "enrollment_port", "host", "kubeconfig", "namespace", "objects_file", "operations_port",
    "policy_file", "root_cert_file", "root_key_file", "seed_dir", "shutdown_seconds",
    "signer_ca_file", "tls_cert_file", "tls_key_file", "webhook_configuration",
    "write_network_policies",
}  # fmt: skip
SETTINGS: JsonDict = {
    f"RAYWARDEN_{name.upper()}": {"type": "string", "description": field.description}
    for name, field in Settings.model_fields.items()
    if name not in _NOT_FOR_USERS
}


class Values(BaseModel):
    """A part of values.yaml; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Image(Values):
    """The image of the server."""

    repository: str = Field(
        "raywarden", min_length=1, description="repository of the image, with the registry"
    )
    tag: str = Field("", description="tag; default: the appVersion of the chart")
    digest: str = Field(
        "", pattern=_DIGEST, description="digest, which decides if it is set: `sha256:...`"
    )
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        "", description="when nodes pull it; default: that of Kubernetes"
    )
    pull_secrets: list[str] = Field([], description="names of Secrets for the registry")


class EnrollImage(Values):
    """The image of the init container of Ray pods."""

    repository: str = Field("", description="repository; default: that of `image`")
    tag: str = Field("", description="tag; default: the tag of `image` and `-enroll`")
    digest: str = Field("", pattern=_DIGEST, description="digest, which decides if it is set")


class Resources(Values):
    """Requests and limits of a replica."""

    requests: dict[str, str | float] = Field(
        {"cpu": "100m", "memory": "256Mi"}, description="what a replica reserves"
    )
    limits: dict[str, str | float] = Field(
        {"cpu": "2", "memory": "1Gi"},
        description="what it may use; it is one process and uses about one core",
    )


class Switch(Values):
    """A component of `deploy/components`."""

    enabled: bool = False


class Issuer(Values):
    """An issuer of cert-manager."""

    name: str = Field(
        "", description="your issuer for RayWarden's root; default: one that signs itself"
    )
    kind: str = Field("Issuer", description="Issuer or ClusterIssuer")
    group: str = Field("cert-manager.io", description="its API group")


class Autoscaling(Switch):
    """A HorizontalPodAutoscaler, which needs metrics-server; then `replicas` does not count."""

    min_replicas: int = Field(2, ge=1, description="fewest replicas")
    max_replicas: int = Field(6, ge=1, description="most replicas")


class CertManager(Switch):
    """cert-manager issues RayWarden's own certificate, and a root above the cluster CAs."""

    root_issuer: Issuer = Field(default_factory=Issuer)


class CaBundleByHand(Switch):
    """RayWarden may not write webhook configurations; you run `raywarden ca publish`."""


class Connect(Switch):
    """People get client certificates with `raywarden connect`, where RBAC allows it."""


class OwnNetworkPolicies(Switch):
    """RayWarden writes no NetworkPolicies for RayClusters; you write them."""


class Openshift(Switch):
    """OpenShift's security context constraints, DNS and namespaces."""


class Monitoring(Switch):
    """ServiceMonitor, alerts and a Grafana dashboard for the Prometheus operator."""

    labels: dict[str, str] = Field(
        {}, description="labels by which your Prometheus selects them, such as `release: NAME`"
    )
    prometheus_namespace: str = Field("monitoring", description="namespace of your Prometheus")
    prometheus_labels: dict[str, str] = Field(
        {"app.kubernetes.io/name": "prometheus"}, description="labels of its pods"
    )


class Scan(Switch):
    """A regular scan of the cluster, which writes Report or PolicyReport objects."""

    schedule: str = Field(
        "17 * * * *", min_length=1, description="when it runs, in the form of cron"
    )


class Tests(Values):
    """`helm test`, which runs `raywarden check`."""

    dry_run_namespace: str = Field(
        "",
        pattern=_LABEL,
        description="namespace for its two dry runs, where the test may then create Pods and "
        "RayClusters; without it, these checks are skipped",
    )


class ChartValues(Values):
    """The values of the chart."""

    image: Image = Field(default_factory=Image)
    enroll_image: EnrollImage = Field(default_factory=EnrollImage)
    replicas: int = Field(
        2, ge=1, description="number of replicas; with one, every restart is an outage"
    )
    resources: Resources = Field(default_factory=Resources)
    priority_class_name: str = Field(
        "", description="PriorityClass of the pods; default: one of the chart's own"
    )
    node_selector: dict[str, str] = Field(
        {}, description="labels of the nodes for RayWarden's pods"
    )
    tolerations: list[dict[str, Any]] = Field([], description="taints that they tolerate")
    affinity: dict[str, Any] = Field(
        {}, description="their affinity; two replicas avoid one node without it, too"
    )
    pod_annotations: dict[str, str] = Field({}, description="annotations of the replicas' pods")
    settings: dict[str, str] = Field(
        {},
        json_schema_extra={"properties": SETTINGS, "additionalProperties": False},
        description="settings of the server as strings, such as `RAYWARDEN_LOG_LEVEL: debug`",
    )
    policy: PolicyFile = Field(
        default_factory=PolicyFile,
        description="the policy: what differs from the defaults, which files/policy.yaml shows",
    )
    autoscaling: Autoscaling = Field(default_factory=Autoscaling)
    cert_manager: CertManager = Field(default_factory=CertManager)
    ca_bundle_by_hand: CaBundleByHand = Field(default_factory=CaBundleByHand)
    connect: Connect = Field(default_factory=Connect)
    own_network_policies: OwnNetworkPolicies = Field(default_factory=OwnNetworkPolicies)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    scan: Scan = Field(default_factory=Scan)
    openshift: Openshift = Field(default_factory=Openshift)
    tests: Tests = Field(default_factory=Tests)


def schema() -> str:
    """The content of values.schema.json."""
    text = schema_of(ChartValues, "Values of the RayWarden chart")
    # Helm's expressions have no lookahead.
    document = json.loads(text.replace("(?![0-9])", "([^0-9]|$)"))
    # The version that all versions of Helm 3 know; the schema uses nothing newer.
    document["$schema"] = "http://json-schema.org/draft-07/schema#"
    # Helm passes the values that a parent chart shares with its subcharts.
    document["properties"]["global"] = {"type": "object"}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def values() -> str:
    """The content of values.yaml: every value with its default and what it means."""
    return _HEADER + "\n".join(_lines(ChartValues, "")) + "\n"


def table() -> str:
    """The values as a table for the README of the chart."""
    return (
        "\n".join(["| value | default | meaning |", "|---|---|---|", *_rows(ChartValues, "")])
        + "\n"
    )


def _lines(model: type[BaseModel], indent: str) -> Iterator[str]:
    for field in model.model_fields.values():
        nested = _nested(field)
        about = field.description or (_first_line(nested) if nested else "")
        if about:
            yield from textwrap.wrap(
                about,
                98 - len(indent),
                initial_indent=f"{indent}# ",
                subsequent_indent=f"{indent}# ",
            )
        if nested:
            yield f"{indent}{field.alias}:"
            yield from _lines(nested, f"{indent}  ")
        else:
            yield f"{indent}{field.alias}: {json.dumps(_default(field))}"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for field in model.model_fields.values():
        nested = _nested(field)
        path = f"{prefix}{field.alias}"
        if nested:
            yield from _rows(nested, f"{path}.")
        else:
            about = field.description or _first_line(model)
            yield f"| `{path}` | `{json.dumps(_default(field))}` | {about} |"


def _nested(field: FieldInfo) -> type[Values] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Values) else None


def _default(field: FieldInfo) -> Any:
    """The default as it stands in values.yaml: an empty policy is the default policy."""
    return {} if field.annotation is PolicyFile else field.default


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
