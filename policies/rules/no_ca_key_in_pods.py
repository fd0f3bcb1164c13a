"""Ray pods do not hold the private key of a CA."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.patterns import matches_any
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.injection.contract import ENROLLED
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

# Kubernetes allows no longer names and keys of Secrets (RFC 1123); the rest of a longer text is
# not compared, which bounds the time of the expressions below.
LONGEST = 253
CA_KEY = re.compile(
    r"(?:root[-_.]?)?ca(?:[-_.]?(?:private|tls))?[-_.]?key(?:\.pem|\.key)?"
    r"|(?:root[-_.]?)?ca\.key\.pem",
    re.I,
)
_SOURCES = frozenset({"secret", "projected"})
CERTIFICATE = re.compile(r".*\.(?:crt|cert|pem|cer)", re.I)
_FIX = (
    "set items: [{key: ca.crt, path: ca.crt}] to mount only the certificate; RayWarden issues a "
    "certificate to each pod"
)


class NoCaKeyInPods(Rule):
    """Refuses Secrets with the private key of a CA in Ray pods, as in the TLS guide of Ray.

    RayWarden never reads Secrets. The rule goes by the name of the Secret and by the keys that the
    pod takes from it.
    Why: Ray runs any code that is submitted to it, and that code can read the key. It can then sign
    certificates that every cluster with this CA trusts.
    Fix: mount only the certificate. RayWarden issues a certificate to each pod, and the CA key
    never leaves RayWarden.
    """

    id: ClassVar[str] = "no-ca-key-in-pods"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.HIGH

    secrets: tuple[str, ...] = Field(
        (), description="name patterns of other Secrets that hold the key of a CA"
    )
    allowed_secrets: tuple[str, ...] = Field(
        (), description="name patterns of Secrets that hold no CA key although the name suggests it"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if not _SOURCES.isdisjoint(workload.summary.volume_fields):
            for pod in workload.pods:
                yield from self._check_volumes(pod)
        if "secretKeyRef" in workload.summary.sources:
            for container in workload.containers:
                for index, entry in container.variables.references:
                    yield from self._check_variable(container, index, entry)

    def _check_volumes(self, pod: Pod) -> Iterator[Violation]:
        for index, volume in pod.volumes:
            if _SOURCES.isdisjoint(volume) or volume in ENROLLED:
                continue
            place = pod.spec_pointer / "volumes" / index
            for source, pointer in _sources(volume, place):
                yield from self._check_source(source, pointer, volume, pod)

    def _check_source(
        self, source: Mapping[str, Any], pointer: Pointer, volume: Mapping[str, Any], pod: Pod
    ) -> Iterator[Violation]:
        name = as_str(source.get("secretName")) or as_str(source.get("name"))
        keys = [as_str(item.get("key")) for _, item in dict_items(source.get("items"))]
        if self._is_ca_key(name, keys):
            title = f"volume {clipped(as_str(volume.get('name')))} of the {pod.title}"
            message = f"{title} contains the private key of a CA, from the Secret {clipped(name)}"
            yield self.violation(message, pointer, _FIX)

    def _check_variable(
        self, container: Container, index: int, entry: Mapping[str, Any]
    ) -> Iterator[Violation]:
        reference = as_dict(as_dict(entry["valueFrom"]).get("secretKeyRef"))
        secret, key = as_str(reference.get("name")), as_str(reference.get("key"))
        if reference and self._is_ca_key(secret, [key]):
            name, place = clipped(as_str(entry.get("name"))), container.pointer / "env" / index
            message = f"{container.title} has the private key of a CA in {name}"
            yield self.violation(message, place, f"remove {name}")

    def _is_ca_key(self, secret: str, keys: list[str]) -> bool:
        """One of `keys` is a CA key, or the Secret is a CA's and `keys` are not certificates only.

        No `keys` means that all keys of the Secret are taken.
        """
        if matches_any(secret, self.allowed_secrets):
            return False
        if any(CA_KEY.fullmatch(key[:LONGEST]) for key in keys):
            return True
        # `ca` is one of the words of its name: ca-tls, team-root-ca, ca.key-pair.
        words = re.split(r"[-._]", secret[:LONGEST].lower())
        is_ca_secret = "ca" in words or matches_any(secret, self.secrets)
        if not is_ca_secret or not keys:
            return is_ca_secret
        return not all(CERTIFICATE.fullmatch(key[:LONGEST]) for key in keys)


def _sources(
    volume: Mapping[str, Any], pointer: Pointer
) -> Iterator[tuple[Mapping[str, Any], Pointer]]:
    """The Secrets of a volume, including those of a projected volume."""
    if source := as_dict(volume.get("secret")):
        yield source, pointer / "secret"
    for index, part in dict_items(as_dict(volume.get("projected")).get("sources")):
        if source := as_dict(part.get("secret")):
            yield source, pointer / "projected" / "sources" / index / "secret"
