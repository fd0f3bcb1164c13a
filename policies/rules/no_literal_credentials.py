"""Manifests contain no passwords or keys."""

import re
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.clouds import keyless_access
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_str, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

_NAMES = re.compile(
    r"PASSWORD$|(?:^|_)(?:PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|CONNECTION_STRING"
    r"|(?:API|ACCESS|PRIVATE|SECRET|ENCRYPTION|ACCOUNT)_?KEY|ACCESS_KEY_(?:ID|SECRET))$"
    r"|_(?:PWD|PASS)$"
)
# Every match of _NAMES ends in one of these. Most names do not, and are sorted out without a regex.
_ENDINGS = (
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "CREDENTIALS",
    "CONNECTION_STRING",
    "KEY",
    "KEY_ID",
    "_PWD",
    "_PASS",
)
# Credentials that are recognizable by their form, in whatever variable they stand.
_VALUES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12,24}|AIza[0-9A-Za-z_-]{35}"
    r"|gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22,}|hf_[0-9A-Za-z]{30,}"
    r"|xox[abprs]-[0-9A-Za-z-]{10,}|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
# Every match of _VALUES, and every URL with a password, contains one of these.
_MARKS = ("AKIA", "ASIA", "LTAI", "AIza", "gh", "hf_", "xox", "PRIVATE KEY", "@")
# The bounds keep the time of a search linear in hostile input.
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@$]{0,200}:[^/\s@$(]{1,200}@")
_REFERENCES = re.compile(r"(?:\$\(\w+\))+")
# Switches, numbers, special tokens of language models, and placeholders where no key is needed.
_HARMLESS = re.compile(
    r"true|false|yes|no|on|off|none|null|empty|dummy|[0-9]{0,9}|<[^<>]{0,30}>", re.IGNORECASE
)
_PATH = re.compile(r"/[\w./-]+")
_REFERENCE = "valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}"
_FIX = f"set {_REFERENCE} instead of value, and put the credential into that Secret"
_FIX_ELSEWHERE = f"move it to a Secret, and give the container a variable with {_REFERENCE}"
_FIX_RUNTIME_ENV = f"move it to a Secret, and give the Ray containers a variable with {_REFERENCE}"


_ENTRYPOINTS = (ROOT / "spec" / "entrypoint", ROOT / "spec" / "jobTemplate" / "entrypoint")


class NoLiteralCredentials(Rule):
    """Refuses literal keys, tokens and passwords in env, commands, Redis options and jobs.

    A literal is a credential if the variable is named like one, as `..._SECRET_KEY` is, or if the
    value has a known form.
    Why: anyone who can read the manifest, its repository or the RayCluster can read the credential,
    and only an edit of the manifest can rotate it.
    Fix: use `valueFrom.secretKeyRef`. Better, use no static key: RRSA (Alibaba Cloud), IRSA (AWS),
    or Workload Identity (Google Cloud, Azure).
    """

    id: ClassVar[str] = "no-literal-credentials"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables that look like credentials but are not"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            yield from self._check_env(container, title)
            yield from self._check_commands(container, title)
        yield from self._check_entrypoint(workload)
        yield from self._check_redis(workload)
        yield from self._check_runtime_environments(workload)

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        suspicious = _has_suspicious_value(container)
        for name, entries in container.variables.items():
            if not suspicious and not name.upper().endswith(_ENDINGS):
                continue
            for index, entry in entries:
                value = as_str(entry.get("value"))
                if self._is_credential(name, value):
                    place = container.pointer / "env" / index / "value"
                    message = f"{title} has a literal credential in {name}"
                    yield self.violation(message, place, _FIX + _keyless_hint(name, value))

    def _check_commands(self, container: Container, title: str) -> Iterator[Violation]:
        for field in ("command", "args"):
            if any(_contains_credential(word) for _, word in str_items(container.raw.get(field))):
                message = f"a command of {title} contains a credential"
                yield self.violation(message, container.pointer / field, _FIX_ELSEWHERE)

    def _check_entrypoint(self, workload: Workload) -> Iterator[Violation]:
        for place in _ENTRYPOINTS:
            if _contains_credential(as_str(place.read(workload.document))):
                remediation = "let the job read it from its environment or from a mounted Secret"
                yield self.violation("the entrypoint contains a credential", place, remediation)

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
                    yield self.violation(
                        "the Redis password is a literal in rayStartParams",
                        group.pointer / "rayStartParams" / name,
                        f"remove {name}, and set gcsFaultToleranceOptions.redisPassword to "
                        f"{{{_REFERENCE}}}",
                    )

    def _check_runtime_environments(self, workload: Workload) -> Iterator[Violation]:
        for environment in runtime_environments(workload):
            field, place = environment.field, environment.pointer
            if environment.problem:
                message = f"{field} cannot be checked for credentials: {environment.problem}"
                yield self.violation(message, place, "use plain YAML without anchors")
                continue
            names = [
                name for name, value in environment.variables if self._is_credential(name, value)
            ]
            for name in names:
                message = f"{field} has a literal credential in {name}"
                yield self.violation(message, place, _FIX_RUNTIME_ENV + _keyless_hint(name))
            if not names and _contains_credential(environment.content):
                yield self.violation(f"{field} contains a credential", place, _FIX_RUNTIME_ENV)

    def _is_credential(self, name: str, value: str) -> bool:
        """The literal is a credential by its name or form; `$(NAME)` refers to another variable."""
        if not value or not (_looks_secret(name, value) or _contains_credential(value)):
            return False
        return name not in self.allowed_variables and not _REFERENCES.fullmatch(value)


def _keyless_hint(*words: str) -> str:
    keyless = keyless_access(words)
    return f"; or use no static key, with {keyless}" if keyless else ""


def _has_suspicious_value(container: Container) -> bool:
    """One search over all values together, because most containers hold no credential at all."""
    values: list[str] = []
    for entries in container.variables.values():
        # An inner list for each variable would cost more than the search itself.
        for _, entry in entries:
            value = entry.get("value")
            if isinstance(value, str):
                values.append(value)
    text = "\n".join(values)
    return any(mark in text for mark in _MARKS)


def _looks_secret(name: str, value: str) -> bool:
    upper = name.upper()
    if not upper.endswith(_ENDINGS) or not _NAMES.search(upper) or _HARMLESS.fullmatch(value):
        return False
    # Variables such as GOOGLE_APPLICATION_CREDENTIALS hold the path of a file.
    return not (upper.endswith(("CREDENTIAL", "CREDENTIALS")) and _PATH.fullmatch(value))


def _contains_credential(text: str) -> bool:
    return bool(_VALUES.search(text)) or _contains_url_with_password(text)


def _contains_url_with_password(text: str) -> bool:
    return "@" in text and bool(_URL_WITH_PASSWORD.search(text))
