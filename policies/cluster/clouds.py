"""What differs between clouds: load balancer annotations, credentials, kinds of quotas.

Sources: documentation of Alibaba Cloud's controller manager, AWS Load Balancer Controller, GKE,
cloud-provider-azure.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

CloudName = Literal["alibaba", "aws", "gcp", "azure"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud provider.

    `internal`: Service annotations, each of which makes the load balancer internal.
    `access_list`: annotations that only together restrict it to an access list (None: any value).
    `source_ranges`: annotations that hold CIDRs.
    `credential`: matches names of variables and values that are this cloud's keys.
    `keyless`: what to use instead of a key.
    """

    name: CloudName
    internal: Mapping[str, str]
    credential: re.Pattern[str]
    keyless: str
    access_list: Mapping[str, str | None] = field(default_factory=dict)
    source_ranges: tuple[str, ...] = ()


CLOUDS = (
    Cloud(
        name="alibaba",
        internal={"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "intranet"},
        access_list={
            "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-acl-status": "on",
            "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-acl-type": "white",
            "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-acl-id": None,
        },
        credential=re.compile(r"ALIBABA_?CLOUD|ALIYUN|^OSS_|LTAI", re.IGNORECASE),
        keyless=(
            "RRSA: annotate the pod's ServiceAccount with pod-identity.alibabacloud.com/role-name"
        ),
    ),
    Cloud(
        name="aws",
        internal={
            "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
            "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
        },
        credential=re.compile(r"AWS_|AKIA|ASIA", re.IGNORECASE),
        keyless="IRSA: annotate the pod's ServiceAccount with eks.amazonaws.com/role-arn",
    ),
    Cloud(
        name="gcp",
        internal={
            "cloud.google.com/load-balancer-type": "Internal",
            "networking.gke.io/load-balancer-type": "Internal",
        },
        credential=re.compile(r"GOOGLE|GCP_|GCLOUD|AIza"),
        keyless=(
            "Workload Identity: annotate the pod's ServiceAccount with "
            "iam.gke.io/gcp-service-account"
        ),
    ),
    Cloud(
        name="azure",
        internal={"service.beta.kubernetes.io/azure-load-balancer-internal": "true"},
        credential=re.compile(r"AZURE|AccountKey=|SharedAccess|[?&]sig=", re.IGNORECASE),
        keyless=(
            "Workload Identity: label the pod azure.workload.identity/use: true and annotate its "
            "ServiceAccount with azure.workload.identity/client-id"
        ),
        source_ranges=("service.beta.kubernetes.io/azure-allowed-ip-ranges",),
    ),
)

CLOUD_NAMES = tuple(cloud.name for cloud in CLOUDS)
# Kubernetes' own annotation, which every cloud reads (`v1.AnnotationLoadBalancerSourceRangesKey`).
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
# The group and kind of the quotas of Kubernetes, of scheduler-plugins and of ACK's scheduler.
QUOTA_KINDS = frozenset(
    {
        ("", "ResourceQuota"),
        ("scheduling.sigs.k8s.io", "ElasticQuota"),
        ("scheduling.sigs.k8s.io", "ElasticQuotaTree"),
        ("scheduling.x-k8s.io", "ElasticQuota"),
    }
)


def keyless_access(words: Collection[str]) -> str:
    """What to use instead of a key, for the cloud whose key a variable's name or value is.

    Empty if they belong to no known cloud.
    """
    for cloud in CLOUDS:
        if any(map(cloud.credential.search, words)):
            return cloud.keyless
    return ""
