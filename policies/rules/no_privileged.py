"""Ray containers stay within the baseline Pod Security Standard."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.harmless import Harmless
from policies.documents.patterns import matches_any
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import repository_of
from policies.ray.kuberay import is_copy_of_ray
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import Workload

# Pod Security Standards, baseline, as of Kubernetes 1.37 (k8s.io/pod-security-admission/policy).
CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_notsent_lowat",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_PROFILES = {"seccompProfile": "seccomp", "appArmorProfile": "AppArmor"}
# Fields of security contexts, and of their capabilities, without which nothing is unsafe.
_FIELDS = frozenset(
    {"add", "privileged", "procMount", "seLinuxOptions", "sysctls", "windowsOptions", *_PROFILES}
)
# What most pods have, and nothing is wrong with.
_USUAL: Sequence[Mapping[str, Any]] = ({}, {"seccompProfile": {"type": "RuntimeDefault"}})
_SANDBOX_PARAMETERS = "sandboxNamespaces, sandboxImages and sandboxHostUsers of no-privileged"
_FIX_PROFILE = "set type: RuntimeDefault"
_FIX_PROFILE_OF_RAY = (
    f"{_FIX_PROFILE}, or type: Localhost with a profile of your nodes; for Ray sandboxes only, ask "
    f"an administrator for the exemption of the parameters {_SANDBOX_PARAMETERS}"
)
_SANDBOX_HINT = (
    "set hostUsers: false if your nodes support user namespaces, or seccompProfile: {type: "
    "Localhost} with a profile that allows what gVisor needs"
)


class NoPrivileged(Rule):
    """Refuses privileged containers and other settings beyond the baseline Pod Security Standard.

    The other settings are added capabilities, an unmasked /proc, unsafe sysctls, SELinux options,
    Windows host processes, and unconfined seccomp or AppArmor profiles.

    Ray sandboxes (`ray.experimental.sandbox`, Ray 2.58 or later) run gVisor in the Ray container.
    gVisor calls `pivot_root` and creates user namespaces. The default profiles forbid both, so
    KubeRay's samples turn the profiles off. A Localhost profile that allows these calls is safer
    and needs no exemption. Where that is not possible, `sandboxNamespaces` exempts the container
    that runs Ray: its own two profiles may be Unconfined, and nothing else. Put `runsc` into the
    image, because `sudo` does not work in pods that RayWarden protects.
    Why: Ray runs any code that is submitted to it. With these privileges, that code takes over the
    node.
    Fix: remove the field. Most uses (profiling, FUSE, GPU access) have a device plugin or a CSI
    driver that works without it.
    """

    id: ClassVar[str] = "no-privileged"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    sandbox_namespaces: tuple[str, ...] = Field(
        (),
        description="patterns of namespaces where the Ray container may run without seccomp and "
        "AppArmor profiles, as Ray sandboxes do",
    )
    sandbox_images: tuple[str, ...] = Field(
        (),
        description="patterns of the repositories of such Ray containers; an empty list allows all",
    )
    sandbox_host_users: bool = Field(
        True,
        description="whether such pods may use the node's user namespace; set false if your nodes "
        "support `hostUsers: false`",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        may_be_unsafe = not _FIELDS.isdisjoint(workload.summary.fields)
        sandboxes = self._sandboxes(workload, facts) if may_be_unsafe else ()
        for pod in workload.pods:
            has_annotation = APPARMOR_ANNOTATION in "\n".join(pod.annotations)
            if has_annotation or sandboxes or _needs_look(pod.security_context):
                yield from self._check_pod(pod, sandboxes)
        # Most containers of a workload have equal contexts.
        harmless = Harmless()
        for container in workload.containers if may_be_unsafe else ():
            if container.security_context in harmless:
                continue
            findings = list(self._check_container(container, workload, sandboxes))
            yield from findings
            if not findings and not sandboxes and _has_no_switch(container.security_context):
                harmless.remember(container.security_context)

    def _sandboxes(self, workload: Workload, facts: Facts) -> Collection[Pointer]:
        """The containers that are exempt, because they run Ray sandboxes."""
        if not matches_any(facts.namespace, self.sandbox_namespaces):
            return ()
        exempt = set[Pointer]()
        for pod in workload.pods:
            if self._may_run_sandboxes(pod):
                exempt.update(container.pointer for container in _sandbox_containers(pod))
        return exempt

    def _may_run_sandboxes(self, pod: Pod) -> bool:
        if pod.role not in (PodRole.HEAD, PodRole.WORKER) or pod.ray_container is None:
            return False
        repository = repository_of(pod.ray_container.image)
        is_listed = not self.sandbox_images or matches_any(repository, self.sandbox_images)
        return is_listed and (self.sandbox_host_users or pod.spec.get("hostUsers") is False)

    def _advise(self, pod: Pod, sandboxes: Collection[Pointer]) -> Iterator[Violation]:
        """What is safer, for a pod that uses its exemption."""
        ray = pod.ray_container
        if ray is None or ray.pointer not in sandboxes or pod.spec.get("hostUsers") is False:
            return
        if as_dict(ray.security_context.get("seccompProfile")).get("type") == "Unconfined":
            yield self.violation(
                f"the {pod.title} runs Ray sandboxes without a seccomp profile in the user "
                "namespace of the node",
                pod.spec_pointer / "hostUsers",
                _SANDBOX_HINT,
                profile=Profile.RESTRICTED,
                advisory=True,
            )

    def _check_pod(self, pod: Pod, sandboxes: Collection[Pointer]) -> Iterator[Violation]:
        context = pod.spec_pointer / "securityContext"
        title = f"the {pod.title}"
        for index, sysctl in dict_items(pod.security_context.get("sysctls")):
            name = as_str(sysctl.get("name"))
            if name not in SYSCTLS:
                message = f"{title} sets the unsafe sysctl {name}"
                yield self.violation(message, context / "sysctls" / index, f"remove {name}")
        yield from self._check_profiles(pod.security_context, context, title)
        yield from self._unconfined(pod.security_context, context, title, _FIX_PROFILE)
        if sandboxes:
            yield from self._advise(pod, sandboxes)
        for key, value in pod.annotations.items():
            if key.startswith(APPARMOR_ANNOTATION) and value == "unconfined":
                container = key.removeprefix(APPARMOR_ANNOTATION)
                # The API server writes the annotation where the field is set.
                exempt = pod.container(container)
                if exempt and exempt.pointer in sandboxes:
                    continue
                message = f"AppArmor is unconfined for {container} of {title}"
                place = pod.pointer / "metadata" / "annotations" / key
                yield self.violation(message, place, f"remove {key}")

    def _check_container(
        self, container: Container, workload: Workload, sandboxes: Collection[Pointer]
    ) -> Iterator[Violation]:
        context, title = container.security_context, container.title
        capabilities = as_dict(context.get("capabilities"))
        if _FIELDS.isdisjoint(context) and "add" not in capabilities:
            return
        pointer = container.pointer / "securityContext"
        if context.get("privileged") is True:
            place = pointer / "privileged"
            yield self.violation(f"{title} is privileged", place, "set privileged: false")
        for index, name in str_items(capabilities.get("add")):
            if name.upper().removeprefix("CAP_") not in CAPABILITIES:
                place = pointer / "capabilities" / "add" / index
                message = f"{title} adds the capability {name}"
                yield self.violation(message, place, f"remove {name} from add")
        yield from self._check_profiles(context, pointer, title)
        if as_str(context.get("procMount")) not in ("", "Default"):
            yield self._unmasked(workload, container, title)
        if not _PROFILES.keys().isdisjoint(context) and container.pointer not in sandboxes:
            # Only the container that runs Ray, the first, and its copies can be exempt.
            is_first = container.pointer[-2:] == ("containers", 0)
            can_be_exempt = is_first or is_copy_of_ray(container)
            fix = _FIX_PROFILE_OF_RAY if can_be_exempt else _FIX_PROFILE
            yield from self._unconfined(context, pointer, title, fix)

    def _unmasked(self, workload: Workload, container: Container, title: str) -> Violation:
        """Baseline allows it in a user namespace since Kubernetes 1.35; restricted never does."""
        # The pointer of a container ends with its list and its index.
        spec_pointer = container.pointer[:-2]
        has_user_namespace = any(
            pod.spec_pointer == spec_pointer and pod.spec.get("hostUsers") is False
            for pod in workload.pods
        )
        level = Profile.RESTRICTED if has_user_namespace else self.profile
        place = container.pointer / "securityContext" / "procMount"
        return self.violation(f"{title} unmasks /proc", place, "remove procMount", profile=level)

    def _check_profiles(
        self, context: Mapping[str, Any], pointer: Pointer, title: str
    ) -> Iterator[Violation]:
        """The fields that the security context of a pod and of a container have in common."""
        if _overrides_selinux(as_dict(context.get("seLinuxOptions"))):
            yield self.violation(
                f"{title} sets its own SELinux type, user or role",
                pointer / "seLinuxOptions",
                "remove type, user and role from seLinuxOptions",
            )
        if as_dict(context.get("windowsOptions")).get("hostProcess") is True:
            place = pointer / "windowsOptions" / "hostProcess"
            message = f"{title} runs as a Windows host process"
            yield self.violation(message, place, "remove hostProcess")

    def _unconfined(
        self, context: Mapping[str, Any], pointer: Pointer, title: str, fix: str
    ) -> Iterator[Violation]:
        """The profiles that the security context of a pod or of a container turns off."""
        for field, shown in _PROFILES.items():
            if as_dict(context.get(field)).get("type") == "Unconfined":
                message = f"{shown} is unconfined for {title}"
                yield self.violation(message, pointer / field / "type", fix)


def _sandbox_containers(pod: Pod) -> Iterator[Container]:
    """The container that runs Ray, and the init containers that KubeRay creates like it."""
    ray = pod.ray_container
    for container in pod.containers:
        is_copy = ray and is_copy_of_ray(container) and container.image == ray.image
        if container is ray or is_copy:
            yield container


def _needs_look(context: Mapping[str, Any]) -> bool:
    return not _FIELDS.isdisjoint(context) and context not in _USUAL


def _has_no_switch(context: Mapping[str, Any]) -> bool:
    """Only texts and names decide about this context, and about all that are equal to it."""
    return context.get("privileged", False) is False and "windowsOptions" not in context


def _overrides_selinux(options: Mapping[str, Any]) -> bool:
    if as_str(options.get("type")) not in SELINUX_TYPES:
        return True
    return bool(as_str(options.get("user")) or as_str(options.get("role")))
