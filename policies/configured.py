"""The parts of the policy file that decisions read besides rules: injection and isolation."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from policies.documents.patterns import matches_any
from policies.network.allowance import Allowance, AllowanceError
from policies.network.isolation import ClusterIsolation, IsolationMode


class Configured(BaseModel):
    """A frozen model that rejects unknown fields. Its names are camelCase in files."""

    # `raywarden review` needs no validator of most models: each is built when it is first used.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,
    )


class _Off:
    """Accepts false for `off`, because YAML reads an unquoted `off` as false."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        texts = handler(source)
        texts_or_false = core_schema.union_schema([texts, core_schema.literal_schema([False])])
        return core_schema.no_info_before_validator_function(
            lambda value: "off" if value is False else value,
            texts,
            json_schema_input_schema=texts_or_false,
        )


OFF = _Off()


_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def _day(value: Any) -> date:
    # Pydantic alone would also accept the seconds since 1970, as a number and as a string.
    if not isinstance(value, str) or not re.match(_DAY, value):
        raise ValueError("write a day as 2027-01-31")
    return date.fromisoformat(value)


Day = Annotated[date, BeforeValidator(_day), Field(json_schema_extra={"pattern": _DAY})]
# What stands for every element in a field that is a list or `all`.
ALL = ("all",)


def all_or_list(value: Any, elements: ValidatorFunctionWrapHandler) -> Any:
    """Validates a field that is a list or the word `all`."""
    if value == "all":
        return ALL
    return elements(tuple(value) if isinstance(value, list) else value)


class NonRootImage(Configured):
    """Images that are known to run as this numeric user, so that `runAsNonRoot` works for them."""

    image: str = Field(
        description="repository pattern, `*` matches anything", examples=["rayproject/*"]
    )
    uid: int = Field(gt=0, description="the numeric user of the image")


# A registry's name has a dot or a port; without one, a node would ask a registry of its own choice.
_IN_FULL = (
    r"^([a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?|[a-z0-9-]+:[0-9]{1,5})(/[a-z0-9._-]+)+"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)


def _in_full(image: str) -> str:
    if image and not (re.match(_IN_FULL, image) and image.count(":", image.rfind("/"))):
        raise ValueError("write the image in full, as REGISTRY/NAME@sha256:... or with a tag")
    return image


_IMAGE_SCHEMA: dict[str, Any] = {"anyOf": [{"const": ""}, {"pattern": _IN_FULL}]}
ProxyImage = Annotated[
    str, AfterValidator(_in_full), Field(max_length=500, json_schema_extra=_IMAGE_SCHEMA)
]


class Injection(Configured):
    """The `inject` part of the policy file: choices about the defaults that RayWarden writes."""

    # The same condition as in _has_proxy_image, for editors.
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["dashboard"], "properties": {"dashboard": {"const": "rbac-proxy"}}},
            "then": {
                "required": ["dashboardProxyImage"],
                "properties": {"dashboardProxyImage": {"minLength": 1}},
            },
        }
    )

    ray_cluster: Literal["full", "marker"] = Field(
        "full",
        description="`full` writes every default into RayClusters; `marker` writes only the label, "
        "node-ip-address and authOptions, and RayWarden adds the rest to each pod",
    )
    node_ip_address: Annotated[Literal["pod-ip", "fqdn", "off"], OFF] = Field(
        "pod-ip",
        description="the head's node-ip-address; `fqdn` is its service name where Ray can start "
        "with it, else the pod IP",
    )
    auth: Annotated[Literal["auto", "token", "kubernetes", "off"], OFF] = Field(
        "auto",
        description="whether new RayClusters ask their callers for a token: `auto` where KubeRay "
        "knows it and every port of Ray asks (Ray 2.54 or later); `token` from Ray 2.52 on; "
        "`kubernetes` for tokens of the Kubernetes API (Ray 2.55 and KubeRay 1.6 or later, "
        "RayClusters only, other kinds get `token`)",
    )
    dashboard: Literal["author", "rbac-proxy"] = Field(
        "author",
        description="who may use the dashboard of new RayClusters: `rbac-proxy` puts "
        "kube-rbac-proxy in front of it, which asks the API server; `author` changes nothing",
    )
    dashboard_proxy_image: ProxyImage = Field(
        "",
        description="the image of kube-rbac-proxy with its registry, best by digest; "
        "`dashboard: rbac-proxy` needs it",
        examples=["registry.example/kube-rbac-proxy@sha256:..."],
    )
    non_root_images: tuple[NonRootImage, ...] = Field(
        (NonRootImage(image="rayproject/*", uid=1000),),
        description="images that are known to run as a numeric user",
    )
    opt_out_namespaces: tuple[str, ...] = Field(
        (),
        description="patterns of namespaces where RayWarden honors "
        '`raywarden.io/inject: "false"` on a RayCluster',
    )
    tls_secret_namespaces: tuple[str, ...] = Field(
        (),
        description="patterns of namespaces where pods and RayClusters may bring a certificate of "
        "their own in a Secret, such as cert-manager's (`raywarden.io/tls-secret: NAME`)",
        examples=[["web-*"]],
    )
    cluster_domain: str = Field(
        "cluster.local",
        pattern=r"^[a-z0-9.-]+$",
        description="the cluster's DNS domain; restart the server to change it",
    )

    @cached_property
    def users_of_images(self) -> tuple[tuple[str, int], ...]:
        """The pattern and the user of each of `non_root_images`."""
        return tuple((known.image, known.uid) for known in self.non_root_images)

    @model_validator(mode="after")
    def _has_proxy_image(self) -> Self:
        if self.dashboard == "rbac-proxy" and not self.dashboard_proxy_image:
            raise ValueError("dashboard: rbac-proxy needs dashboardProxyImage")
        return self


