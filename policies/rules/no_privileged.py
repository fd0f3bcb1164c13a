"""Ray containers stay within the baseline Pod Security Standard."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

# Pod Security Standards, baseline, as of Kubernetes 1.37 (k8s.io/pod-security-admission/policy).
_CAPABILITIES = frozenset(
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
_SYSCTLS = frozenset(
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
_SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


class NoPrivileged(Rule):
    """Refuses privileged containers and other settings beyond the baseline Pod Security Standard.

    The other settings are added capabilities, an unmasked /proc, unsafe sysctls, SELinux options,
    Windows host processes, and unconfined seccomp or AppArmor profiles.
    Why: Ray runs any code that is submitted to it. With these privileges, that code takes over the
    node.
    Fix: remove the field. Most uses (profiling, FUSE, GPU access) have a device plugin or a CSI
    driver that works without it.
    """

    id: ClassVar[str] = "no-privileged"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            yield from self._check_pod(pod)
        for container, title in workload.containers:
            yield from self._check_container(container, title)
            if as_str(container.security_context.get("procMount")) not in ("", "Default"):
                yield self._unmasked(workload, container, title)

    def _check_pod(self, pod: Pod) -> Iterator[Violation]:
        context = pod.spec_pointer / "securityContext"
        title = f"the {pod.title}"
        for index, sysctl in dict_items(pod.security_context.get("sysctls")):
            name = as_str(sysctl.get("name"))
            if name not in _SYSCTLS:
                message = f"{title} sets the unsafe sysctl {name}"
                yield self.violation(message, context / "sysctls" / index, f"remove {name}")
        yield from self._check_profiles(pod.security_context, context, title)
        for key, value in pod.annotations.items():
            if key.startswith(_APPARMOR_ANNOTATION) and value == "unconfined":
                container = key.removeprefix(_APPARMOR_ANNOTATION)
                message = f"AppArmor is unconfined for {container} of {title}"
                place = pod.pointer / "metadata" / "annotations" / key
                yield self.violation(message, place, f"remove {key}")

    def _check_container(self, container: Container, title: str) -> Iterator[Violation]:
        context, pointer = container.security_context, container.pointer / "securityContext"
        if context.get("privileged") is True:
            place = pointer / "privileged"
            yield self.violation(f"{title} is privileged", place, "set privileged: false")
        capabilities = as_dict(context.get("capabilities"))
        for index, name in str_items(capabilities.get("add")):
            if name.upper().removeprefix("CAP_") not in _CAPABILITIES:
                place = pointer / "capabilities" / "add" / index
                message = f"{title} adds the capability {name}"
                yield self.violation(message, place, f"remove {name} from add")
        yield from self._check_profiles(context, pointer, title)

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
        for field, shown in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
            if as_dict(context.get(field)).get("type") == "Unconfined":
                message = f"{shown} is unconfined for {title}"
                yield self.violation(message, pointer / field / "type", "set type: RuntimeDefault")
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


def _overrides_selinux(options: Mapping[str, Any]) -> bool:
    if as_str(options.get("type")) not in _SELINUX_TYPES:
        return True
    return bool(as_str(options.get("user")) or as_str(options.get("role")))
