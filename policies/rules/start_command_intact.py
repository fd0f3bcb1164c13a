"""Ray starts with KubeRay's command, in the environment that RayWarden sets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.paths import normal_path, overlap
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.commands import commands, expanded
from policies.ray.membership import has_claims
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.ray_start import ARGS, COMMAND, Place
from policies.ray.workload import Workload

_OVERWRITE = "ray.io/overwrite-container-cmd"
# bash, the dynamic linker, OpenSSL or Python read these before the first line of Ray runs. ENV is
# not one of them: only interactive shells read it.
_RUNS_FIRST = frozenset(
    {
        "BASHOPTS",
        "BASH_ENV",
        "GCONV_PATH",
        "LD_AUDIT",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "OPENSSL_ENGINES",
        "OPENSSL_MODULES",
        "PROMPT_COMMAND",
        "PS4",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "SHELLOPTS",
    }
)
# bash imports a function from a variable that begins like this.
_FUNCTION = "BASH_FUNC_"
# Many images need it, and HOME has the same effect. It counts under `restricted` only.
_COMMON = "PYTHONPATH"
# Every process reads the first file, and Python the others.
_PRELOAD = ("etc", "ld.so.preload")
_OF_PYTHON = frozenset({"sitecustomize", "usercustomize", "pyvenv.cfg"})
# Only files in these directories are path configuration; models of PyTorch have the same ending.
_PACKAGES = frozenset({"site-packages", "dist-packages"})
# Most mount paths have none of these, and every container has mounts. The last is the root or /etc.
_HINT = re.compile(r"preload|customize|pyvenv|\.pth|\.\.|^[/.]*(?:etc[/.]*)?$", re.MULTILINE)
_PROTECTED = re.compile(r"RAY_USE_TLS|RAY_TLS_\w*|RAY_AUTH_\w*|--system[-_]config")


class StartCommandIntact(Rule):
    """Refuses custom start commands, and commands, variables and mounts that change Ray's start.

    PYTHONPATH is refused by the profile `restricted` only. The mounts are those over files that run
    code in every process: /etc/ld.so.preload, `sitecustomize.py`, `usercustomize.py`, `pyvenv.cfg`,
    and `.pth` files among Python's packages.
    Why: KubeRay joins the author's command and its own in one shell (`<command> && ray start ...`).
    A single `export` in the command can turn TLS off. The annotation
    `ray.io/overwrite-container-cmd` drops KubeRay's command. A second `ray start`, in a sidecar or
    a hook, starts a Ray that KubeRay does not configure. Variables such as BASH_ENV and LD_PRELOAD
    run other code before Ray. The rule does not recognize obfuscated commands;
    `raywarden check --probe` finds their effect.
    Fix: set up the environment in the image or with `env`, and let KubeRay run `ray start`.
    """

    id: ClassVar[str] = "start-command-intact"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables that authors may set although this rule refuses them"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        yield from self._check_annotations(workload)
        if _may_change_the_start(workload):
            for container in workload.ray_containers:
                yield from self._check_env(container)
                yield from self._check_commands(container)
                yield from self._check_mounts(container)
        summary = workload.summary
        if "start" in summary.command_text or summary.expands_literals:
            for group in workload.cluster.groups if workload.cluster else ():
                yield from self._check_own_start(group.pod)
            for container, place in _second_starts(workload):
                yield from self._check_second_start(container, place)

    def _check_annotations(self, workload: Workload) -> Iterator[Violation]:
        metadata = Pointer(("metadata",))
        if _overwrites(workload.annotations):
            yield self._overwritten("the annotation", metadata)
        for pod in workload.pods:
            if pod.pointer and _overwrites(pod.annotations):
                title = f"the annotation of the {pod.title}"
                yield self._overwritten(title, pod.pointer / "metadata")

    def _overwritten(self, title: str, metadata: Pointer) -> Violation:
        return self.violation(
            f"{title} {_OVERWRITE} replaces KubeRay's start command",
            metadata / "annotations" / _OVERWRITE,
            f"remove {_OVERWRITE}, and the command as well",
        )

    def _check_env(self, container: Container) -> Iterator[Violation]:
        names = container.variables.names
        for name in sorted((_RUNS_FIRST & names) | container.variables.like(_FUNCTION)):
            if name in self.allowed_variables:
                continue
            yield self.violation(
                f"{container.title} sets {name}, which runs code before Ray starts",
                container.pointer / "env" / container.variables.of(name)[0][0],
                f"remove {name}; put code into the image or the job's runtime_env",
                profile=Profile.RESTRICTED if name == _COMMON else None,
            )

    def _check_mounts(self, container: Container) -> Iterator[Violation]:
        for index, mount in container.mounts:
            path, name = as_str(mount.get("mountPath")), as_str(mount.get("name"))
            if _runs_code(normal_path(path)):
                yield self.violation(
                    f"{container.title} mounts {name} at {path}, which runs code before Ray starts",
                    container.pointer / "volumeMounts" / index,
                    f"set mountPath: /mnt/{name}; put code into the image or the job's runtime_env",
                )

    def _check_commands(self, container: Container) -> Iterator[Violation]:
        for pointer, words in commands(container):
            matches: set[str] = set()
            for text in expanded(words, container):
                matches.update(_PROTECTED.findall(text))
            if matches:
                names = ", ".join(sorted(matches))
                yield self.violation(
                    f"a command of {container.title} refers to {names}",
                    pointer,
                    f"remove {names} from the command; RayWarden sets up TLS, and authOptions "
                    "turns on token authentication",
                    evidence="\n".join(words),
                )

    def _check_own_start(self, pod: Pod) -> Iterator[Violation]:
        ray = pod.ray_container
        if ray is None:
            return
        for place in (COMMAND, ARGS):
            words = ray.commands.get(place, [])
            # KubeRay adds no command if it finds this text, even in a comment (`BuildPod`).
            if place in ray.ray_starts or "ray start" in " ".join(words):
                yield self.violation(
                    f"{ray.title} runs its own ray start, so KubeRay does not add its "
                    "start command",
                    ray.pointer / place[0],
                    f"remove {place[0]}, and move its options to rayStartParams",
                    evidence="\n".join(words),
                )

    def _check_second_start(self, container: Container, place: Place) -> Iterator[Violation]:
        # The whole hook or probe: one without a command is not valid.
        part = place[:2] if place[0] == "lifecycle" else place[:1]
        yield self.violation(
            f"{container.title} runs ray start, beside the Ray that KubeRay or the pod's own "
            "command starts",
            Pointer((*container.pointer, *part)),
            f"remove {part[-1]}; for a second Ray, create a RayCluster",
            evidence="\n".join(container.commands[place]),
        )


def _overwrites(annotations: Mapping[str, Any]) -> bool:
    return _OVERWRITE in annotations and as_str(annotations[_OVERWRITE]).lower() == "true"


def _may_change_the_start(workload: Workload) -> bool:
    """A variable, a command or a mount is worth a closer look; most workloads have none."""
    return (
        workload.summary.expands_literals
        or _PROTECTED.search(workload.summary.command_text) is not None
        or not _RUNS_FIRST.isdisjoint(workload.summary.variables)
        or _FUNCTION in workload.summary.variable_text
        or _HINT.search(workload.summary.mount_paths) is not None
    )


def _second_starts(workload: Workload) -> Iterator[tuple[Container, Place]]:
    """What starts Ray in the pods of KubeRay beside its own command, and in ephemeral containers.

    Pods without KubeRay start Ray themselves, but RayWarden cannot set up an ephemeral container.
    """
    is_pod = workload.kind == "Pod"
    is_member = workload.cluster is not None or (is_pod and has_claims(workload.labels))
    for pod in workload.pods:
        is_of_group = is_member and pod.role is not PodRole.SUBMITTER
        for container in pod.containers:
            if is_of_group or container.list_name == "ephemeralContainers":
                for place in container.ray_starts:
                    # The first container has KubeRay's command, or is checked above.
                    if container is not pod.ray_container or place not in (COMMAND, ARGS):
                        yield container, place
    for options in workload.options:
        for place in options.ray_starts:
            yield options, place


def _runs_code(path: tuple[str, ...]) -> bool:
    """A mount there provides a file that the linker or Python runs in every process."""
    if overlap(path, _PRELOAD):
        return True
    *directories, file = path
    # Python also imports a package or a compiled module of this name. A mount into a package
    # creates it.
    if file in _OF_PYTHON or any(part.partition(".")[0] in _OF_PYTHON for part in path):
        return True
    return file.endswith(".pth") and bool(directories) and directories[-1] in _PACKAGES
