"""No passwords and keys in manifests."""

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.clouds import keyless_access
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_str, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

_NAMES = re.compile(
    r"PASSWORD$|(?:^|_)(?:PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|CONNECTION_STRING"
    r"|(?:API|ACCESS|PRIVATE|SECRET|ENCRYPTION|ACCOUNT)_?KEY|ACCESS_KEY_(?:ID|SECRET))$|_(?:PWD|PASS)$"
)
# What every match of _NAMES ends in: most names of most manifests end in something else.
_ENDINGS = (
    *(
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "CREDENTIAL",
        "CREDENTIALS",
        "CONNECTION_STRING",
    ),
    *("KEY", "KEY_ID", "_PWD", "_PASS"),
)
# Credentials that can be told by their own form, whatever variable holds them.
_VALUES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12,24}|AIza[0-9A-Za-z_-]{35}|gh[pousr]_[0-9A-Za-z]{36}"
    r"|github_pat_\w{22,}|hf_[0-9A-Za-z]{30,}|xox[abprs]-[0-9A-Za-z-]{10,}|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
# What every match of _VALUES, and every URL with a password, has in it.
_MARKS = ("AKIA", "ASIA", "LTAI", "AIza", "gh", "hf_", "xox", "PRIVATE KEY", "@")
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@$]{0,200}:[^/\s@$(]{1,200}@")
_REFERENCES = re.compile(r"(?:\$\(\w+\))+")
# Switches, numbers, special tokens of language models, and what stands where no key is needed.
_HARMLESS = re.compile(
    r"true|false|yes|no|on|off|none|null|empty|dummy|[0-9]{0,9}|<[^<>]{0,30}>", re.IGNORECASE
)
_PATH = re.compile(r"/[\w./-]+")
_REFERENCE = "valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}"
_FIX = f"write {_REFERENCE} in place of value, and put it into that Secret"
_ELSEWHERE_FIX = f"take it out, and give the container a variable with {_REFERENCE}"
_RUNTIME_FIX = f"take it out, and give the Ray containers a variable with {_REFERENCE}"


_ENTRYPOINTS = (ROOT / "spec" / "entrypoint", ROOT / "spec" / "jobTemplate" / "entrypoint")


class NoLiteralCredentials(Rule):
    """Refuses keys, tokens and passwords written as literals into env, commands, Redis options and jobs.

    Why: whoever can read the manifest, its repository or the RayCluster has the credential; it cannot be rotated
    without an edit. A name such as `..._SECRET_KEY` with a literal value counts, and so does a value of a known form.
    Fix: `valueFrom.secretKeyRef`, or no static key at all: RRSA (Alibaba Cloud), IRSA (AWS), Workload Identity
    (Google Cloud, Azure).
    """

    id: ClassVar[str] = "no-literal-credentials"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables that look like credentials and are none"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            # One look at all values together: most containers have none that could be a credential by its form.
            listed = container.variables.values()
            values = "\n".join(
                [as_str(entry.get("value")) for entries in listed for _, entry in entries]
            )
            telling = any(mark in values for mark in _MARKS)
            for name, entries in container.variables.items():
                if not telling and not name.upper().endswith(_ENDINGS):
                    continue
                for index, entry in entries:
                    if self._is_credential(name, value := as_str(entry.get("value"))):
                        place = container.pointer / "env" / index / "value"
                        message = f"{title} has a credential as a literal in {name}"
                        yield self.violation(message, place, _FIX + _no_key_at_all(name, value))
            for field in ("command", "args"):
                if any(
                    _VALUES.search(word) or _has_password(word)
                    for _, word in str_items(container.raw.get(field))
                ):
                    message = f"a command of {title} has a credential in it"
                    yield self.violation(message, container.pointer / field, _ELSEWHERE_FIX)
        yield from self._check_entrypoint(workload)
        yield from self._check_redis(workload)
        yield from self._check_runtime_environments(workload)

    def _check_entrypoint(self, workload: Workload) -> Iterator[Violation]:
        for place in _ENTRYPOINTS:
            entrypoint = as_str(place.read(workload.document))
            if _VALUES.search(entrypoint) or _has_password(entrypoint):
                remediation = (
                    "have the job read it from its environment, or from a file of a Secret"
                )
                yield self.violation("the entrypoint has a credential in it", place, remediation)

    def _check_redis(self, workload: Workload) -> Iterator[Violation]:
        if not workload.cluster:
            return
        place = Pointer(("gcsFaultToleranceOptions", "redisPassword", "value"))
        if as_str(place.read(workload.cluster.spec)):
            pointer = Pointer((*workload.cluster.pointer, *place))
            yield self.violation("the Redis password is a literal", pointer, _FIX)
        for group in workload.cluster.groups:
            for name in group.start_params:
                if name.replace("_", "-") == "redis-password":
                    pointer = group.pointer / "rayStartParams" / name
                    remediation = f"delete {name}, and write gcsFaultToleranceOptions.redisPassword with {_REFERENCE}"
                    yield self.violation(
                        "the Redis password is a literal in rayStartParams", pointer, remediation
                    )

    def _check_runtime_environments(self, workload: Workload) -> Iterator[Violation]:
        for found in runtime_environments(workload):
            if found.problem:
                message = (
                    f"{found.field} cannot be read, so nothing can be said for it ({found.problem})"
                )
                yield self.violation(message, found.pointer, "write plain YAML, without anchors")
                continue
            names = [name for name, value in found.variables if self._is_credential(name, value)]
            for name in names:
                message = f"{found.field} has a credential as a literal in {name}"
                yield self.violation(message, found.pointer, _RUNTIME_FIX + _no_key_at_all(name))
            if not names and (_VALUES.search(found.content) or _has_password(found.content)):
                yield self.violation(
                    f"{found.field} has a credential in it", found.pointer, _RUNTIME_FIX
                )

    def _is_credential(self, name: str, value: str) -> bool:
        """A literal that is one by its name or by its form; `$(NAME)` refers to another variable and is none."""
        if not value or not (
            _looks_secret(name, value) or _VALUES.search(value) or _has_password(value)
        ):
            return False
        return name not in self.allowed_variables and not _REFERENCES.fullmatch(value)


def _no_key_at_all(*words: str) -> str:
    keyless = keyless_access(words)
    return f"; or no key at all, by {keyless}" if keyless else ""


def _looks_secret(name: str, value: str) -> bool:
    upper = name.upper()
    if not upper.endswith(_ENDINGS) or not _NAMES.search(upper) or _HARMLESS.fullmatch(value):
        return False
    # GOOGLE_APPLICATION_CREDENTIALS and its like name a file.
    return not (upper.endswith(("CREDENTIAL", "CREDENTIALS")) and _PATH.fullmatch(value))


def _has_password(value: str) -> bool:
    return "@" in value and bool(_URL_WITH_PASSWORD.search(value))
