"""How each cloud's controllers read a Service of type LoadBalancer: whom they let in.

Sources: cloud-provider-azure 1.36 (`pkg/provider/loadbalancer`, `pkg/consts`), AWS Load Balancer
Controller 3.5 (`pkg/service`), cloud-provider-aws 1.36 (`pkg/providers/v1`), ingress-gce 1.41 and
cloud-provider-gcp 36 (`gce_annotations.go`), cloud-provider-alibaba-cloud 2.14
(`pkg/controller/service`), and Kubernetes' `GetLoadBalancerSourceRanges`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.documents.untyped import as_str, str_items
from policies.network.addresses import has_few_addresses

_Object = Mapping[str, Any]
_BETA = "service.beta.kubernetes.io/"
_AZURE = f"{_BETA}azure-"
_AWS = f"{_BETA}aws-load-balancer-"
# The second prefix counts if an annotation does not occur with the first one.
_ALIBABA = (f"{_BETA}alibaba-cloud-loadbalancer-", f"{_BETA}alicloud-loadbalancer-")
_ALIBABA_NLB = "alibabacloud.com/nlb"
_GKE = "networking.gke.io/l4-regional"
# Every cloud reads this one (`v1.AnnotationLoadBalancerSourceRangesKey`).
_SOURCE_RANGES = f"{_BETA}load-balancer-source-ranges"

_ANY = re.compile(r"[^\s,]")
_TRUE = re.compile(r"\Atrue\Z", re.IGNORECASE)
# What `strconv.ParseBool` reads as true.
_GO_TRUE = re.compile(r"\A(?:1|t|T|true|TRUE|True)\Z")
# The provider in Kubernetes' tree reads any value but "false" as internal. For 0.0.0.0/0, which
# old documentation says, the AWS Load Balancer Controller creates nothing.
_AWS_INTERNAL = re.compile(r"\A(?:1|t|T|true|TRUE|True|0\.0\.0\.0/0)\Z")
_INTRANET = re.compile(r"\Aintranet\Z")
_ANY_INTRANET = re.compile(r"\Aintranet\Z", re.IGNORECASE)
# Any tag of Azure but those of the virtual network and of the health probes.
_TAG = r"\s*(?:VirtualNetwork|AzureLoadBalancer)\s*"
_PUBLIC_TAGS = re.compile(rf"\A(?!{_TAG}(?:,{_TAG})*\Z)", re.IGNORECASE)


def _unless_true(attribute: str) -> re.Pattern[str]:
    """Matches a list of attributes in which this one has another value than true."""
    return re.compile(rf"(?:\A|,)\s*{re.escape(attribute)}\s*=(?!\s*true\s*(?:,|\Z))")


def _is_any(spec: _Object, annotations: _Object) -> bool:
    return True


def _has_class(spec: _Object, annotations: _Object) -> bool:
    return bool(spec.get("loadBalancerClass"))


def _has_no_class(spec: _Object, annotations: _Object) -> bool:
    return not _has_class(spec, annotations)


def _is_of_aws_controller(spec: _Object, annotations: _Object) -> bool:
    """The AWS Load Balancer Controller or EKS serves it, not the provider in Kubernetes' tree."""
    by_type = as_str(annotations.get(f"{_AWS}type")) in ("external", "nlb-ip")
    return by_type or _has_class(spec, annotations)


def _is_of_aws_tree(spec: _Object, annotations: _Object) -> bool:
    return not _is_of_aws_controller(spec, annotations)


