"""The fixtures of all rules as requests, with what RayWarden and the exported policies say."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from policies.config import Policy
from policies.evaluate import Verdict
from policies.export.check import Context
from policies.export.validation import validating_policies
from policies.model import Profile
from tests.policies.rules.test_rules import load, policy_of, sent
from tests.support import factory
from tests.support.factory import Object
from webhook.admission.wire import AdmissionRequest

# What the exported policies let pass, as deploy/POLICIES.md says: the API server does not know
# whether the RayCluster that KubeRay's operator names still lives, and the policies judge the
# autoscaler that KubeRay adds in the pod, and not in the RayCluster.
UNKNOWN = {
    "operator-made-pods/clean-up-job-of-another-uid",
    "no-privilege-escalation/autoscaler-of-a-cluster-with-kuberay-mtls",
    "no-root/autoscaler-without-options",
}


@dataclass(frozen=True)
class Judged:
    """The request of a fixture after RayWarden's own mutation, and RayWarden's verdict on it."""

    policy: Policy
    request: AdmissionRequest
    verdict: Verdict

    @classmethod
    def of(cls, file: Path) -> "Judged":
        fixture = load(file)
        # Whatever is refused at any level is then refused, unless the stored object has it, too.
        strict = {**fixture.policy, "profiles": {"enforce": "restricted"}}
        fixture = fixture.model_copy(update={"policy": strict})
        reviewer, original = sent(fixture)
        stored_as = dict(reviewer.mutated(original).document)
        # The sender depends on the object as the author wrote it.
        request = original.model_copy(update={"object": stored_as})
        policy = Policy.parse(policy_of(fixture))
        return cls(policy, request, reviewer.verdict(request))

    @property
    def variables(self) -> Mapping[str, Any]:
        """The request as CEL sees it, with both objects."""
        objects = {"object": self.request.object, "oldObject": self.request.old_object}
        return {**self.request.without_objects, **objects}

    def refused(self, rule: str, level: Profile) -> set[str]:
        """The messages of this rule at this level."""
        return {
            violation.message
            for violation in self.verdict.denied
            if (violation.rule, violation.profile) == (rule, level)
        }


def exported(policy: Policy) -> list[Object]:
    """The documents that `raywarden policy export` prints for a policy file."""
    return _exported(policy.file.model_dump_json(by_alias=True, serialize_as_any=True))


@cache
def _exported(policy_file: str) -> list[Object]:
    policy = Policy.parse(json.loads(policy_file))
    images = (factory.SIGNER.image, policy.inject.dashboard_proxy_image)
    return list(validating_policies(policy, Context(images, policy.inject)))


def judging(policy: Policy) -> Iterator[tuple[str, Profile, Object]]:
    """Each exported ValidatingAdmissionPolicy, with the rule and the level of its findings."""
    levels = {rule.id: rule.profile for rule in policy.rules}
    for document in exported(policy):
        if document["kind"] != "ValidatingAdmissionPolicy":
            continue
        rule = document["metadata"]["name"].removeprefix("raywarden-")
        if rule in levels:
            yield rule, levels[rule], document
        else:
            yield rule.removesuffix("-restricted"), Profile.RESTRICTED, document
