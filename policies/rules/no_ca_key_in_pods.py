"""No pod of Ray holds a CA's private key."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

# Names and keys of Secrets are not longer (RFC 1123), and longer ones are not looked at.
_LONGEST = 253
_CA_KEY = re.compile(
    r"(?:root[-_.]?)?ca(?:[-_.]?(?:private|tls))?[-_.]?key(?:\.pem|\.key)?|(?:root[-_.]?)?ca\.key\.pem",
    re.I,
)
_CERTIFICATE = re.compile(r".*\.(?:crt|cert|pem|cer)", re.I)
_FIX = "write items: [{key: ca.crt, path: ca.crt}] to mount the certificate alone; RayWarden signs for the pods"


class NoCaKeyInPods(Rule):
    """Refuses Secrets with a CA's private key in Ray pods, as the `ca-tls` of Ray's own documentation.

    What is in a Secret is never looked at: its name tells, and the keys that are taken from it.
    Why: whoever runs code in the pod, which is what Ray is for, signs certificates for anybody with it, and so lets
    them into every cluster that trusts the CA.
    Fix: mount the certificate alone; RayWarden signs a certificate for each pod, and the CA's key stays with it.
    """

    id: ClassVar[str] = "no-ca-key-in-pods"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.HIGH

    secrets: tuple[str, ...] = Field(
        (), description="name patterns of further Secrets that hold a CA's key"
    )
    allowed_secrets: tuple[str, ...] = Field(
        (), description="name patterns of Secrets that only sound like it"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            for index, volume in pod.volumes:
                place = pod.spec_pointer / "volumes" / index
                for source, pointer in _sources(volume, place):
                    yield from self._check_source(source, pointer, volume, pod)
        for container, title in workload.containers:
            yield from self._check_env(container, title)

    def _check_source(
        self, source: Mapping[str, Any], pointer: Pointer, volume: Mapping[str, Any], pod: Pod
    ) -> Iterator[Violation]:
        name = as_str(source.get("secretName")) or as_str(source.get("name"))
        keys = [as_str(item.get("key")) for _, item in dict_items(source.get("items"))]
        if self._is_ca_key(name, keys):
            title = f"volume {clipped(as_str(volume.get('name')))} of the {pod.title}"
            yield self.violation(
                f"{title} holds the key of a CA, from the Secret {clipped(name)}", pointer, _FIX
            )

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        for index, entry in dict_items(container.raw.get("env")):
            reference = (
                as_dict(as_dict(entry.get("valueFrom")).get("secretKeyRef"))
                if "valueFrom" in entry
                else {}
            )
            if reference and self._is_ca_key(
                as_str(reference.get("name")), [as_str(reference.get("key"))]
            ):
                name, place = clipped(as_str(entry.get("name"))), container.pointer / "env" / index
                yield self.violation(
                    f"{title} has the key of a CA in {name}", place, f"delete {name}"
                )

    def _is_ca_key(self, secret: str, keys: list[str]) -> bool:
        """By the keys that are taken, where they are named; all of them are of a Secret that is one by its name."""
        if any(fnmatchcase(secret, pattern) for pattern in self.allowed_secrets):
            return False
        if any(_CA_KEY.fullmatch(key[:_LONGEST]) for key in keys):
            return True
        # `ca` is one of its words: ca-tls, team-root-ca, ca.key-pair.
        named = "ca" in re.split(r"[-._]", secret[:_LONGEST].lower()) or any(
            fnmatchcase(secret, pattern) for pattern in self.secrets
        )
        return named and not (keys and all(_CERTIFICATE.fullmatch(key[:_LONGEST]) for key in keys))


def _sources(
    volume: Mapping[str, Any], pointer: Pointer
) -> Iterator[tuple[Mapping[str, Any], Pointer]]:
    """The Secrets in a volume, those in a projected one too."""
    if source := as_dict(volume.get("secret")):
        yield source, pointer / "secret"
    for index, part in dict_items(as_dict(volume.get("projected")).get("sources")):
        if source := as_dict(part.get("secret")):
            yield source, pointer / "projected" / "sources" / index / "secret"