def _keeps_listeners(spec: _Object, annotations: _Object) -> bool:
    """Alibaba's controller leaves the listeners of an existing load balancer as they are."""
    for prefix in _ALIBABA:
        if f"{prefix}force-override-listeners" in annotations:
            return as_str(annotations[f"{prefix}force-override-listeners"]) != "true"
    return True


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation that has a meaning if its value matches, and only on some Services."""

    name: str
    values: re.Pattern[str]
    applies: Callable[[_Object, _Object], bool] = _is_any

    def matches(self, annotations: _Object) -> bool:
        return self.values.search(as_str(annotations.get(self.name))) is not None

    def holds(self, spec: _Object, annotations: _Object) -> bool:
        return (
            self.name in annotations
            and self.matches(annotations)
            and self.applies(spec, annotations)
        )


@dataclass(frozen=True, slots=True)
class LoadBalancers:
    """What the controllers of a cloud make of a Service.

    They serve Services without a loadBalancerClass, and those with one of `classes`.
    `internal`: the first of these that occurs decides. `internal_classes` and `public_classes`
    decide before all annotations.
    `published_by`: what opens an internal load balancer.
    `widened_by`: what lets in more than the source ranges.
    `ranges_need_class`: source ranges have no effect without a class.
    `access_list`: together they restrict it to an access list, except with `access_list_undone_by`.
    """

    prefixes: tuple[str, ...]
    internal: tuple[Mark, ...]
    classes: tuple[str, ...] = ()
    internal_classes: tuple[str, ...] = ()
    public_classes: tuple[str, ...] = ()
    published_by: tuple[Mark, ...] = ()
    widened_by: tuple[Mark, ...] = ()
    source_ranges: str = ""
    ranges_need_class: bool = False
    access_list: tuple[Mark, ...] = ()
    access_list_undone_by: tuple[Mark, ...] = ()

    def internal_by(self, spec: _Object, annotations: _Object) -> bool | None:
        """Whether it is internal; None if nothing says so."""
        load_balancer_class = as_str(spec.get("loadBalancerClass"))
        if load_balancer_class in self.public_classes:
            return False
        if load_balancer_class in self.internal_classes:
            return True
        if load_balancer_class and load_balancer_class not in self.classes:
            return None
        for mark in self.internal:
            if mark.name in annotations:
                if not mark.matches(annotations):
                    return False
                if mark.applies(spec, annotations):
                    return True
        return None

    def ignores_ranges(self, spec: _Object) -> bool:
        return self.ranges_need_class and not spec.get("loadBalancerClass")

    def is_named_by(self, annotations: _Object) -> bool:
        """An annotation of this cloud's controllers occurs."""
        return any(name.startswith(self.prefixes) for name in annotations)


_CLOUDS: Mapping[CloudName, LoadBalancers] = {
    "alibaba": LoadBalancers(
        prefixes=_ALIBABA,
        classes=(_ALIBABA_NLB,),
        # Network load balancers read the value in any case.
        internal=(
            Mark(f"{_ALIBABA[0]}address-type", _ANY_INTRANET, _has_class),
            Mark(f"{_ALIBABA[0]}address-type", _INTRANET),
            Mark(f"{_ALIBABA[1]}address-type", _ANY_INTRANET, _has_class),
            Mark(f"{_ALIBABA[1]}address-type", _INTRANET),
        ),
        # The type of an existing load balancer is not known, and one with an elastic IP is public.
        published_by=tuple(
            Mark(f"{prefix}{name}", values)
            for prefix in _ALIBABA
            for name, values in (
                ("id", _ANY),
                ("external-ip-type", re.compile(r"\Aeip\Z")),
                ("ipv6-address-type", re.compile(r"\A(?!intranet\Z)", re.IGNORECASE)),
            )
        ),
        widened_by=tuple(
            Mark(f"{prefix}{name}", _ANY)
            for prefix in _ALIBABA
            for name in ("id", "security-group-ids")
        ),
        ranges_need_class=True,
        # Network load balancers have no access lists.
        access_list=(
            Mark(f"{_ALIBABA[0]}acl-status", re.compile(r"\Aon\Z"), _has_no_class),
            Mark(f"{_ALIBABA[0]}acl-type", re.compile(r"\Awhite\Z")),
            Mark(f"{_ALIBABA[0]}acl-id", _ANY),
        ),
        access_list_undone_by=(
            Mark(f"{_ALIBABA[0]}id", _ANY, _keeps_listeners),
            Mark(f"{_ALIBABA[1]}id", _ANY, _keeps_listeners),
            Mark(f"{_ALIBABA[0]}type", re.compile(r"\Anlb\Z")),
        ),
    ),
    "aws": LoadBalancers(
        prefixes=(_AWS,),
        classes=("service.k8s.aws/nlb", "eks.amazonaws.com/nlb"),
        internal=(
            # The provider in Kubernetes' tree ignores the scheme.
            Mark(f"{_AWS}scheme", re.compile(r"\Ainternal\Z"), _is_of_aws_controller),
            Mark(f"{_AWS}internal", _AWS_INTERNAL),
        ),
        # An internal load balancer refuses IPv6 from the internet unless this is turned off.
        published_by=(Mark(f"{_AWS}attributes", _unless_true("ipv6.deny_all_igw_traffic")),),
        widened_by=(
            Mark(f"{_AWS}security-groups", _ANY),
            Mark(f"{_AWS}extra-security-groups", _ANY),
            Mark(f"{_AWS}security-group-prefix-lists", _ANY),
            Mark(f"{_AWS}disable-nlb-sg", _GO_TRUE),
            Mark(f"{_AWS}inbound-sg-rules-on-private-link-traffic", re.compile(r"\Aoff\Z")),
            # Nodes then see the load balancer's own address, and admit it whatever the ranges are.
            Mark(
                f"{_AWS}target-group-attributes",
                _unless_true("preserve_client_ip.enabled"),
                _is_of_aws_tree,
            ),
        ),
    ),
    "gcp": LoadBalancers(
        prefixes=("networking.gke.io/", "cloud.google.com/"),
        internal_classes=(f"{_GKE}-internal", f"{_GKE}-internal-legacy"),
        public_classes=(f"{_GKE}-external", f"{_GKE}-external-legacy"),
        internal=(
            Mark("networking.gke.io/load-balancer-type", re.compile(r"\A[Ii]nternal\Z")),
            Mark("cloud.google.com/load-balancer-type", re.compile(r"\A[Ii]nternal\Z")),
        ),
    ),
    "azure": LoadBalancers(
        prefixes=(_AZURE,),
        internal=(Mark(f"{_AZURE}load-balancer-internal", _TRUE),),
        published_by=(
            Mark(f"{_AZURE}additional-public-ips", _ANY),
            # Anyone at Azure who knows its alias can then connect by Private Link.
            Mark(f"{_AZURE}pls-auto-approval", re.compile(r"(?:\A|\s)\*(?:\s|\Z)")),
        ),
        widened_by=(
            Mark(f"{_AZURE}allowed-service-tags", _PUBLIC_TAGS),
            Mark(f"{_AZURE}disable-load-balancer-nsg-rule", _TRUE),
        ),
        # Adds to the ranges of the field.
        source_ranges=f"{_AZURE}allowed-ip-ranges",
    ),
}


