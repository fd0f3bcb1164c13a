"""What differs between clouds: the forms of their keys, and what to use instead."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

CloudName = Literal["alibaba", "aws", "gcp", "azure"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud provider.

    `credential`: matches names of variables and values that are this cloud's keys.
    `keyless`: what to use instead of a key.
    """

    name: CloudName
    credential: re.Pattern[str]
    keyless: str


CLOUDS = (
    Cloud(
        name="alibaba",
        credential=re.compile(r"ALIBABA_?CLOUD|ALIYUN|^OSS_|LTAI", re.IGNORECASE),
        keyless=(
            "RRSA: annotate the pod's ServiceAccount with pod-identity.alibabacloud.com/role-name"
        ),
    ),
    Cloud(
        name="aws",
        credential=re.compile(r"AWS_|AKIA|ASIA", re.IGNORECASE),
        keyless="IRSA: annotate the pod's ServiceAccount with eks.amazonaws.com/role-arn",
    ),
    Cloud(
        name="gcp",
        credential=re.compile(r"GOOGLE|GCP_|GCLOUD|AIza"),
        keyless=(
            "Workload Identity: annotate the pod's ServiceAccount with "
            "iam.gke.io/gcp-service-account"
        ),
    ),
    Cloud(
        name="azure",
        credential=re.compile(r"AZURE|AccountKey=|SharedAccess|[?&]sig=", re.IGNORECASE),
        keyless=(
            "Workload Identity: label the pod azure.workload.identity/use: true and annotate its "
            "ServiceAccount with azure.workload.identity/client-id"
        ),
    ),
)

CLOUD_NAMES = tuple(cloud.name for cloud in CLOUDS)


def keyless_access(words: Collection[str]) -> str:
    """What to use instead of a key, for the cloud whose key a variable's name or value is.

    Empty if they belong to no known cloud.
    """
    for cloud in CLOUDS:
        if any(map(cloud.credential.search, words)):
            return cloud.keyless
    return ""