def _ingress(text: str) -> str:
    return _checked(text, Allowance.ingress)


def _egress(text: str) -> str:
    return _checked(text, Allowance.egress)


def _checked(text: str, parse: Callable[[str], Allowance]) -> str:
    try:
        parse(text)
    except AllowanceError as error:
        raise ValueError(str(error)) from None
    return text


Mode = Annotated[Literal["off", "members", "deny-ingress", "deny-all"], OFF]
AllowFrom = Annotated[str, AfterValidator(_ingress), Field(max_length=300)]
Egress = Annotated[str, AfterValidator(_egress), Field(max_length=300)]
_ALLOW_FROM = (
    "who may connect besides members, KubeRay's operator and the submitter: "
    "`NAMESPACE[/LABEL=VALUE,...][:PORT,...]` or `CIDR[:PORT,...]`"
)
_EGRESS = (
    "what pods may reach in the mode `deny-all` besides what they need: `api-server`, `internet`, "
    "or as in `allowFrom`"
)
_EXAMPLE = ["notebooks/app=jupyter:10001,8265"]


class NetworkIsolationOverride(Configured):
    """Network isolation in some namespaces. The lists are added to those of all namespaces."""

    namespaces: tuple[str, ...] = Field(
        min_length=1, description="patterns of namespaces; `*` matches anything"
    )
    mode: Mode | None = Field(None, description="the mode there; that of all namespaces if unset")
    allow_from: tuple[AllowFrom, ...] = Field((), description=_ALLOW_FROM, examples=[_EXAMPLE])
    egress: tuple[Egress, ...] = Field((), description=_EGRESS, examples=[["internet"]])

    def added_to(self, everywhere: ClusterIsolation) -> ClusterIsolation:
        """What holds in these namespaces, where `everywhere` is for all."""
        return replace(
            everywhere,
            mode=IsolationMode.named(self.mode) if self.mode else everywhere.mode,
            allow_from=(*everywhere.allow_from, *map(Allowance.ingress, self.allow_from)),
            egress=(*everywhere.egress, *map(Allowance.egress, self.egress)),
        )


class NetworkIsolation(Configured):
    """The `networkIsolation` part of the policy file: the NetworkPolicies that RayWarden writes."""

    mode: Mode = Field(
        "members",
        description="who can reach a RayCluster: `members` keeps Ray's own ports to its members, "
        "KubeRay's operator and the submitter, and leaves Ray Serve and metrics open; "
        "`deny-ingress` closes those, too; `deny-all` also closes what pods may reach; `off` "
        "writes no NetworkPolicies",
    )
    allow_from: tuple[AllowFrom, ...] = Field((), description=_ALLOW_FROM, examples=[_EXAMPLE])
    monitoring: tuple[AllowFrom, ...] = Field(
        (),
        description="who may read metrics in the modes `deny-ingress` and `deny-all`",
        examples=[["monitoring/app.kubernetes.io/name=prometheus"]],
    )
    egress: tuple[Egress, ...] = Field((), description=_EGRESS, examples=[["internet"]])
    authors_may_allow: bool = Field(
        False,
        description="whether a RayCluster's annotation `raywarden.io/allow-from` may name more",
    )
    namespaces: tuple[NetworkIsolationOverride, ...] = Field(
        (), description="what differs in some namespaces; the first entry that matches counts"
    )
    when_missing: Literal["hold", "start"] = Field(
        "hold",
        description="what happens to new pods while their NetworkPolicies cannot be written: "
        "`hold` keeps them waiting, `start` lets them start after `holdSeconds`",
    )
    hold_seconds: int = Field(
        120, ge=1, le=3600, description="how long pods wait before `whenMissing: start` applies"
    )

    def of_namespace(self, namespace: str) -> ClusterIsolation:
        """What the policy file says for the RayClusters of a namespace."""
        for patterns, isolation in self._by_patterns:
            if matches_any(namespace, patterns):
                return isolation
        return self._everywhere

    @cached_property
    def _everywhere(self) -> ClusterIsolation:
        return ClusterIsolation(
            mode=IsolationMode.named(self.mode),
            allow_from=tuple(map(Allowance.ingress, self.allow_from)),
            monitoring=tuple(map(Allowance.ingress, self.monitoring)),
            egress=tuple(map(Allowance.egress, self.egress)),
            authors_may_allow=self.authors_may_allow,
        )

    @cached_property
    def _by_patterns(self) -> tuple[tuple[tuple[str, ...], ClusterIsolation], ...]:
        everywhere = self._everywhere
        return tuple((entry.namespaces, entry.added_to(everywhere)) for entry in self.namespaces)


class OwnNetworkPolicies(NetworkIsolation):
    """Where administrators write their own NetworkPolicies, RayWarden writes none."""

    def of_namespace(self, namespace: str) -> ClusterIsolation:
        return ClusterIsolation(IsolationMode.OFF, is_final=True)