@dataclass(frozen=True, slots=True)
class Restriction:
    """Whether a load balancer is internal or accepts only some networks.

    `undone_by` names the annotations that undo a restriction, if that is why there is none.
    """

    is_effective: bool
    undone_by: tuple[str, ...] = ()


def restriction(
    spec: _Object, annotations: _Object, clouds: Collection[CloudName] = CLOUD_NAMES
) -> Restriction:
    """What restricts the load balancer of a Service, as the controllers of `clouds` read it."""
    known = [_CLOUDS[name] for name in CLOUD_NAMES if name in clouds]
    undone_by: list[str] = []
    for is_restricted, undoing in _restrictions(spec, annotations, known):
        if is_restricted:
            names = [mark.name for mark in undoing if mark.holds(spec, annotations)]
            if not names:
                return Restriction(True)
            undone_by += names
    return Restriction(False, tuple(dict.fromkeys(undone_by)))


def _restrictions(
    spec: _Object, annotations: _Object, clouds: Sequence[LoadBalancers]
) -> Iterator[tuple[bool, list[Mark]]]:
    """Each kind of restriction: whether the Service has it, and what would undo it."""
    readings = [cloud.internal_by(spec, annotations) for cloud in clouds]
    is_internal = True in readings and False not in readings
    yield is_internal, [mark for cloud in clouds for mark in cloud.published_by]
    for cloud in clouds:
        is_listed = bool(cloud.access_list) and all(
            mark.holds(spec, annotations) for mark in cloud.access_list
        )
        yield is_listed, list(cloud.access_list_undone_by)
    is_ranged = _ranges_apply(spec, annotations, clouds) and has_few_addresses(
        _ranges(spec, annotations, clouds)
    )
    yield is_ranged, [mark for cloud in clouds for mark in cloud.widened_by]


def _ranges_apply(spec: _Object, annotations: _Object, clouds: Sequence[LoadBalancers]) -> bool:
    """False if no cloud applies source ranges to this Service, or its own cloud does not."""
    ignoring = [cloud for cloud in clouds if cloud.ignores_ranges(spec)]
    is_only = bool(ignoring) and all(cloud in ignoring for cloud in clouds)
    return not is_only and not any(cloud.is_named_by(annotations) for cloud in ignoring)


def _ranges(spec: _Object, annotations: _Object, clouds: Sequence[LoadBalancers]) -> list[str]:
    # Kubernetes reads its annotation only if the field is empty.
    ranges = [value for _, value in str_items(spec.get("loadBalancerSourceRanges"))]
    if not ranges:
        ranges = _annotated(annotations, _SOURCE_RANGES)
    for cloud in clouds:
        if cloud.source_ranges:
            ranges += _annotated(annotations, cloud.source_ranges)
    return ranges


def _annotated(annotations: _Object, name: str) -> list[str]:
    return [part for part in as_str(annotations.get(name)).split(",") if part.strip()]
