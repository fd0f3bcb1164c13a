"""Ray starts with the command KubeRay builds, in the environment RayWarden sets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.commands import commands, expanded
from policies.ray.pod import Container, Pod
from policies.ray.workload import RAY_START, Workload

_OVERWRITE = "ray.io/overwrite-container-cmd"
# Read by bash, the dynamic linker or Python before Ray's first line runs.
_TAKES_OVER = frozenset(
    {
        "BASHOPTS",
        "BASH_ENV",
        "ENV",
        "GCONV_PATH",
        "LD_AUDIT",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "PROMPT_COMMAND",
        "PS4",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "SHELLOPTS",
    }
)
_TOUCHES = re.compile(r"RAY_USE_TLS|RAY_TLS_\w*|RAY_AUTH_\w*|--system[-_]config")


class StartCommandIntact(Rule):
    """Refuses start commands of one's own, and commands and variables that change what Ray's process sees.

    Why: KubeRay joins an author's command and its own in one shell (`<command> && ray start ...`), so one `export`
    before it turns TLS off; the annotation `ray.io/overwrite-container-cmd` drops KubeRay's command altogether; and
    BASH_ENV, LD_PRELOAD or PYTHONPATH run code inside it. Obfuscated commands are left to `raywarden check`.
    Fix: set up the environment in the image or with `env`, and leave `ray start` to KubeRay.
    """

    id: ClassVar[str] = "start-command-intact"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables of this list an author may set after all"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        metadata = Pointer(("metadata",))
        yield from self._check_annotation(workload.annotations, metadata, "the annotation")
        for pod in workload.pods:
            if pod.pointer:
                title = f"the annotation of the {pod.title}"
                yield from self._check_annotation(pod.annotations, pod.pointer / "metadata", title)
        for container, title in workload.ray_containers:
            yield from self._check_env(container, title)
            yield from self._check_commands(container, title)
        if workload.cluster:
            for group in workload.cluster.groups:
                yield from self._check_own_start(group.pod)

    def _check_annotation(
        self, annotations: Mapping[str, Any], metadata: Pointer, title: str
    ) -> Iterator[Violation]:
        if as_str(annotations.get(_OVERWRITE)).lower() == "true":
            message = f"{title} {_OVERWRITE} replaces KubeRay's start command"
            yield self.violation(
                message,
                metadata / "annotations" / _OVERWRITE,
                f"delete {_OVERWRITE}, and the command with it",
            )

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        names = container.variable_names
        for name in sorted(
            (_TAKES_OVER & names) | {name for name in names if name.startswith("BASH_FUNC_")}
        ):
            if name not in self.allowed_variables:
                remediation = f"delete {name}; put code into the image or the job's runtime_env"
                place = container.pointer / "env" / container.variables[name][0][0]
                yield self.violation(
                    f"{title} sets {name}, which runs code before Ray", place, remediation
                )

    def _check_commands(self, container: Container, title: str) -> Iterator[Violation]:
        for pointer, words in commands(container):
            found = sorted(
                {match for word in expanded(words, container) for match in _TOUCHES.findall(word)}
            )
            if found:
                message = f"a command of {title} touches {', '.join(found)}"
                remediation = f"take {', '.join(found)} out of it; RayWarden sets up TLS, and authOptions asks for tokens"
                yield self.violation(message, pointer, remediation, evidence="\n".join(words))

    def _check_own_start(self, pod: Pod) -> Iterator[Violation]:
        ray = pod.ray_container
        if ray is None:
            return
        for field in ("command", "args"):
            words = [word for _, word in str_items(ray.raw.get(field))]
            # KubeRay adds no command of its own where this text stands in one (`BuildPod`), comments included.
            if RAY_START.search(" ".join(words)) or "ray start" in " ".join(words):
                message = (
                    f"{pod.title_of(ray)} runs a ray start of its own, and KubeRay then adds none"
                )
                remediation = f"delete {field}, and write its options into rayStartParams"
                yield self.violation(
                    message, ray.pointer / field, remediation, evidence="\n".join(words)
                )
